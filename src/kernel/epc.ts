/**
 * The EPC as Linux manages it: which pages are free, which may be evicted and in what order.
 * 5 bytes of bookkeeping a page.
 * Source: arch/x86/kernel/cpu/sgx/main.c
 */
import { InvariantError } from '../lib/outcome.ts';
import { epcIndex, type EpcIndex } from '../lib/units.ts';

/** ksgxd wakes below LOW and evicts until HIGH. */
export const SGX_NR_LOW_PAGES = 32;
export const SGX_NR_HIGH_PAGES = 64;
/** Pages evicted in one go. */
export const SGX_NR_TO_SCAN = 16;

const IN_USE = 1;
const RECLAIMABLE = 2;
const REFERENCED = 4;

export interface EpcUsage {
  readonly pages: number;
  readonly freePages: number;
  readonly reclaimablePages: number;
}

export class Epc {
  readonly pages: number;
  readonly #state: Uint8Array;
  /** A ring: pages freed first are used first. */
  readonly #free: Uint32Array;
  #freeHead = 0;
  #freePages: number;
  #reclaimablePages = 0;
  #hand = 0;

  constructor(pages: number) {
    this.pages = pages;
    this.#state = new Uint8Array(pages);
    this.#free = new Uint32Array(pages);
    for (let i = 0; i < pages; i++) this.#free[i] = i;
    this.#freePages = pages;
  }

  get freePages(): number {
    return this.#freePages;
  }

  get reclaimablePages(): number {
    return this.#reclaimablePages;
  }

  usage(): EpcUsage {
    return { pages: this.pages, freePages: this.#freePages, reclaimablePages: this.#reclaimablePages };
  }

  take(): EpcIndex | undefined {
    if (this.#freePages === 0) return undefined;
    const page = this.#free[this.#freeHead]!;
    this.#freeHead = (this.#freeHead + 1) % this.pages;
    this.#freePages--;
    this.#state[page] = IN_USE;
    return epcIndex(page);
  }

  /** The page must be invalid in the EPCM. */
  give(page: EpcIndex): void {
    const state = this.#state[page]!;
    if ((state & IN_USE) === 0) throw new InvariantError(`EPC page ${page} is freed twice`);
    if ((state & RECLAIMABLE) !== 0) this.#reclaimablePages--;
    this.#state[page] = 0;
    this.#free[(this.#freeHead + this.#freePages) % this.pages] = page;
    this.#freePages++;
  }

  /** From now on the page may be evicted: pages of enclaves, never SECS and VA pages. */
  markReclaimable(page: EpcIndex): void {
    if ((this.#state[page]! & RECLAIMABLE) === 0) this.#reclaimablePages++;
    this.#state[page] = this.#state[page]! | RECLAIMABLE;
  }

  /** Somebody asked for the page: the reclaimer passes it over once. */
  touch(page: EpcIndex): void {
    this.#state[page] = this.#state[page]! | REFERENCED;
  }

  /**
   * The next page to evict, no longer reclaimable; undefined when there is none.
   *
   * Model: a clock hand in the order of the EPC instead of a list, and a page counts as accessed when a fault brought
   * it or asked for it, because the accessed bits of real processes cannot be read.
   */
  takeVictim(): EpcIndex | undefined {
    if (this.#reclaimablePages === 0) return undefined;
    for (;;) {
      const page = this.#hand;
      this.#hand = page + 1 === this.pages ? 0 : page + 1;
      const state = this.#state[page]!;
      if ((state & RECLAIMABLE) === 0) continue;
      if ((state & REFERENCED) !== 0) {
        this.#state[page] = state & ~REFERENCED;
        continue;
      }
      this.#state[page] = IN_USE;
      this.#reclaimablePages--;
      return epcIndex(page);
    }
  }
}
