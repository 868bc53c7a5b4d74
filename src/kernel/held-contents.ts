/**
 * EPC contents, some of which the host holds back: while a right is being cut, a page is nowhere, so that no thread of
 * any process can use it by an old right. To the processor the page is there as ever.
 *
 * Spec: docs/design.md, "Cutting rights". On hardware ETRACK and interrupts do this.
 */
import type { EpcIndex, LinPage } from '../lib/units.ts';
import type { EpcContents } from '../processor/ports.ts';

interface HeldPage {
  bytes: Uint8Array;
  /** Whether everybody has let go of the old rights. */
  released: () => boolean;
}

export class HeldContents implements EpcContents {
  readonly #inner: EpcContents;
  readonly #held = new Map<EpcIndex, Map<LinPage, HeldPage>>();

  constructor(inner: EpcContents) {
    this.#inner = inner;
  }

  /** Takes a present (or already held) page away from everybody until `released()`. */
  hold(secs: EpcIndex, page: LinPage, released: () => boolean): void {
    const known = this.#find(secs, page);
    if (known) {
      const before = known.released;
      known.released = () => before() && released();
      return;
    }
    this.#remember(secs, page, { bytes: this.#inner.take(secs, page), released });
  }

  /** What `fill` will put into an absent page is held until `released()`. */
  holdNext(secs: EpcIndex, page: LinPage, released: () => boolean): void {
    this.#remember(secs, page, { bytes: new Uint8Array(0), released });
  }

  /** Puts a held page back if it may go back. Returns whether the page is with the processes now. */
  restore(secs: EpcIndex, page: LinPage): boolean {
    const held = this.#find(secs, page);
    if (held === undefined) return true;
    if (!held.released()) return false;
    this.#forget(secs, page);
    this.#inner.fill(secs, page, held.bytes);
    return true;
  }

  lend(pages: number): Uint8Array {
    return this.#inner.lend(pages);
  }

  fill(secs: EpcIndex, page: LinPage, bytes: Uint8Array): void {
    const held = this.#find(secs, page);
    if (held) held.bytes = bytes.slice();
    else this.#inner.fill(secs, page, bytes);
  }

  fillZero(secs: EpcIndex, page: LinPage): void {
    this.#inner.fillZero(secs, page);
  }

  read(secs: EpcIndex, page: LinPage, offset: number, into: Uint8Array): void {
    const held = this.#find(secs, page);
    if (held) into.set(held.bytes.subarray(offset, offset + into.length));
    else this.#inner.read(secs, page, offset, into);
  }

  write(secs: EpcIndex, page: LinPage, offset: number, bytes: Uint8Array): void {
    const held = this.#find(secs, page);
    if (held) held.bytes.set(bytes, offset);
    else this.#inner.write(secs, page, offset, bytes);
  }

  take(secs: EpcIndex, page: LinPage): Uint8Array {
    const held = this.#find(secs, page);
    if (held === undefined) return this.#inner.take(secs, page);
    this.#forget(secs, page);
    return held.bytes;
  }

  drop(secs: EpcIndex, page: LinPage): void {
    if (this.#find(secs, page)) this.#forget(secs, page);
    else this.#inner.drop(secs, page);
  }

  dropAll(secs: EpcIndex): void {
    this.#held.delete(secs);
    this.#inner.dropAll(secs);
  }

  #find(secs: EpcIndex, page: LinPage): HeldPage | undefined {
    return this.#held.size === 0 ? undefined : this.#held.get(secs)?.get(page);
  }

  #remember(secs: EpcIndex, page: LinPage, held: HeldPage): void {
    let pages = this.#held.get(secs);
    if (pages === undefined) this.#held.set(secs, (pages = new Map()));
    pages.set(page, held);
  }

  #forget(secs: EpcIndex, page: LinPage): void {
    const pages = this.#held.get(secs)!;
    pages.delete(page);
    if (pages.size === 0) this.#held.delete(secs);
  }
}
