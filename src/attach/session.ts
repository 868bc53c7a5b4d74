/**
 * One process image of the target: its connection, the memory shared with its stub, its address space in the model,
 * and which enclaves it knows by which slot. It ends with the process, or with the image when the process execs.
 */
import { RUNS_PER_ANSWER, SESSION_ENCLAVES } from '../abi/stub.ts';
import type { Mm } from '../kernel/mm.ts';
import type { EnclaveFile } from '../kernel/enclave.ts';
import type { ProtectionRun } from '../kernel/ports.ts';
import { PAGE_SIZE_BYTES } from '../lib/units.ts';
import { close } from './linux/files.ts';
import { isExiting, readOrEmpty } from './memory-map.ts';
import type { Mailbox, SessionArea } from './session-area.ts';
import type { TargetPort } from './target-port.ts';

interface EnclaveSlot {
  file: EnclaveFile | undefined;
  /** Added to the enclave's own generation, so that the numbers in a slot never repeat when the slot is reused. */
  bias: number;
  published: number;
}

/** How a program's processes come in: a socket that all of them inherit. */
export interface Gate {
  /** Our end. */
  readonly fd: number;
  /** A sentence for whoever started the program. */
  readonly complain: (sentence: string) => void;
}

export class Session {
  readonly pid: number;
  readonly socket: number;
  readonly pidfd: number;
  readonly gate: Gate;
  /** 0 after exec. */
  parentPid = 0;
  /** It has another number there than here. */
  inPidNamespace = false;
  /** Present from Hello on. */
  area: SessionArea | undefined;
  port: TargetPort | undefined;
  /** Present from ADOPT on; after exec at once. */
  mm: Mm | undefined;
  /** Requests that came before ADOPT. */
  readonly early: Mailbox[] = [];
  /** Descriptors for the program that it has not fetched yet, by inode. */
  readonly unclaimed = new Map<number, number>();
  /** It has opened a device; the first node that it asked for and that is not here. */
  opened = false;
  missedNode: string | undefined;
  /** It is over: its descriptors are closed, and their numbers may be others' by now. */
  ended = false;
  /** A copy of the process's userfaultfd: closing the last one would unregister its mappings. */
  uffd = -1;
  readonly #slots: EnclaveSlot[] = [];
  #runs: ProtectionRun[] = [];
  #runSequence = 0;

  constructor(pid: number, socket: number, pidfd: number, gate: Gate) {
    this.pid = pid;
    this.socket = socket;
    this.pidfd = pidfd;
    this.gate = gate;
  }

  /** The slot under which the stub knows the enclave, published; -1 when all are taken. */
  slotFor(file: EnclaveFile): number {
    const known = this.slotOf(file.id);
    if (known >= 0) return known;
    let index = this.#slots.findIndex((slot) => slot.file === undefined);
    if (index < 0) index = this.#slots.push({ file: undefined, bias: 0, published: 0 }) - 1;
    if (index >= SESSION_ENCLAVES) return -1;
    const slot = this.#slots[index]!;
    slot.file = file;
    slot.bias = slot.published + 1 - file.generation;
    this.#publish(index);
    return index;
  }

  slotOf(enclaveId: number): number {
    return this.#slots.findIndex((slot) => slot.file?.id === enclaveId);
  }

  enclaveInSlot(index: number): EnclaveFile | undefined {
    return this.#slots[index]?.file;
  }

  /** The generation that the stub sees in this slot. */
  publishedGeneration(index: number): number {
    return this.#slots[index]?.published ?? 0;
  }

  /** Rights were cut: entries checked before are stale. */
  raiseGeneration(file: EnclaveFile): void {
    const index = this.slotOf(file.id);
    if (index >= 0) this.#publish(index);
  }

  forgetEnclave(enclaveId: number): void {
    const index = this.slotOf(enclaveId);
    if (index < 0) return;
    const slot = this.#slots[index]!;
    slot.file = undefined;
    slot.published = (slot.published + 1) >>> 0;
    this.area?.publishEnclave(index, { id: 0, base: 0, sizeBytes: 0, generation: slot.published });
  }

  threadsInside(enclaveId: number): Mailbox[] {
    const index = this.slotOf(enclaveId);
    if (index < 0 || this.area === undefined) return [];
    return [...this.area.boxes()].filter((box) => box.insideSlot === index);
  }

  /**
   * Whether a thread may still use rights of before the last raise: it is inside, came in earlier, and runs. A stopped
   * thread has been kicked: the kick comes before its next instruction.
   */
  hasStaleThread(file: EnclaveFile): boolean {
    const index = this.slotOf(file.id);
    return this.threadsInside(file.id).some(
      (box) => box.insideGeneration !== this.publishedGeneration(index) && !this.#isStopped(box.tid),
    );
  }

  /** In a PID namespace of its own we do not know its threads by their numbers: they live as long as the process. */
  hasLiving(tid: number): boolean {
    const known = [...(this.area?.boxes() ?? [])].some((box) => box.tid === tid);
    return known && (this.inPidNamespace || !isExiting(readOrEmpty(`/proc/${this.pid}/task/${tid}/stat`)));
  }

  *enclaveRanges(): Generator<{ start: number; end: number }> {
    for (const vma of this.mm?.vmas() ?? []) {
      yield { start: vma.startPage * PAGE_SIZE_BYTES, end: vma.endPage * PAGE_SIZE_BYTES };
    }
  }

  /** Protections that the process must apply, put into the answer that is being made for `box`. */
  putRuns(box: Mailbox): void {
    const updates = this.mm?.takeUpdates() ?? [];
    if (updates.length > 0) this.#runs.push(...updates);
    const runs = this.#runs.splice(0, RUNS_PER_ANSWER);
    if (runs.length > 0) this.#runSequence++;
    box.putRuns(runs, this.#runSequence, this.#runs.length > 0);
  }

  /** Closes everything; the model has already let go of the address space. */
  dispose(): void {
    this.area?.dispose();
    for (const fd of [this.socket, this.pidfd, this.uffd, ...this.unclaimed.values()]) if (fd >= 0) close(fd);
  }

  /** SIGSTOP or a debugger; proc(5), /proc/pid/stat, state. */
  #isStopped(tid: number): boolean {
    const stat = readOrEmpty(`/proc/${this.pid}/task/${tid}/stat`);
    return /^ [Tt] /.test(stat.slice(stat.lastIndexOf(')') + 1));
  }

  #publish(index: number): void {
    const slot = this.#slots[index]!;
    const { file } = slot;
    if (file === undefined) return;
    slot.published = (file.generation + slot.bias) >>> 0;
    this.area?.publishEnclave(index, {
      id: file.id,
      base: file.base,
      sizeBytes: file.sizeBytes,
      generation: slot.published,
    });
  }
}
