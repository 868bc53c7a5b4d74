/**
 * The Enclave Page Cache Map: what the processor knows of each EPC page. Struct of arrays, 16 bytes a page.
 * Spec: SDM "Enclave Page Cache Map (EPCM)".
 */
import { PageType, SecInfoFlags } from '../abi/sgx-arch.ts';
import { Uint40Array } from '../lib/uint40-array.ts';
import type { EpcIndex, LinPage } from '../lib/units.ts';

const { R, W, X, PENDING, MODIFIED, PR } = SecInfoFlags.bit;
export const RWX = R | W | X;
// The two bits of an entry that SECINFO.FLAGS has not; the others stand where SECINFO.FLAGS has them.
const BLOCKED = 1 << 6;
const VALID = 1 << 7;
const SECINFO_BITS = RWX | PENDING | MODIFIED | PR;

export class Epcm {
  readonly pages: number;
  readonly #bits: Uint8Array;
  readonly #type: Uint8Array;
  readonly #secs: Uint32Array;
  readonly #page: Uint40Array;
  /** Five bytes are enough: 2^40 changes of rights take a million of them a second for twelve days. */
  readonly #trackEpoch: Uint40Array;

  constructor(pages: number) {
    this.pages = pages;
    this.#bits = new Uint8Array(pages);
    this.#type = new Uint8Array(pages);
    this.#secs = new Uint32Array(pages);
    this.#page = new Uint40Array(pages);
    this.#trackEpoch = new Uint40Array(pages);
  }

  /** Is it an EPC page at all? Everything below may only be asked of those. */
  has(i: number): boolean {
    return Number.isInteger(i) && i >= 0 && i < this.pages;
  }

  valid(i: EpcIndex): boolean {
    return (this.#bits[i]! & VALID) !== 0;
  }

  /** Page type of a valid entry, else undefined. */
  typeIfValid(i: EpcIndex): PageType | undefined {
    return this.valid(i) ? this.type(i) : undefined;
  }

  type(i: EpcIndex): PageType {
    return this.#type[i] as PageType;
  }

  /** R, W and X as bits 0, 1 and 2. */
  permissions(i: EpcIndex): number {
    return this.#bits[i]! & RWX;
  }

  pending(i: EpcIndex): boolean {
    return (this.#bits[i]! & PENDING) !== 0;
  }

  modified(i: EpcIndex): boolean {
    return (this.#bits[i]! & MODIFIED) !== 0;
  }

  pr(i: EpcIndex): boolean {
    return (this.#bits[i]! & PR) !== 0;
  }

  blocked(i: EpcIndex): boolean {
    return (this.#bits[i]! & BLOCKED) !== 0;
  }

  /** ENCLAVEADDRESS as a page number; 0 for SECS and VA. */
  page(i: EpcIndex): LinPage {
    return this.#page.get(i) as LinPage;
  }

  /** ENCLAVESECS; has no meaning for SECS and VA. */
  secsOf(i: EpcIndex): EpcIndex {
    return this.#secs[i] as EpcIndex;
  }

  /** The entry as SECINFO.FLAGS: RWX, PENDING, MODIFIED, PR and PT. */
  secInfoFlags(i: EpcIndex): number {
    return (this.#bits[i]! & SECINFO_BITS) | (this.#type[i]! << 8);
  }

  /** A page of an enclave: PT_REG, PT_TCS or PT_TRIM. */
  isChild(i: EpcIndex): boolean {
    const type = this.typeIfValid(i);
    return type === PageType.REG || type === PageType.TCS || type === PageType.TRIM;
  }

  /**
   * Has the page bytes in EpcContents?
   * Model: PENDING and TRIM pages have none. On hardware they hold zeros and the old bytes, but nothing can read them:
   * EACCEPT makes the zero page, and a trimmed page's only way is EREMOVE.
   */
  isFilled(i: EpcIndex): boolean {
    const type = this.typeIfValid(i);
    return (type === PageType.REG || type === PageType.TCS) && !this.pending(i);
  }

  /** The epoch that ETRACK must have reached before the page's old translations are known to be gone. */
  trackEpoch(i: EpcIndex): number {
    return this.#trackEpoch.get(i);
  }

  /** Makes the entry valid. `flags` are as in SECINFO.FLAGS, PT included. */
  add(i: EpcIndex, flags: number, secs: EpcIndex, page: LinPage): void {
    this.#bits[i] = VALID | (flags & SECINFO_BITS);
    this.#type[i] = flags >>> 8;
    this.#secs[i] = secs;
    this.#page.set(i, page);
    this.#trackEpoch.set(i, 0);
  }

  remove(i: EpcIndex): void {
    this.#bits[i] = 0;
  }

  /** Replaces RWX, PENDING, MODIFIED, PR and PT by those of `flags`. */
  setSecInfoFlags(i: EpcIndex, flags: number): void {
    this.#bits[i] = (this.#bits[i]! & ~SECINFO_BITS) | (flags & SECINFO_BITS);
    this.#type[i] = flags >>> 8;
  }

  block(i: EpcIndex): void {
    this.#bits[i] = this.#bits[i]! | BLOCKED;
  }

  setTrackEpoch(i: EpcIndex, epoch: number): void {
    this.#trackEpoch.set(i, epoch);
  }
}
