/**
 * The VA pages of one enclave: a slot for every page that is evicted.
 * Source: arch/x86/kernel/cpu/sgx/encl.c, sgx_encl_grow in ioctl.c
 */
import { InvariantError } from '../lib/outcome.ts';
import type { EpcIndex } from '../lib/units.ts';

/** SGX_VA_SLOT_COUNT. */
export const VA_SLOTS = 512;
const WORD_BITS = 32;

interface VaPage {
  readonly page: EpcIndex;
  /** A bit per slot. */
  readonly used: Uint32Array;
  usedSlots: number;
}

/** Where the version of an evicted page is. `id` stands for both in 32 bits. */
export interface VaSlot {
  readonly page: EpcIndex;
  readonly slot: number;
  readonly id: number;
}

export class VersionArrays {
  readonly #pages: VaPage[] = [];
  /** The page to look at first for a free slot. */
  #current = 0;

  /** The EPC pages, oldest first. */
  get pages(): EpcIndex[] {
    return this.#pages.map(({ page }) => page);
  }

  add(page: EpcIndex): void {
    this.#pages.push({ page, used: new Uint32Array(VA_SLOTS / WORD_BITS), usedSlots: 0 });
    this.#current = this.#pages.length - 1;
  }

  /** Takes back the page added last, which has no slot in use. */
  removeLast(): void {
    const removed = this.#pages.pop();
    if (removed === undefined || removed.usedSlots > 0) throw new InvariantError('a VA page in use is removed');
    this.#current = 0;
  }

  /** There is always a slot: the enclave has one for each of its pages. */
  takeSlot(): VaSlot {
    for (let tried = 0; tried < this.#pages.length; tried++) {
      const { page, used, usedSlots } = this.#pages[this.#current]!;
      if (usedSlots < VA_SLOTS) {
        const word = used.findIndex((bits) => bits !== 0xffff_ffff);
        const bit = Math.clz32(~used[word]! & -~used[word]!) ^ 31;
        const slot = word * WORD_BITS + bit;
        used[word] = used[word]! | (1 << bit);
        this.#pages[this.#current]!.usedSlots++;
        return { page, slot, id: this.#current * VA_SLOTS + slot };
      }
      this.#current = (this.#current + 1) % this.#pages.length;
    }
    throw new InvariantError('an enclave has fewer VA slots than pages');
  }

  find(id: number): VaSlot {
    return { page: this.#pages[Math.floor(id / VA_SLOTS)]!.page, slot: id % VA_SLOTS, id };
  }

  freeSlot({ id, slot }: VaSlot): void {
    this.#current = Math.floor(id / VA_SLOTS);
    const entry = this.#pages[this.#current]!;
    const word = Math.floor(slot / WORD_BITS);
    entry.used[word] = entry.used[word]! & ~(1 << (slot % WORD_BITS));
    entry.usedSlots--;
  }
}
