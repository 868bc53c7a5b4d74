/** EPC contents in this process's own memory, for virtual processes and tests. */
import { InvariantError } from '../lib/outcome.ts';
import { PAGE_SIZE_BYTES, type EpcIndex, type LinPage } from '../lib/units.ts';
import type { EpcContents } from './ports.ts';

export class MapContents implements EpcContents {
  readonly #enclaves = new Map<EpcIndex, Map<LinPage, Uint8Array>>();

  lend(pages: number): Uint8Array {
    return new Uint8Array(pages * PAGE_SIZE_BYTES);
  }

  fill(secs: EpcIndex, page: LinPage, bytes: Uint8Array): void {
    this.#add(secs, page, bytes.slice());
  }

  fillZero(secs: EpcIndex, page: LinPage): void {
    this.#add(secs, page, new Uint8Array(PAGE_SIZE_BYTES));
  }

  read(secs: EpcIndex, page: LinPage, offset: number, into: Uint8Array): void {
    into.set(this.#present(secs, page).subarray(offset, offset + into.length));
  }

  write(secs: EpcIndex, page: LinPage, offset: number, bytes: Uint8Array): void {
    this.#present(secs, page).set(bytes, offset);
  }

  take(secs: EpcIndex, page: LinPage): Uint8Array {
    const bytes = this.#present(secs, page);
    this.drop(secs, page);
    return bytes;
  }

  drop(secs: EpcIndex, page: LinPage): void {
    this.#present(secs, page);
    this.#enclaves.get(secs)!.delete(page);
  }

  dropAll(secs: EpcIndex): void {
    this.#enclaves.delete(secs);
  }

  has(secs: EpcIndex, page: LinPage): boolean {
    return this.#enclaves.get(secs)?.has(page) ?? false;
  }

  #add(secs: EpcIndex, page: LinPage, bytes: Uint8Array): void {
    let pages = this.#enclaves.get(secs);
    if (pages === undefined) this.#enclaves.set(secs, (pages = new Map()));
    if (pages.has(page)) throw new InvariantError(`page ${page} of SECS ${secs} is filled twice`);
    pages.set(page, bytes);
  }

  #present(secs: EpcIndex, page: LinPage): Uint8Array {
    const bytes = this.#enclaves.get(secs)?.get(page);
    if (bytes === undefined) throw new InvariantError(`page ${page} of SECS ${secs} is not present`);
    return bytes;
  }
}
