/**
 * SECS pages. Software never sees their bytes, so the processor keeps them; this is one of them while it is in EPC.
 * Spec: SDM "SGX Enclave Control Structure (SECS)".
 */
import { Attributes, Secs } from '../abi/sgx-arch.ts';
import { bytes, layout, reserved, u64, type ViewOf } from '../lib/layout.ts';
import { PAGE_SIZE_BYTES, type EpcIndex } from '../lib/units.ts';
import type { Measurement } from './measurement.ts';

export const SIGNATURE_PADDING_BYTES = 352;

/**
 * What hardware keeps in the reserved tail. EWB carries it along, so it must live in the page.
 * Model: its place is ours; the SDM names EID, PADDING, ISVFAMILYID and ISVEXTPRODID but not where they are.
 */
const SecsHidden = layout(
  'SECS_HIDDEN',
  PAGE_SIZE_BYTES,
  { source: 'SDM "SGX Enclave Control Structure (SECS)", reserved tail' },
  {
    named: reserved(0, 264),
    isvFamilyId: bytes(264, 16, 'product family, set by EINIT'),
    isvExtProdId: bytes(280, 16, 'extended product id, set by EINIT'),
    padding: bytes(296, SIGNATURE_PADDING_BYTES, 'padding of the signature, part of key derivation'),
    enclaveId: u64(648, 'EID: unique until reset'),
    epoch: u64(656, 'raised by ETRACK'),
    unused: reserved(664, 3432),
  },
);

export class SecsPage {
  readonly index: EpcIndex;
  /** All 4096 bytes, hidden part included. */
  readonly bytes: Uint8Array;
  /** Live views of the bytes. */
  readonly fields: ViewOf<typeof Secs>;
  readonly hidden: ViewOf<typeof SecsHidden>;
  /** ELRANGE. Exact in a double, because the base is a multiple of the size and that is at least 8192. */
  readonly baseAddress: number;
  readonly sizeBytes: number;
  /** EPC pages of this enclave. */
  children = 0;
  /** Until EINIT. */
  measurement: Measurement | undefined;

  constructor(index: EpcIndex, pageBytes: Uint8Array) {
    this.index = index;
    this.bytes = pageBytes;
    this.fields = Secs.view(pageBytes);
    this.hidden = SecsHidden.view(pageBytes);
    this.baseAddress = Number(this.fields.baseAddr);
    this.sizeBytes = Number(this.fields.size);
  }

  get initialised(): boolean {
    return this.measurement === undefined;
  }

  /** Is the address in ELRANGE? */
  contains(address: number): boolean {
    return address >= this.baseAddress && address < this.baseAddress + this.sizeBytes;
  }

  get debug(): boolean {
    return (this.fields.attributes & Attributes.mask.DEBUG) !== 0n;
  }

  /** Entered threads remember it; ETRACK raises it. */
  get epoch(): number {
    return Number(this.hidden.epoch);
  }

  set epoch(value: number) {
    this.hidden.epoch = BigInt(value);
  }
}
