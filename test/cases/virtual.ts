/** Runs cases on virtual processes: the model alone, with system calls that mean what the kernel's would. */
import { READ_IMPLIES_EXEC } from '../../src/abi/linux.ts';
import { EnclaveAddPages, sgxDevices } from '../../src/abi/sgx-uapi.ts';
import type { OpenFile } from '../../src/devices/device-table.ts';
import type { IoctlOutcome } from '../../src/devices/dispatch.ts';
import { Errno, errnoName } from '../../src/lib/errno.ts';
import type { Fault } from '../../src/lib/outcome.ts';
import { PAGE_SIZE_BYTES, pageOf } from '../../src/lib/units.ts';
import { VirtualMachine } from '../../src/virtual/machine.ts';
import type { VirtualProcess } from '../../src/virtual/process.ts';
import type { VirtualThreadRunner } from '../../src/virtual/thread.ts';
import { enclaveCode } from './enclave-code.ts';
import { accessFault, faultText, leftFault, type Caught } from './faults.ts';
import { hex, type Case, type Table } from './language.ts';

/** What a run is made on. */
export interface RunOptions {
  readonly cpu: string;
  readonly epcPages: number;
  /** false: enclave memory is open to the rest of its process, as on a real machine without protection keys. */
  readonly hasKeys?: boolean;
  /** What is injected: docs/inject.md. */
  readonly inject?: readonly string[];
}

/** What each step gave. */
export function runVirtual(table: Table, { steps }: Case): string[] {
  const run = new VirtualRun(table);
  return steps.map((one) => run.step(one.run));
}

/** A second thread that has entered an enclave, and what became of it when it left. */
interface Spinner {
  readonly thread: VirtualThreadRunner;
  readonly tcs: number;
  outcome: string | undefined;
}

/** A process of a case, and what the program in it remembers. */
interface Member {
  readonly process: VirtualProcess;
  readonly thread: VirtualThreadRunner;
  readonly parent: number;
  /** Descriptors passed to it and not taken yet. */
  readonly mailbox: OpenFile[];
  fault: Caught | undefined;
  spinner: Spinner | undefined;
}

export class VirtualRun {
  readonly machine: VirtualMachine;
  readonly #hasKeys: boolean;
  /** Those that live, by number. */
  readonly #members = new Map<number, Member>();
  #turn = 0;
  #forked = 1;
  #background: Generator<void, IoctlOutcome> | undefined;
  /** Without SA_RESTART an interrupted call gives EINTR. */
  #restarts = true;

  constructor({ cpu, epcPages, hasKeys = true, inject = [] }: RunOptions) {
    this.machine = new VirtualMachine({ cpu, epcPages, inject });
    this.#hasKeys = hasKeys;
    this.#join(0, this.machine.process(), 0);
  }

  #join(number: number, process: VirtualProcess, parent: number, fault?: Caught): void {
    const thread = process.thread();
    this.#members.set(number, { process, thread, parent, mailbox: [], fault, spinner: undefined });
  }

  get #member(): Member {
    return this.#members.get(this.#turn)!;
  }

  /** Which process runs the next step. */
  get turn(): number {
    return this.#turn;
  }

  get process(): VirtualProcess {
    return this.#member.process;
  }

  /** Numbers of the processes that live. */
  get living(): number[] {
    return [...this.#members.keys()];
  }

  /** Processes there have been. */
  get forked(): number {
    return this.#forked;
  }

  /** The TCS that the second thread of a process has entered, whether it is still there or not. */
  spinsIn(number = this.#turn): number | undefined {
    return this.#members.get(number)?.spinner?.tcs;
  }

  /** What the step gives. */
  step(text: string): string {
    const gives = this.#step(text.split(' '));
    this.#settleSpinners();
    return gives;
  }

  #step([verb = '', ...texts]: readonly string[]): string {
    const member = this.#member;
    const { process } = member;
    const values = texts.map((text) => (/^-?\d/.test(text) ? Number(text) : Number.NaN));
    const [a = 0, b = 0, c = 0, d = 0] = values;
    switch (verb) {
      case 'device':
        return outcome(Math.min(0, process.open(texts[1]!, a, c)));
      case 'open':
        return outcome(Math.min(0, process.open(texts[0]!)));
      case 'close':
        return outcome(process.close(a));
      case 'dup2':
        return outcome(process.dup(a, b));
      case 'put':
        process.memory.write(a, Buffer.from(texts[1]!, 'hex'));
        return '0';
      case 'words':
        process.memory.write(a, new Uint8Array(BigUint64Array.from(texts.slice(1), BigInt).buffer));
        return '0';
      case 'peek':
        return hex(this.#word(a));
      case 'between':
        return this.#word(a) > b && this.#word(a) < c ? 'yes' : 'no';
      case 'noexec':
        process.memory.map(a, 1, { mayExec: false });
        return '0';
      case 'ioctl':
        return this.#ioctl(a, b, BigInt(texts[2]!));
      case 'background':
        this.#background = process.ioctlSteps(b, c, BigInt(texts[3]!));
        this.#background.next();
        return '0';
      case 'busy':
        return this.#ioctl(b, c, BigInt(texts[3]!));
      case 'await':
        return this.#await();
      case 'again':
        return this.#again(a, b, c);
      case 'capacity':
        return this.#capacity(a, BigInt(texts[1]!));
      case 'timer':
        return this.#timer(a, b, c);
      case 'mmap':
        return outcome(Math.min(0, process.mmap(a, b, c, d, values[4])));
      case 'munmap':
        return outcome(process.munmap(a, b));
      case 'mprotect':
        return outcome(process.mprotect(a, b, c));
      case 'mremap':
        return outcome(process.mremap(a, b, c, d, values[4]));
      case 'madvise':
        return outcome(process.madvise(a, b, c));
      case 'personality':
        return this.#personality(a);
      case 'touch':
        return this.#touch(a, texts[1] === 'w' ? 'write' : 'read');
      case 'enter':
        return this.#enter(2, a, texts.slice(1), false);
      case 'resume':
        return this.#enter(3, a, [], false);
      case 'call':
        return a === 2 || a === 3 ? this.#enter(a, b, texts.slice(2), true) : 'EINVAL';
      case 'fault':
        return member.fault === undefined ? 'none' : faultText(member.fault);
      case 'spin':
        return this.#spin(a);
      case 'stop':
        return this.#stop();
      case 'pass':
        return this.#pass(a, b);
      case 'take':
        return this.#take(a);
      case 'fork':
        this.#join(this.#forked, process.fork(), this.#turn, member.fault);
        this.#turn = this.#forked++;
        return '0';
      case 'turn':
        this.#turn = a;
        return '0';
      case 'exit':
        this.#end(this.#turn);
        this.#turn = this.#members.has(member.parent) ? member.parent : 0;
        return '0';
      case 'kill':
        this.#end(a);
        return '0';
      default:
        throw new Error(`a virtual process has no step ${verb}`);
    }
  }

  #end(number: number): void {
    this.#members.get(number)!.process.exit();
    this.#members.delete(number);
  }

  // A descriptor that is under way is a reference, too.

  #pass(fd: number, to: number): string {
    const file = this.process.file(fd);
    if (file === undefined) return 'EBADF';
    this.machine.hold(file);
    this.#members.get(to)!.mailbox.push(file);
    return '0';
  }

  #take(fd: number): string {
    const file = this.#member.mailbox.shift();
    if (file === undefined) return 'EAGAIN';
    this.process.install(file, fd);
    this.machine.letGo(file);
    return '0';
  }

  #word(address: number): bigint {
    const bytes = new Uint8Array(8);
    this.process.memory.read(address, bytes);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }

  #ioctl(fd: number, command: number, argument: bigint): string {
    for (;;) {
      const ret = this.process.ioctl(fd, command, argument);
      if (ret !== -Errno.ERESTARTSYS) return outcome(ret);
      if (!this.#restarts) return 'EINTR';
    }
  }

  #await(): string {
    for (;;) {
      const step = this.#background!.next();
      if (step.done === true) return outcome(step.value.ret);
    }
  }

  #again(fd: number, command: number, argument: number): string {
    const range = new Uint8Array(EnclaveAddPages.sizeBytes);
    for (;;) {
      this.process.memory.read(argument, range);
      const values = EnclaveAddPages.decode(range);
      const { src, offset, length, count } = values;
      const left = { ...values, src: src + count, offset: offset + count, length: length - count, count: 0n };
      this.process.memory.write(argument, EnclaveAddPages.encode(left));
      if (left.length === 0n) return '0';
      const gave = this.#ioctl(fd, command, BigInt(argument));
      if (gave !== '0' && gave !== 'EINTR') return gave;
    }
  }

  /** A signal is pending after some pages, once or again and again: time is what the model asks about signals. */
  #timer(first: number, interval: number, restart: number): string {
    let asked = 0;
    this.#restarts = restart !== 0;
    this.process.pendingSignals = () => {
      asked++;
      return first > 0 && (asked === 100 || (interval > 0 && asked % 100 === 0));
    };
    return '0';
  }

  /** The personality before. */
  #personality(persona: number): string {
    const before = this.process.personalityImpliesExec ? READ_IMPLIES_EXEC : 0;
    this.process.personalityImpliesExec = (persona & READ_IMPLIES_EXEC) !== 0;
    return outcome(before);
  }

  /** How many enclaves can be created until it fails, and how it does. */
  #capacity(command: number, argument: bigint): string {
    const { process } = this;
    const fds: number[] = [];
    for (;;) {
      fds.push(process.open(sgxDevices.enclave.path));
      const gave = this.#ioctl(fds.at(-1)!, command, argument);
      if (gave === '0') continue;
      for (const fd of fds) process.close(fd);
      return `${fds.length - 1} ${gave}`;
    }
  }

  #touch(address: number, access: 'read' | 'write'): string {
    const { process } = this;
    const bytes = Uint8Array.of(1);
    const { mm, memory } = process;
    if (mm.vmaAt(pageOf(address)) === undefined) {
      const done = access === 'read' ? memory.read(address, bytes) : memory.write(address, bytes);
      if (done === 1) return access === 'read' ? `0x${bytes[0]!.toString(16)}` : '0';
    }
    if (!this.#hasKeys && process.canReach(address, access)) {
      const { secs } = mm.enclaveAt(pageOf(address))!;
      const { contents } = this.machine;
      if (access === 'write') contents.write(secs!, pageOf(address), address % PAGE_SIZE_BYTES, bytes);
      else contents.read(secs!, pageOf(address), address % PAGE_SIZE_BYTES, bytes);
      return access === 'read' ? `0x${bytes[0]!.toString(16)}` : '0';
    }
    const touched = process.touch(address, access, false);
    if (touched.kind === 'ok' || touched.kind === 'abort-page') return access === 'write' ? '0' : '0xff';
    return this.#faulted(accessFault(process, touched, address, access));
  }

  #faulted(fault: Caught): string {
    this.#member.fault = fault;
    return fault.name;
  }

  /** EENTER or ERESUME, by ENCLU or by the vDSO function, which is no different but for who hears of faults. */
  #enter(leaf: number, tcs: number, texts: readonly string[], byVdso: boolean): string {
    const { process, thread } = this.#member;
    const [rdi = 0n, rsi = 0n, rdx = 0n, r9 = 0n] = texts.map(BigInt);
    const left =
      leaf === 2 ? thread.run(tcs, () => enclaveCode(process, tcs, { rdi, rsi, rdx, r9 })) : thread.resume(tcs);
    if (left.kind === 'exit') return left.value === 0n ? '0' : hex(left.value as bigint);
    return this.#faulted(leftFault(process, left, byVdso));
  }

  #spin(tcs: number): string {
    const member = this.#member;
    const thread = member.process.thread();
    const entered = thread.enter(tcs);
    member.spinner = { thread, tcs, outcome: undefined };
    if (entered.kind !== 'ok') {
      member.spinner.outcome = leftFault(member.process, { kind: 'not-entered', fault: entered as Fault }, false).name;
    }
    return '0';
  }

  /** Each goes round a few times after every step. */
  #settleSpinners(): void {
    for (const { process, spinner } of this.#members.values()) {
      if (spinner === undefined) continue;
      for (let round = 0; round < 2 && spinner.outcome === undefined; round++) {
        const left = spinner.thread.step();
        if (left !== undefined && left.kind !== 'exit') spinner.outcome = leftFault(process, left, false).name;
      }
    }
  }

  #stop(): string {
    const member = this.#member;
    const { thread, outcome: gave } = member.spinner!;
    member.spinner = undefined;
    if (gave === undefined) thread.exit();
    thread.end();
    return gave ?? '0';
  }
}

function outcome(ret: number): string {
  if (ret < 0) return errnoName(-ret);
  return ret === 0 ? '0' : hex(ret);
}
