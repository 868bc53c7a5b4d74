/**
 * A process that exists nowhere: memory, descriptors, threads, and the system calls that an enclave device can tell
 * apart. `address-space.ts` has those on memory.
 */
import { OpenAccess, OpenFlags } from '../abi/linux.ts';
import type { OpenFile } from '../devices/device-table.ts';
import type { IoctlOutcome } from '../devices/dispatch.ts';
import { EnclaveFile } from '../kernel/enclave.ts';
import type { ProcessPort } from '../kernel/ports.ts';
import type { Layout, StructOf, ValuesOf } from '../lib/layout.ts';
import type { UserAddr } from '../lib/units.ts';
import { outcomeOf } from '../trace/events.ts';
import { VirtualAddressSpace } from './address-space.ts';
import type { VirtualMachine } from './machine.ts';
import { VirtualMemory } from './memory.ts';
import { VirtualThreadRunner } from './thread.ts';

interface Descriptor {
  readonly file: OpenFile;
  closeOnExec: boolean;
}

/** Standard input, output and error, which are no devices. */
const FIRST_DESCRIPTOR = 3;
const MAX_DESCRIPTORS = 1024;

export class VirtualProcess extends VirtualAddressSpace implements ProcessPort {
  readonly pid: number;
  readonly threads: VirtualThreadRunner[] = [];
  /** Answers `signalPending`, once per question. */
  pendingSignals: () => boolean = () => false;
  personalityImpliesExec = false;
  /** false: kicks are only noted, and `answerKick` is up to the caller; as if the process were stopped. */
  answersKicks = true;
  /** Enclaves that it was kicked out of. */
  readonly kicked: number[] = [];
  readonly #descriptors = new Map<number, Descriptor>();

  constructor(machine: VirtualMachine, pid: number, memory = new VirtualMemory()) {
    super(machine, memory);
    this.pid = pid;
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

  override leaveUnmapped(): void {
    for (const thread of this.threads) {
      const { enclaveId } = thread;
      const file = enclaveId === undefined ? undefined : this.machine.kernel.enclave(enclaveId);
      if (file !== undefined && !file.mms.has(this.mm)) thread.interrupt();
    }
  }

  // System calls. They give what the kernel gives: 0 or another value, or -errno; `lastWhy` then says which check refused.

  /** A descriptor, the lowest or the one asked for. ENOENT, EMFILE. */
  open(path: string, as?: number, flags: number = OpenAccess.O_RDWR): number {
    const opened = this.machine.devices.open(path, this, flags);
    this.emit(() => ({
      kind: 'open',
      name: 'open',
      args: { path, flags: OpenFlags.format(flags) },
      ...outcomeOf(opened),
    }));
    if (opened.kind === 'errno') return this.refused(opened);
    return this.install(opened.value, as, (flags & OpenFlags.bit.O_CLOEXEC) !== 0);
  }

  /** A descriptor of the file, the lowest or the one asked for. EMFILE. */
  install(file: OpenFile, as = this.#freeDescriptor(), closeOnExec = false): number {
    if (as >= MAX_DESCRIPTORS) return this.refuse('EMFILE', 'a descriptor is free', `${MAX_DESCRIPTORS}`, 'all used');
    this.machine.hold(file);
    if (this.#descriptors.has(as)) this.close(as);
    this.#descriptors.set(as, { file, closeOnExec });
    return as;
  }

  #freeDescriptor(): number {
    let fd = FIRST_DESCRIPTOR;
    while (this.#descriptors.has(fd)) fd++;
    return fd;
  }

  /** Open descriptors of devices. */
  descriptors(): readonly number[] {
    return [...this.#descriptors.keys()];
  }

  override file(fd: number): OpenFile | undefined {
    return this.#descriptors.get(fd)?.file;
  }

  /** The enclave of a descriptor that is known to be one's. Throws a TypeError. */
  enclave(fd: number): EnclaveFile {
    const file = this.file(fd);
    if (!(file instanceof EnclaveFile)) throw new TypeError(`descriptor ${fd} is no enclave`);
    return file;
  }

  /** EBADF. */
  close(fd: number): number {
    const descriptor = this.#descriptors.get(fd);
    if (descriptor === undefined) return this.badDescriptor(fd);
    this.#descriptors.delete(fd);
    this.machine.letGo(descriptor.file);
    return 0;
  }

  /** dup, or dup2 when `as` is given. EBADF, EMFILE. */
  dup(fd: number, as?: number): number {
    const file = this.file(fd);
    if (file === undefined) return this.badDescriptor(fd);
    return as === fd ? fd : this.install(file, as);
  }

  /** SCM_RIGHTS, or the receiver's pidfd_getfd: the descriptor's number there. EBADF, EMFILE. */
  passDescriptor(fd: number, to: VirtualProcess): number {
    const file = this.file(fd);
    return file === undefined ? this.badDescriptor(fd) : to.install(file);
  }

  /** Runs the ioctl to its end. ERESTARTSYS: a signal is pending; the kernel runs it again, or makes EINTR of it. */
  ioctl(fd: number, command: number, argument: number | bigint): number {
    const steps = this.ioctlSteps(fd, command, argument);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value.ret;
    }
  }

  /**
   * An ioctl with its structure: `ret` is 0, another value or -errno, the rest is the structure as it came back.
   * @example process.call(fd, SGX_IOC_ENCLAVE_INIT, { sigStruct: process.put(bytes) }).ret
   */
  call<L extends Layout>(
    fd: number,
    { number, arg }: { readonly number: number; readonly arg: L },
    values: ValuesOf<L>,
  ): { readonly ret: number } & StructOf<L> {
    const address = this.put(arg.encode(values));
    const ret = this.ioctl(fd, number, address);
    const out = new Uint8Array(arg.sizeBytes);
    this.memory.read(address, out);
    this.memory.unmap(address, arg.sizeBytes);
    return { ret, ...(arg.decode(out) as StructOf<L>) };
  }

  /** Fresh memory holding the bytes; its address. */
  put(bytes: Uint8Array): number {
    return this.memory.put(bytes);
  }

  /** An ioctl in its slices, between which others can do things. */
  *ioctlSteps(fd: number, command: number, argument: number | bigint): Generator<void, IoctlOutcome> {
    const file = this.file(fd);
    if (file === undefined) return { ret: this.badDescriptor(fd) };
    const resolve = (number: number) => this.file(number) ?? (number < FIRST_DESCRIPTOR ? 'other' : 'not-open');
    const steps = file.ioctl(this.mm, command, BigInt(argument), resolve);
    try {
      for (;;) {
        const step = steps.next();
        this.applyUpdates();
        if (step.done === true) {
          this.lastWhy = step.value.why;
          return this.#withDescriptor(step.value);
        }
        yield;
      }
    } finally {
      // Also when nobody runs the rest.
      steps.return({ ret: 0 });
    }
  }

  /** EMFILE. */
  #withDescriptor(outcome: IoctlOutcome): IoctlOutcome {
    const { descriptorOf, ...rest } = outcome;
    if (descriptorOf === undefined) return outcome;
    const fd = this.install(descriptorOf, undefined, true);
    if (fd < 0) this.machine.devices.release(descriptorOf);
    return { ...rest, ret: fd };
  }

  /** A child with copies of everything; of the threads only the one that forks goes on there, and it is outside. */
  fork(): VirtualProcess {
    const child = this.machine.addChild(this, (pid) => new VirtualProcess(this.machine, pid, this.memory.copy()));
    for (const [fd, { file, closeOnExec }] of this.#descriptors) child.install(file, fd, closeOnExec);
    child.personalityImpliesExec = this.personalityImpliesExec;
    child.inherit(this);
    return child;
  }

  /** execve: memory and threads go, and descriptors with O_CLOEXEC. */
  exec(): void {
    this.leaveMemory();
    this.mm = this.machine.kernel.addProcess(this);
    for (const [fd, { closeOnExec }] of this.#descriptors) if (closeOnExec) this.close(fd);
    this.machine.releaseUnreferenced();
  }

  /** However it ends. */
  exit(): void {
    this.leaveMemory();
    for (const fd of this.#descriptors.keys()) this.close(fd);
    this.machine.processes.delete(this);
    this.machine.releaseUnreferenced();
  }

  override leaveMemory(): void {
    for (const thread of this.threads.splice(0)) thread.end();
    super.leaveMemory();
  }

  thread(): VirtualThreadRunner {
    const thread = new VirtualThreadRunner(this, this.machine.newTid(this));
    this.threads.push(thread);
    return thread;
  }
}
