/** How contents of pages get into a memfd: at once, or by somebody else meanwhile. */
import { InvariantError } from '../lib/outcome.ts';
import { PAGE_SIZE_BYTES } from '../lib/units.ts';
import { pwrite } from './linux/files.ts';

const LENT_PAGES = 256;

export interface PageWriter {
  /** Room for so many pages, or for as many as there is room for. What was lent before may still be being written. */
  lend(pages: number): Uint8Array;
  /** Bytes that were lent last may be written later, others are at once; either way they are no longer the caller's. */
  write(fd: number, bytes: Uint8Array, position: number): void;
  /** Everything is in its file. */
  settle(): void;
}

/** At once. */
export class OwnWriter implements PageWriter {
  readonly #room = new Uint8Array(LENT_PAGES * PAGE_SIZE_BYTES);

  lend(pages: number): Uint8Array {
    return this.#room.subarray(0, pages * PAGE_SIZE_BYTES);
  }

  write(fd: number, bytes: Uint8Array, position: number): void {
    expectWhole('pwrite', pwrite(fd, bytes, position), bytes.length);
  }

  settle(): void {}
}

export function expectWhole(what: string, done: number, wanted: number): void {
  if (done !== wanted) throw new InvariantError(`${what} on EPC contents did ${done} of ${wanted} bytes`);
}
