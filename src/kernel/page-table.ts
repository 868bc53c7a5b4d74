/**
 * What the driver knows of each page of one enclave, by linear page: 5 bytes a page in chunks, for ELRANGEs are large
 * and mostly empty.
 * Source: struct sgx_encl_page and sgx_encl.page_array, arch/x86/kernel/cpu/sgx/encl.h
 */
import type { PageType } from '../abi/sgx-arch.ts';
import { epcIndex, linPage, type EpcIndex, type LinPage } from '../lib/units.ts';

const CHUNK_PAGES = 512;

const MAX_PROT = 7;
const TYPE_SHIFT = 3;
const TYPE = 7 << TYPE_SHIFT;
const PRESENT = 1 << 6;
const EVICTED = 1 << 7;

interface Chunk {
  readonly flags: Uint8Array;
  /** EPC page, or where the page is in the backing store. */
  readonly location: Uint32Array;
  used: number;
}

/** One page's entry, packed. `location` has a meaning as `isEvicted` says. */
export interface PageEntry {
  readonly flags: number;
  readonly location: number;
}

/** PROT bits that no VMA over the page may exceed (vm_max_prot_bits). */
export const maxProtOf = (flags: number): number => flags & MAX_PROT;
export const typeOf = (flags: number): PageType => ((flags & TYPE) >> TYPE_SHIFT) as PageType;
export const isEvicted = (flags: number): boolean => (flags & EVICTED) !== 0;

export class EnclavePageTable {
  readonly #chunks = new Map<number, Chunk>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  has(page: LinPage): boolean {
    return this.#flags(page) !== 0;
  }

  get(page: LinPage): PageEntry | undefined {
    const chunk = this.#chunks.get(Math.floor(page / CHUNK_PAGES));
    const flags = chunk?.flags[page % CHUNK_PAGES] ?? 0;
    return flags === 0 ? undefined : { flags, location: chunk!.location[page % CHUNK_PAGES]! };
  }

  /** The page's EPC page, when it is in EPC. */
  residentPage(page: LinPage): EpcIndex | undefined {
    const entry = this.get(page);
    return entry === undefined || isEvicted(entry.flags) ? undefined : epcIndex(entry.location);
  }

  add(page: LinPage, type: PageType, maxProt: number, location: EpcIndex): void {
    const index = Math.floor(page / CHUNK_PAGES);
    let chunk = this.#chunks.get(index);
    if (chunk === undefined) {
      chunk = { flags: new Uint8Array(CHUNK_PAGES), location: new Uint32Array(CHUNK_PAGES), used: 0 };
      this.#chunks.set(index, chunk);
    }
    chunk.flags[page % CHUNK_PAGES] = PRESENT | (type << TYPE_SHIFT) | maxProt;
    chunk.location[page % CHUNK_PAGES] = location;
    chunk.used++;
    this.#count++;
  }

  delete(page: LinPage): void {
    const index = Math.floor(page / CHUNK_PAGES);
    const chunk = this.#chunks.get(index)!;
    chunk.flags[page % CHUNK_PAGES] = 0;
    chunk.used--;
    this.#count--;
    if (chunk.used === 0) this.#chunks.delete(index);
  }

  setEvicted(page: LinPage, handle: number): void {
    this.#change(page, (flags) => flags | EVICTED, handle);
  }

  setResident(page: LinPage, location: EpcIndex): void {
    this.#change(page, (flags) => flags & ~EVICTED, location);
  }

  setType(page: LinPage, type: PageType): void {
    this.#change(page, (flags) => (flags & ~TYPE) | (type << TYPE_SHIFT));
  }

  setMaxProt(page: LinPage, maxProt: number): void {
    this.#change(page, (flags) => (flags & ~MAX_PROT) | maxProt);
  }

  /**
   * Visits the pages there are in [start, end), in order, until `visit` returns false.
   * The table must not be changed meanwhile, but for the page that is being visited.
   */
  visit(start: number, end: number, visit: (page: LinPage, flags: number, location: number) => boolean | void): void {
    for (const index of this.#chunkIndexes(start, end)) {
      const chunk = this.#chunks.get(index)!;
      const base = index * CHUNK_PAGES;
      const last = Math.min(CHUNK_PAGES, end - base);
      for (let i = Math.max(0, start - base); i < last; i++) {
        const flags = chunk.flags[i]!;
        if (flags !== 0 && visit(linPage(base + i), flags, chunk.location[i]!) === false) return;
      }
    }
  }

  /** Chunks that touch the range, ascending: found by whichever is shorter, the range or the list of chunks. */
  #chunkIndexes(start: number, end: number): number[] {
    const first = Math.floor(start / CHUNK_PAGES);
    const last = Math.ceil(end / CHUNK_PAGES);
    const indexes: number[] = [];
    if (last - first <= this.#chunks.size) {
      for (let index = first; index < last; index++) if (this.#chunks.has(index)) indexes.push(index);
      return indexes;
    }
    for (const index of this.#chunks.keys()) if (index >= first && index < last) indexes.push(index);
    return indexes.toSorted((a, b) => a - b);
  }

  #flags(page: LinPage): number {
    return this.#chunks.get(Math.floor(page / CHUNK_PAGES))?.flags[page % CHUNK_PAGES] ?? 0;
  }

  #change(page: LinPage, change: (flags: number) => number, location?: number): void {
    const chunk = this.#chunks.get(Math.floor(page / CHUNK_PAGES))!;
    const i = page % CHUNK_PAGES;
    chunk.flags[i] = change(chunk.flags[i]!);
    if (location !== undefined) chunk.location[i] = location;
  }
}
