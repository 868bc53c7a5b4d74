/**
 * A process that exists nowhere: memory in a map, descriptors, and mappings with the protections that it has really
 * applied, so that what the kernel model tells it to apply (and what it forgets) can be seen.
 */
import { MapType, OpenAccess } from '../../src/abi/linux.ts';
import type { OpenFile } from '../../src/devices/device-table.ts';
import type { IoctlOutcome } from '../../src/devices/dispatch.ts';
import type { EnclaveFile } from '../../src/kernel/enclave.ts';
import type { Mm } from '../../src/kernel/mm.ts';
import type { ProcessPort } from '../../src/kernel/ports.ts';
import { IntervalMap } from '../../src/lib/interval.ts';
import type { KernelResult, Why } from '../../src/lib/outcome.ts';
import { PAGE_SIZE_BYTES, pageOf, type UserAddr } from '../../src/lib/units.ts';
import type { VirtualMachine } from './virtual-machine.ts';
import { VirtualMemory } from './virtual-memory.ts';
import { VirtualThreadRunner } from './virtual-runner.ts';

export type Access = 'read' | 'write' | 'exec';
/** What a program sees of an access: done, or the exception. */
export type Touched =
  | { readonly kind: 'ok' }
  | { readonly kind: 'abort-page' }
  | { readonly kind: 'fault'; readonly vector: number; readonly errorCode: number; readonly address: number }
  | { readonly kind: 'bus' }
  | { readonly kind: 'unmapped' };

/** More tries than that are a livelock. */
const MAX_TRIES = 50;

export class VirtualProcess implements ProcessPort {
  readonly machine: VirtualMachine;
  readonly pid: number;
  memory: VirtualMemory;
  mm!: Mm;
  readonly descriptors = new Map<number, OpenFile>();
  readonly threads: VirtualThreadRunner[] = [];
  /** Answers `signalPending`, once per question. */
  pendingSignals: () => boolean = () => false;
  personalityImpliesExec = false;
  /** false: kicks are only noted, and `answerKick` is up to the test. */
  answersKicks = true;
  readonly kicked: number[] = [];
  /** Why the last system call was refused. */
  lastWhy: Why | undefined;
  /** The protections that its mappings really have. */
  readonly #native = new IntervalMap<number>();

  constructor(machine: VirtualMachine, pid: number, memory = new VirtualMemory()) {
    this.machine = machine;
    this.pid = pid;
    this.memory = memory;
  }

  // ProcessPort

  signalPending(): boolean {
    return this.pendingSignals();
  }

  mayExec(address: UserAddr): boolean | undefined {
    return this.memory.mayExec(address);
  }

  readImpliesExec(): boolean {
    return this.personalityImpliesExec;
  }

  // Nothing is kept for it.
  exited(): void {}

  hasThreadInside(enclaveId: number): boolean {
    return this.threads.some((thread) => thread.enclaveId === enclaveId);
  }

  kick(enclaveId: number): void {
    this.kicked.push(enclaveId);
    if (this.answersKicks) this.answerKick(enclaveId);
  }

  /** Every thread inside leaves, and the process applies what has changed. */
  answerKick(enclaveId: number): void {
    for (const thread of this.threads) if (thread.enclaveId === enclaveId) thread.interrupt();
    this.applyUpdates();
    const file = this.machine.kernel.enclave(enclaveId);
    if (file) this.mm.acknowledge(file, file.generation);
  }

  // System calls

  /** A descriptor, the lowest or the one asked for, or -errno. */
  open(path: string, as?: number, flags: number = OpenAccess.O_RDWR): number {
    const opened = this.machine.devices.open(path, this, flags);
    if (opened.kind === 'errno') return this.#refuse(opened);
    return this.install(opened.value, as);
  }

  install(file: OpenFile, as = this.#freeDescriptor()): number {
    if (this.descriptors.has(as)) this.close(as);
    this.descriptors.set(as, file);
    this.machine.hold(file);
    return as;
  }

  #freeDescriptor(): number {
    let fd = 3;
    while (this.descriptors.has(fd)) fd++;
    return fd;
  }

  close(fd: number): void {
    const file = this.descriptors.get(fd)!;
    this.descriptors.delete(fd);
    this.machine.letGo(file);
  }

  file(fd: number): EnclaveFile {
    return this.descriptors.get(fd) as unknown as EnclaveFile;
  }

  /** Runs the ioctl to its end; returns its value or -errno. */
  ioctl(fd: number, command: number, argument: number | bigint): number {
    const steps = this.ioctlSteps(fd, command, argument);
    for (;;) {
      const step = steps.next();
      if (step.done !== true) continue;
      this.lastWhy = step.value.why;
      this.applyUpdates();
      return step.value.ret;
    }
  }

  ioctlSteps(fd: number, command: number, argument: number | bigint): Generator<void, IoctlOutcome> {
    const file = this.descriptors.get(fd)!;
    return file.ioctl(this.mm, command, BigInt(argument), (number) => this.descriptors.get(number) ?? 'not-open');
  }

  /** 0 or -errno. */
  mmap(fd: number, address: number, lengthBytes: number, prot: number, flags: number = MapType.MAP_SHARED): number {
    const file = this.descriptors.get(fd)!;
    const [start, end] = pages(address, lengthBytes);
    const result = this.mm.mmap(file, start, end, prot, flags);
    if (result.kind === 'errno') return this.#refuse(result);
    this.#native.set(start, end, prot);
    this.applyUpdates();
    return 0;
  }

  mprotect(address: number, lengthBytes: number, prot: number): number {
    const [start, end] = pages(address, lengthBytes);
    const result = this.mm.mprotect(start, end, prot);
    if (result.kind === 'errno') return this.#refuse(result);
    for (const part of this.#native.clipped(start, end)) this.#native.set(part.start, part.end, prot);
    this.applyUpdates();
    return 0;
  }

  /** Moves an enclave mapping. 0 or -errno. */
  mremap(address: number, oldBytes: number, to: number, newBytes: number): number {
    const [oldStart, oldEnd] = pages(address, oldBytes);
    const [start, end] = pages(to, newBytes);
    const prot = this.#native.get(oldStart);
    const result = this.mm.mremap(oldStart, oldEnd, start, end);
    if (result.kind === 'errno') return this.#refuse(result);
    this.#native.delete(oldStart, oldEnd);
    if (prot !== undefined) this.#native.set(start, end, prot);
    this.applyUpdates();
    return 0;
  }

  /** 0 or -errno. */
  madvise(address: number, lengthBytes: number, advice: number): number {
    const [start, end] = pages(address, lengthBytes);
    const result = this.mm.madvise(start, end, advice);
    return result.kind === 'errno' ? this.#refuse(result) : 0;
  }

  munmap(address: number, lengthBytes: number): void {
    const [start, end] = pages(address, lengthBytes);
    this.mm.munmap(start, end);
    this.#native.delete(start, end);
    this.applyUpdates();
    this.machine.releaseUnreferenced();
  }

  /** A child with copies of everything; threads other than the forking one, which is outside, are not there. */
  fork(): VirtualProcess {
    const child = this.machine.addProcess((pid) => new VirtualProcess(this.machine, pid, this.memory.copy()), this);
    for (const [fd, file] of this.descriptors) {
      child.descriptors.set(fd, file);
      this.machine.hold(file);
    }
    for (const { start, end, value } of this.#native) child.#native.set(start, end, value);
    child.applyUpdates();
    return child;
  }

  /** However it ends. */
  exit(): void {
    for (const thread of this.threads.splice(0)) thread.end();
    this.machine.kernel.exitProcess(this.mm);
    this.#native.clear();
    for (const fd of this.descriptors.keys()) this.close(fd);
    this.machine.releaseUnreferenced();
  }

  // Memory accesses

  thread(): VirtualThreadRunner {
    const thread = new VirtualThreadRunner(this);
    this.threads.push(thread);
    return thread;
  }

  /** One access to an enclave page, mended as long as the kernel model mends it. */
  touch(address: number, access: Access, inside: boolean, beforeRetry: () => void = () => {}): Touched {
    const page = pageOf(address);
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      beforeRetry();
      if (inside && this.canReach(address, access)) return { kind: 'ok' };
      const verdict = this.mm.fault({ page, access, inside });
      this.applyUpdates();
      if (verdict.kind === 'fault') {
        const { vector, errorCode, address: at } = verdict.fault;
        return { kind: 'fault', vector, errorCode, address: at };
      }
      if (verdict.kind === 'not-ours') return { kind: 'unmapped' };
      if (verdict.kind !== 'retry') return { kind: verdict.kind };
    }
    throw new Error(`${access} of 0x${address.toString(16)} is retried for ever`);
  }

  /** What the process's own mapping allows right now, with no help of the host's. */
  canReach(address: number, access: Access): boolean {
    const page = pageOf(address);
    const prot = this.#native.get(page) ?? 0;
    const needed = { read: 7, write: 2, exec: 4 }[access];
    if ((prot & needed) === 0) return false;
    const file = this.mm.enclaveAt(page);
    return file?.secs !== undefined && this.machine.contents.has(file.secs, page);
  }

  nativeProt(address: number): number | undefined {
    return this.#native.get(pageOf(address));
  }

  applyUpdates(): void {
    for (const { startPage, endPage, prot } of this.mm.takeUpdates()) this.#native.set(startPage, endPage, prot);
  }

  #refuse(result: Extract<KernelResult, { kind: 'errno' }>): number {
    this.lastWhy = result.why;
    return -result.errno;
  }
}

function pages(address: number, lengthBytes: number): [start: number, end: number] {
  return [pageOf(address), pageOf(address + lengthBytes + PAGE_SIZE_BYTES - 1)];
}
