/**
 * What the processor model needs from outside: somewhere to keep EPC contents, randomness, and knowledge of threads.
 * Real machines inject memfds and the kernel's random numbers; tests inject maps and seeds.
 */
import type { EpcIndex, LinPage } from '../lib/units.ts';

/**
 * Contents of regular EPC pages (PT_REG, PT_TCS, PT_TRIM), addressed by their enclave and linear page, because a real
 * machine keeps one memfd per enclave in which the offset is the linear address. SECS and VA pages never come here:
 * the processor keeps those itself.
 */
export interface EpcContents {
  /**
   * Room for the bytes of so many pages, or of as many as there is room for; multiples of 4096 in it given to `fill` are
   * not copied. They must stay as they are until the next `lend`.
   */
  lend(pages: number): Uint8Array;
  /** Makes the page present with these 4096 bytes. The caller may reuse the buffer at once, unless it is lent. */
  fill(secs: EpcIndex, page: LinPage, bytes: Uint8Array): void;
  /** Makes the page present, all zero. */
  fillZero(secs: EpcIndex, page: LinPage): void;
  /** Reads from a present page. `into.length` bytes starting at `offset` of the page. */
  read(secs: EpcIndex, page: LinPage, offset: number, into: Uint8Array): void;
  /** Writes into a present page. */
  write(secs: EpcIndex, page: LinPage, offset: number, bytes: Uint8Array): void;
  /** Takes the page away from everybody and returns its final 4096 bytes. */
  take(secs: EpcIndex, page: LinPage): Uint8Array;
  /** Takes the page away from everybody; the contents are gone. */
  drop(secs: EpcIndex, page: LinPage): void;
  /** All pages of the enclave are gone. */
  dropAll(secs: EpcIndex): void;
}

/** Random bytes: the operating system's on a real run, a seeded generator in tests. */
export interface Entropy {
  fill(bytes: Uint8Array): void;
}

/**
 * Threads executing inside enclaves, as far as tracking (ETRACK, EWB, EACCEPT, EREMOVE) must know. A thread that enters
 * is counted with the `SecsPage.epoch` of that moment until it leaves by EEXIT or AEX.
 */
export interface ThreadTracker {
  /** Threads inside the enclave that entered in an epoch below `epoch`. */
  enteredBefore(secs: EpcIndex, epoch: number): number;
  /** All threads inside the enclave. */
  inside(secs: EpcIndex): number;
}

/** A running SHA-256. Real machines may compute it elsewhere, as long as the answers are the same. */
export interface Sha256 {
  /** Where to put the next bytes, so that `update` need not copy them: 8-aligned, of any size; undefined: nowhere. */
  room(): Uint8Array | undefined;
  /** The caller may reuse the buffer at once; room that was given is no longer the caller's. */
  update(bytes: Uint8Array): void;
  /** 32 bytes of all so far; more may follow. */
  digest(): Uint8Array;
  /** Nothing follows. */
  end(): void;
}

/** A machine's secrets, made visibly ours: no value here can be mistaken for Intel's. */
export interface Fuses {
  readonly ownerEpoch: Uint8Array; // 16 bytes
  readonly sealFuses: Uint8Array; // 16 bytes
  readonly provisioningKey: Uint8Array; // 16 bytes
  readonly cpuSvn: Uint8Array; // 16 bytes
}
