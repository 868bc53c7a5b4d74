/**
 * The SGX processor: its EPC, its map of it, its registers and its secrets. The leaves are functions on it,
 * one file each in encls/ and enclu/.
 */
import { InvariantError } from '../lib/outcome.ts';
import type { EpcIndex } from '../lib/units.ts';
import type { AesCmac } from './aes-cmac.ts';
import { Epcm } from './epcm.ts';
import { deviceKey } from './keys.ts';
import { localSha256, type Measurement } from './measurement.ts';
import type { Entropy, EpcContents, Fuses, Sha256, ThreadTracker } from './ports.ts';
import type { ProcessorProfile } from './profiles.ts';
import type { SecsPage } from './secs.ts';

export type { ProcessorProfile } from './profiles.ts';

export interface ProcessorOptions {
  readonly profile: ProcessorProfile;
  readonly epcPages: number;
  readonly contents: EpcContents;
  readonly entropy: Entropy;
  readonly fuses: Fuses;
  readonly threads: ThreadTracker;
  /** Where measurements are computed; in this thread, when left out. */
  readonly sha256?: () => Sha256;
  /** Is an interrupt waiting, so that EINIT must say SGX_UNMASKED_EVENT? Never, when left out. */
  readonly eventPending?: () => boolean;
}

/** Slots of a version array page. */
export const VA_SLOTS = 512;

/** SHA-256 of Intel's launch key: what IA32_SGXLEPUBKEYHASH0..3 hold after reset. */
const INTEL_LE_PUB_KEY_HASH = [0xa6053e051270b7acn, 0x6cfbe8ba8b3b413dn, 0xc4916d99f2b3735dn, 0xd4f8c05909f9bb3bn];

export class Processor {
  readonly profile: ProcessorProfile;
  readonly epcm: Epcm;
  readonly contents: EpcContents;
  readonly fuses: Fuses;
  readonly threads: ThreadTracker;
  /** The four IA32_SGXLEPUBKEYHASH MSRs, 32 bytes. The kernel writes them where the profile has `flc`. */
  readonly lePubKeyHash: Uint8Array;
  /** Encrypts evicted pages; made anew at every reset, so that no page outlives it. 16 bytes. */
  readonly pagingKey = new Uint8Array(16);
  /** CR_REPORT_KEYID: in every report until reset, and with it in the key that made it. 32 bytes. */
  readonly reportKeyId = new Uint8Array(32);
  /** Made of the fuses; every key that EGETKEY gives comes from it. */
  readonly deviceKey: AesCmac;
  readonly eventPending: () => boolean;
  readonly sha256: () => Sha256;
  /** SECS pages in EPC. */
  readonly secsPages = new Map<EpcIndex, SecsPage>();
  /** Version array pages in EPC: their slots, once one has been used. */
  readonly versionArrays = new Map<EpcIndex, BigUint64Array | 'empty'>();
  /**
   * Unfinished measurements of enclaves whose SECS was evicted, by EID.
   * Model: hardware keeps the hash state in the SECS; that of node:crypto cannot be written to bytes.
   */
  readonly evictedMeasurements = new Map<bigint, Measurement>();
  #nextEnclaveId = 1n;
  #nextVersion = 1n;

  constructor(options: ProcessorOptions) {
    this.profile = options.profile;
    this.epcm = new Epcm(options.epcPages);
    this.contents = options.contents;
    this.fuses = options.fuses;
    this.threads = options.threads;
    this.sha256 = options.sha256 ?? localSha256;
    this.eventPending = options.eventPending ?? (() => false);
    this.lePubKeyHash = new Uint8Array(BigUint64Array.from(INTEL_LE_PUB_KEY_HASH).buffer);
    options.entropy.fill(this.pagingKey);
    options.entropy.fill(this.reportKeyId);
    this.deviceKey = deviceKey(options.fuses);
  }

  /** The SECS in a valid PT_SECS page. Asking for another page is a bug of the caller's. */
  secs(index: EpcIndex): SecsPage {
    const page = this.secsPages.get(index);
    if (page === undefined) throw new InvariantError(`EPC page ${index} is no SECS`);
    return page;
  }

  /** The slots of a valid PT_VA page. Asking for another page is a bug of the caller's. */
  versionArray(index: EpcIndex): BigUint64Array {
    const known = this.versionArrays.get(index);
    if (known === undefined) throw new InvariantError(`EPC page ${index} is no version array`);
    if (known !== 'empty') return known;
    const slots = new BigUint64Array(VA_SLOTS);
    this.versionArrays.set(index, slots);
    return slots;
  }

  /** CR_NEXT_EID. */
  takeEnclaveId(): bigint {
    return this.#nextEnclaveId++;
  }

  /** A version that no evicted page has had since reset; never 0, which means an empty slot. */
  takeVersion(): bigint {
    return this.#nextVersion++;
  }
}
