/** Runs cases on virtual processes: the model alone, with system calls that mean what the kernel's would. */
import { READ_IMPLIES_EXEC } from '../../src/abi/linux.ts';
import { EnclaveAddPages } from '../../src/abi/sgx-uapi.ts';
import type { IoctlOutcome } from '../../src/devices/dispatch.ts';
import { Errno, errnoName } from '../../src/lib/errno.ts';
import { pageOf } from '../../src/lib/units.ts';
import { VirtualMachine } from '../../src/virtual/machine.ts';
import type { Touched } from '../../src/virtual/address-space.ts';
import type { VirtualProcess } from '../../src/virtual/process.ts';
import { eaccept, emodpe, read, write } from '../../src/virtual/code.ts';
import type { Left } from '../../src/virtual/thread.ts';
import { Do, hex, type Case, type Table } from './language.ts';

const PAGE_FAULT = 14;
const SGX = 0x8000;

/** What each step gave. */
export function runVirtual(table: Table, one: Case): string[] {
  const machine = new VirtualMachine({ cpu: table.cpu, epcPages: table.epcPages });
  return new Run(machine.process()).outcomes(one);
}

class Run {
  /** The last one runs; `fork` adds its child, `exit` takes it away. */
  readonly #processes: VirtualProcess[];
  #background: Generator<void, IoctlOutcome> | undefined;
  /** Without SA_RESTART an interrupted call gives EINTR. */
  #restarts = true;

  constructor(process: VirtualProcess) {
    this.#processes = [process];
  }

  get #process(): VirtualProcess {
    return this.#processes.at(-1)!;
  }

  outcomes({ steps }: Case): string[] {
    return steps.map(({ run }) => this.#step(run.split(' ')));
  }

  #step([verb = '', ...texts]: readonly string[]): string {
    const process = this.#process;
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
        return this.#enter(a, b, c, d);
      case 'fork':
        this.#processes.push(process.fork());
        return '0';
      case 'exit':
        this.#processes.pop()!.exit();
        return '0';
      default:
        throw new Error(`a virtual process has no step ${verb}`);
    }
  }

  #word(address: number): bigint {
    const bytes = new Uint8Array(8);
    this.#process.memory.read(address, bytes);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }

  #ioctl(fd: number, command: number, argument: bigint): string {
    for (;;) {
      const ret = this.#process.ioctl(fd, command, argument);
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
      this.#process.memory.read(argument, range);
      const values = EnclaveAddPages.decode(range);
      const { src, offset, length, count } = values;
      const left = { ...values, src: src + count, offset: offset + count, length: length - count, count: 0n };
      this.#process.memory.write(argument, EnclaveAddPages.encode(left));
      if (left.length === 0n) return '0';
      const gave = this.#ioctl(fd, command, BigInt(argument));
      if (gave !== '0' && gave !== 'EINTR') return gave;
    }
  }

  /** A signal is pending after some pages, once or again and again: time is what the model asks about signals. */
  #timer(first: number, interval: number, restart: number): string {
    let asked = 0;
    this.#restarts = restart !== 0;
    this.#process.pendingSignals = () => {
      asked++;
      return first > 0 && (asked === 100 || (interval > 0 && asked % 100 === 0));
    };
    return '0';
  }

  /** The personality before. */
  #personality(persona: number): string {
    const before = this.#process.personalityImpliesExec ? READ_IMPLIES_EXEC : 0;
    this.#process.personalityImpliesExec = (persona & READ_IMPLIES_EXEC) !== 0;
    return outcome(before);
  }

  #touch(address: number, access: 'read' | 'write'): string {
    const process = this.#process;
    const byte = new Uint8Array(1);
    if (process.mm.vmaAt(pageOf(address)) === undefined && process.memory.read(address, byte) === 1) {
      return access === 'write' ? '0' : `0x${byte[0]!.toString(16)}`;
    }
    return touchOutcome(process.touch(address, access, false), access);
  }

  #enter(tcs: number, what: number, address: number, value: number): string {
    const process = this.#process;
    if (process.mm.enclaveAt(pageOf(tcs)) === undefined) return 'SIGSEGV';
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
    const left = process.thread().run(tcs, function* () {
      if (what === Do.READ) return new DataView((yield* read(address, 8)).slice().buffer).getBigUint64(0, true);
      if (what === Do.EACCEPT) return yield* eaccept(value, address);
      if (what === Do.EMODPE) {
        yield* emodpe(value, address);
        return Do.EMODPE;
      }
      yield* write(address, bytes);
      return value;
    });
    return leftOutcome(left);
  }
}

function outcome(ret: number): string {
  if (ret < 0) return errnoName(-ret);
  return ret === 0 ? '0' : hex(ret);
}

function touchOutcome(touched: Touched, access: string): string {
  switch (touched.kind) {
    case 'fault':
      return pageFault(touched.vector, touched.errorCode);
    case 'bus':
      return 'SIGBUS';
    case 'unmapped':
      return 'SIGSEGV';
    default:
      return access === 'write' ? '0' : '0xff';
  }
}

function leftOutcome(left: Left<bigint | number>): string {
  switch (left.kind) {
    case 'exit':
      return BigInt(left.value) === 0n ? '0' : hex(left.value);
    case 'exception':
      return pageFault(left.vector, left.errorCode);
    case 'bus':
      return 'SIGBUS';
    case 'not-entered':
      if (left.fault.bus === true) return 'SIGBUS';
      return pageFault(left.fault.vector, left.fault.vector === PAGE_FAULT ? left.fault.errorCode : 0);
  }
}

function pageFault(vector: number, errorCode: number): string {
  if (vector !== PAGE_FAULT) return 'SIGSEGV-GP';
  return (errorCode & SGX) === 0 ? 'SIGSEGV' : 'SIGSEGV-EPCM';
}
