/**
 * The memory that host and stub share, from the host's side. The stub belongs to the program: every value in here may
 * be anything and may change at any time, so each is read once and bounded by whoever reads it.
 *
 * Spec: docs/design.md, "The channel"; src/abi/stub.ts has the layout.
 */
import {
  CPUID_SGX_SUBLEAVES,
  type CpuidRecord,
  EnclaveRecord,
  PROTOCOL_MAGIC,
  PROTOCOL_VERSION,
  RecordState,
  RunRecord,
  SESSION_RECORDS_OFFSET,
  SESSION_SIZE_BYTES,
  SessionHeader,
  StubMap,
  ThreadRecord,
} from '../abi/stub.ts';
import type { ProtectionRun } from '../kernel/ports.ts';
import { PAGE_SIZE_BYTES } from '../lib/units.ts';
import type { StructOf } from '../lib/layout.ts';
import { futexWake } from './linux/events.ts';
import { close, createMemfd, Seal } from './linux/files.ts';
import { MappedRegion } from './linux/memory.ts';

const word = (layout: typeof SessionHeader, name: Parameters<typeof SessionHeader.offsetOf>[0]): number =>
  layout.offsetOf(name) / 4;
const HOST_SLEEPING = word(SessionHeader, 'hostSleeping');
const RECORDS_USED = word(SessionHeader, 'recordsUsed');
const PENDING = word(SessionHeader, 'pending');
const SUMMARY = word(SessionHeader, 'summary');

/** What every new session is told about the machine. */
export interface SessionFacts {
  readonly hostPid: number;
  readonly flags: number;
  readonly memfdDevice: number;
  /** Bits by index in `deviceNodes`. */
  readonly nodes: number;
  readonly sharedNodes: number;
  readonly alignedNodes: number;
  readonly cpuid7Ebx: number;
  readonly cpuid7Ecx: number;
  readonly cpuidSgx: readonly StructOf<typeof CpuidRecord>[];
}

/** Mappings of ended sessions, to be used again: they cannot be unmapped. */
const spareRegions: MappedRegion[] = [];

export class SessionArea {
  readonly #region: MappedRegion;
  readonly words: Int32Array;
  readonly data: DataView;
  /** To be sent to the stub and then closed. */
  #fd: number;
  readonly #boxes: (Mailbox | undefined)[] = [];

  constructor(facts: SessionFacts) {
    this.#region = spareRegions.pop() ?? new MappedRegion(SESSION_SIZE_BYTES);
    this.#fd = createMemfd('vitrine-session', SESSION_SIZE_BYTES, Seal.SHRINK | Seal.GROW);
    this.#region.attach(this.#fd);
    this.words = new Int32Array(this.#region.buffer);
    this.data = new DataView(this.#region.buffer);
    const header = new Uint8Array(this.#region.buffer, 0, SessionHeader.sizeBytes);
    header.set(
      SessionHeader.encode({
        magic: PROTOCOL_MAGIC,
        version: PROTOCOL_VERSION,
        hostPid: facts.hostPid,
        flags: facts.flags,
        memfdDevice: BigInt(facts.memfdDevice),
        nodes: facts.nodes,
        sharedNodes: facts.sharedNodes,
        alignedNodes: facts.alignedNodes,
        cpuid7Ebx: facts.cpuid7Ebx,
        cpuid7Ecx: facts.cpuid7Ecx,
        cpuidSgx: facts.cpuidSgx.slice(0, CPUID_SGX_SUBLEAVES),
      }),
    );
  }

  get fd(): number {
    return this.#fd;
  }

  closeFd(): void {
    if (this.#fd >= 0) close(this.#fd);
    this.#fd = -1;
  }

  /** The session is over; nobody may use this object afterwards. */
  dispose(): void {
    this.closeFd();
    this.#region.detach();
    spareRegions.push(this.#region);
  }

  set hostSleeping(sleeping: boolean) {
    Atomics.store(this.words, HOST_SLEEPING, sleeping ? 1 : 0);
  }

  get hasRequests(): boolean {
    const words = this.#summaryWords();
    for (let index = 0; index < words; index++) {
      if (Atomics.load(this.words, SUMMARY + index) !== 0) return true;
    }
    return false;
  }

  /** The mailboxes with a request, which are thereby taken. */
  takeRequests(): Mailbox[] {
    const found: Mailbox[] = [];
    const words = this.#summaryWords();
    for (let index = 0; index < words; index++) {
      if (Atomics.load(this.words, SUMMARY + index) === 0) continue;
      for (const wordIndex of bits(Atomics.exchange(this.words, SUMMARY + index, 0), index)) {
        for (const record of bits(Atomics.exchange(this.words, PENDING + wordIndex, 0), wordIndex)) {
          const box = this.box(record);
          if (box.state === RecordState.REQUEST) found.push(box);
        }
      }
    }
    return found;
  }

  box(index: number): Mailbox {
    return (this.#boxes[index] ??= new Mailbox(this, index, this.#region.address));
  }

  /** The mailboxes that were ever in use. */
  *boxes(): Generator<Mailbox> {
    const count = this.#recordsUsed();
    for (let index = 0; index < count; index++) yield this.box(index);
  }

  #recordsUsed(): number {
    return Math.min(Atomics.load(this.words, RECORDS_USED) >>> 0, StubMap.SLOT_COUNT);
  }

  /** Those that can have a bit set. */
  #summaryWords(): number {
    return Math.ceil(this.#recordsUsed() / 1024);
  }

  /** Tells the stub about an enclave; id 0 = the slot is free. The generation is stored last, with a full fence. */
  publishEnclave(slot: number, enclave: { id: number; base: number; sizeBytes: number; generation: number }): void {
    const at = SessionHeader.offsetOf('enclaves') + slot * EnclaveRecord.sizeBytes;
    this.data.setUint32(at + EnclaveRecord.offsetOf('id'), enclave.id, true);
    this.data.setBigUint64(at + EnclaveRecord.offsetOf('base'), BigInt(enclave.base), true);
    this.data.setBigUint64(at + EnclaveRecord.offsetOf('size'), BigInt(enclave.sizeBytes), true);
    Atomics.store(this.words, (at + EnclaveRecord.offsetOf('generation')) / 4, enclave.generation);
  }
}

/** The record numbers of the bits set in word `index`. */
function* bits(value: number, index: number): Generator<number> {
  for (let rest = value; rest !== 0; rest &= rest - 1) yield index * 32 + 31 - Math.clz32(rest & -rest);
}

/** One thread's record. */
export class Mailbox {
  readonly index: number;
  readonly #area: SessionArea;
  readonly #at: number;
  readonly #stateAddress: number;

  constructor(area: SessionArea, index: number, areaAddress: number) {
    this.index = index;
    this.#area = area;
    this.#at = SESSION_RECORDS_OFFSET + index * ThreadRecord.sizeBytes;
    this.#stateAddress = areaAddress + this.#at + ThreadRecord.offsetOf('state');
  }

  get tid(): number {
    return this.#load('tid');
  }
  get op(): number {
    return this.#load('op');
  }
  get state(): number {
    return this.#load('state');
  }
  get interrupted(): boolean {
    return this.#load('interrupted') !== 0;
  }
  /** Slot of the enclave that the thread is in, or -1. */
  get insideSlot(): number {
    return this.#load('inside') - 1;
  }
  /** Linear address of the TCS while inside. */
  get insideTcs(): number {
    return this.#number(ThreadRecord.offsetOf('insideTcs'));
  }
  /** The generation that its entry was checked against. */
  get insideGeneration(): number {
    return this.#load('insideGeneration');
  }

  /** A 64-bit argument as a number; exact below 2^53, and above that still above every user address. */
  arg(index: number): number {
    return this.#number(ThreadRecord.offsetOf('args') + 8 * index);
  }

  bigArg(index: number): bigint {
    return this.#area.data.getBigUint64(this.#at + ThreadRecord.offsetOf('args') + 8 * index, true);
  }

  /** Writes the answer and wakes the thread. */
  answer(ret: number, out: readonly (number | bigint)[], descriptors: number): void {
    const { data, words } = this.#area;
    data.setBigInt64(this.#at + ThreadRecord.offsetOf('ret'), BigInt(ret), true);
    out.forEach((value, index) => {
      data.setBigUint64(this.#at + ThreadRecord.offsetOf('out') + 8 * index, BigInt(value), true);
    });
    data.setUint32(this.#at + ThreadRecord.offsetOf('descriptors'), descriptors, true);
    Atomics.store(words, (this.#at + ThreadRecord.offsetOf('state')) / 4, RecordState.DONE);
    if (this.#load('waiting') !== 0) futexWake(this.#stateAddress);
  }

  /**
   * Puts protections into the answer that is being made, at most RUNS_PER_ANSWER.
   * @param sequence how many answers with runs the process has got, this one included
   * @param more whether the thread must ask for further ones with Op.MORE
   */
  putRuns(runs: readonly ProtectionRun[], sequence: number, more: boolean): void {
    const { data } = this.#area;
    runs.forEach((run, index) => {
      const at = this.#at + ThreadRecord.offsetOf('runs') + index * RunRecord.sizeBytes;
      data.setBigUint64(at + RunRecord.offsetOf('start'), BigInt(run.startPage * PAGE_SIZE_BYTES), true);
      data.setBigUint64(at + RunRecord.offsetOf('end'), BigInt(run.endPage * PAGE_SIZE_BYTES), true);
      data.setBigUint64(at + RunRecord.offsetOf('prot'), BigInt(run.prot), true);
    });
    data.setUint32(this.#at + ThreadRecord.offsetOf('runCount'), runs.length, true);
    data.setUint32(this.#at + ThreadRecord.offsetOf('moreRuns'), more ? 1 : 0, true);
    data.setUint32(this.#at + ThreadRecord.offsetOf('runSequence'), sequence, true);
  }

  #number(offset: number): number {
    const { data } = this.#area;
    return data.getUint32(this.#at + offset + 4, true) * 2 ** 32 + data.getUint32(this.#at + offset, true);
  }

  #load(name: 'tid' | 'op' | 'state' | 'interrupted' | 'inside' | 'insideGeneration' | 'waiting'): number {
    return Atomics.load(this.#area.words, (this.#at + ThreadRecord.offsetOf(name)) / 4) >>> 0;
  }
}
