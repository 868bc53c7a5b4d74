/** Threads of virtual processes: they enter enclaves, run code there, are interrupted and go on. */
import { Tcs } from '../abi/sgx-arch.ts';
import { PageFaultError, Vector, vectorName } from '../abi/x86.ts';
import { readU32, readU64 } from '../lib/bytes.ts';
import { InvariantError, type Fault, type LeafResult } from '../lib/outcome.ts';
import { addressOf, PAGE_SIZE_BYTES, pageOf, type EpcIndex } from '../lib/units.ts';
import type { EnclaveFile } from '../kernel/enclave.ts';
import { runLeaf } from '../kernel/leaves.ts';
import { aex, type ExceptionEvent } from '../processor/enclu/aex.ts';
import { eenter } from '../processor/enclu/eenter.ts';
import { eexit, leave } from '../processor/enclu/eexit.ts';
import { encluName, namedOperands } from '../processor/enclu/enclu.ts';
import { eresume } from '../processor/enclu/eresume.ts';
import type { InsideState, VirtualThread } from '../processor/enclu/virtual-thread.ts';
import { outcomeOf, type TraceEvent } from '../trace/events.ts';
import { spin, type EnclaveCode, type Instruction, type RunningCode } from './code.ts';
import type { Left } from './left.ts';
import type { VirtualProcess } from './process.ts';
import type { Access } from './touched.ts';

type Outcome = { readonly value: unknown } | { readonly left: Left<never> };

/** Where ENCLU and the code behind it are, in a process that has neither. */
export const AEP = 0x5000_0010n;
const OUTSIDE = 0x40_0000n;
const ONES = 0xff;
/** More tries than that are a livelock. */
const MAX_TRIES = 50;
const { W, U, I } = PageFaultError.bit;

export class VirtualThreadRunner {
  readonly process: VirtualProcess;
  readonly tid: number;
  /** Registers, and what the processor knows of the thread while it is inside. */
  readonly thread: VirtualThread;
  /** What is at OENTRY when AEX-Notify makes ERESUME enter there. */
  entry: EnclaveCode<unknown> | undefined;
  #tcsAddress = 0;
  /** The code that it is in, or has been taken out of by an interrupt. */
  #running: RunningCode | undefined;

  constructor(process: VirtualProcess, tid: number) {
    this.process = process;
    this.tid = tid;
    this.thread = process.machine.threads.create();
  }

  /** Of the enclave that it is inside. */
  get enclaveId(): number | undefined {
    return this.#enclave?.id;
  }

  /** It has code to go on with: `step` may be called. */
  get running(): boolean {
    return this.#running !== undefined;
  }

  get #enclave(): EnclaveFile | undefined {
    const { inside } = this.thread;
    return inside && this.process.machine.kernel.enclaveOfSecs(inside.secs);
  }

  /** EENTER, the code, EEXIT; or until an exception. */
  run<T>(tcsAddress: number, code: EnclaveCode<T>): Left<T> {
    const entered = this.enter(tcsAddress, code);
    return entered.kind === 'ok' ? (this.#toTheEnd() as Left<T>) : { kind: 'not-entered', fault: entered as Fault };
  }

  /** ERESUME, by whatever thread: the instruction that was interrupted is run again, and the code to its end. */
  resume(tcsAddress = this.#tcsAddress): Left<unknown> {
    const resumed = this.startResume(tcsAddress);
    return resumed.kind === 'ok' ? this.#toTheEnd() : { kind: 'not-entered', fault: resumed as Fault };
  }

  /** EENTER: the thread is inside then, and `step` goes on. #GP, #PF. */
  enter(tcsAddress: number, code: EnclaveCode<unknown> = spin): LeafResult {
    const entered = this.#leaf(eenter, tcsAddress, () => {
      this.#running = start(code);
    });
    this.#sayEntered('EENTER', tcsAddress, entered);
    return entered;
  }

  /**
   * One instruction, after ERESUME where an interrupt has taken the thread out. Says how the code was left when it was;
   * undefined while it goes on. Throws an Error when the thread is in no enclave's code.
   */
  step(): Left<unknown> | undefined {
    if (this.#running === undefined) throw new Error('the thread is in no enclave; enter one first');
    const out = this.#backInside();
    if (out !== undefined) return out;
    return this.#advance(this.#running);
  }

  #advance(running: RunningCode): Left<unknown> | undefined {
    if (running.next === undefined) {
      const step = running.code.next(running.result);
      if (step.done !== true) running.next = step.value;
      // The code may have had its own thread interrupted, and then another's is in the frame.
      const out = this.#backInside();
      if (out !== undefined) return out;
      if (this.#running !== running) return undefined;
      if (step.done === true) {
        this.exit();
        return { kind: 'exit', value: step.value };
      }
    }
    const fetched = this.#fetch();
    const outcome = 'left' in fetched ? fetched : this.#perform(running.next!);
    if ('left' in outcome) return outcome.left;
    running.result = outcome.value;
    running.next = undefined;
    return undefined;
  }

  /** EEXIT. #GP outside. */
  exit(): LeafResult {
    this.#running = undefined;
    const { inside } = this.thread;
    const exited = eexit(this.process.machine.machine.processor, this.thread, OUTSIDE);
    if (inside) this.#say(() => ({ kind: 'exit', name: 'EEXIT', args: { tcs: hex(inside.tcsAddress) } }));
    return exited;
  }

  /** AEX, as for an interrupt. The next step resumes. */
  interrupt(event?: ExceptionEvent): void {
    const { machine } = this.process;
    const enclave = this.#enclave;
    const { inside } = this.thread;
    if (inside === undefined || enclave === undefined)
      throw new InvariantError('AEX of a thread that is in no enclave');
    const frame = this.#cssa(inside.secs, inside.tcsAddress);
    if (this.#canBeSaved(enclave, inside, frame)) {
      aex(machine.machine.processor, this.thread, event);
      machine.continuations.save(enclave, inside.tcsAddress, frame, this.#running);
    } else {
      this.#leaveUnsaved(enclave, inside, frame);
    }
    const what = event === undefined ? {} : { exception: vectorName(event.vector), address: hex(event.address ?? 0) };
    this.#say(() => ({ kind: 'aex', name: 'AEX', args: { tcs: hex(inside.tcsAddress), ...what } }));
  }

  #canBeSaved(enclave: EnclaveFile, { tcsAddress }: InsideState, frame: number): boolean {
    if (!isFilled(enclave, tcsAddress)) return false;
    const { kernel } = this.process.machine;
    const bytes = new Uint8Array(8);
    kernel.contents.read(enclave.secs!, pageOf(tcsAddress), Tcs.offsetOf('ossa'), bytes);
    const pages = kernel.processor.secs(enclave.secs!).fields.ssaFrameSize;
    const start = enclave.base + Number(readU64(bytes, 0)) + frame * pages * PAGE_SIZE_BYTES;
    return Array.from({ length: pages }, (_, i) => start + i * PAGE_SIZE_BYTES).every((at) => isFilled(enclave, at));
  }

  /**
   * Its TCS or its frame was trimmed under it. On hardware the AEX writes to those pages by their physical addresses, and
   * nobody can read there any more; here it writes nothing.
   */
  #leaveUnsaved(enclave: EnclaveFile, inside: InsideState, frame: number): void {
    const { thread } = this;
    thread.registers.rip = inside.aep;
    if (isFilled(enclave, inside.tcsAddress)) {
      leave(this.process.machine.machine.processor, thread, inside, { cssa: frame + 1 });
    } else {
      thread.inside = undefined;
    }
  }

  /** The thread is gone. Where it was inside, that took an interrupt. */
  end(): void {
    if (this.thread.inside !== undefined) this.interrupt();
    this.process.machine.threads.end(this.thread);
  }

  #say(event: () => Omit<TraceEvent, 'pid' | 'tid'>): void {
    this.process.emit(() => ({ tid: this.tid, ...event() }));
  }

  #sayEntered(name: string, tcsAddress: number, result: LeafResult): void {
    this.#say(() =>
      result.kind === 'ok'
        ? { kind: 'enter', name, args: { tcs: hex(tcsAddress) } }
        : { kind: 'leaf', name, args: { tcs: hex(tcsAddress) }, ...outcomeOf(result) },
    );
  }

  #toTheEnd(): Left<unknown> {
    for (;;) {
      const left = this.step();
      if (left !== undefined) return left;
    }
  }

  /** @param inside before anybody can interrupt the thread again; gets TCS.CSSA from before the leaf */
  #leaf(leaf: typeof eenter | typeof eresume, tcsAddress: number, inside: (frames: number) => void): LeafResult {
    const { mm, machine } = this.process;
    this.process.applyUpdates();
    return runLeaf(mm, tcsAddress, (access) => {
      const frames = this.#cssa(access.secs, tcsAddress);
      const result = leaf(machine.machine.processor, access, this.thread, tcsAddress, AEP);
      if (result.kind === 'ok') {
        this.#tcsAddress = tcsAddress;
        inside(frames);
      }
      return result;
    });
  }

  /** ERESUME alone: the thread is inside then, and `step` goes on. #GP, #PF. */
  startResume(tcsAddress = this.#tcsAddress): LeafResult {
    const resumed = this.#leaf(eresume, tcsAddress, (frames) => {
      const frame = this.#cssa(this.thread.inside!.secs, tcsAddress);
      this.#running = frame < frames ? this.#continuation(tcsAddress, frame) : start(this.#entry());
    });
    this.#sayEntered('ERESUME', tcsAddress, resumed);
    return resumed;
  }

  #continuation(tcsAddress: number, frame: number): RunningCode {
    return this.process.machine.continuations.take(this.#enclave!, tcsAddress, frame) ?? start(spin);
  }

  /** Throws an Error when nobody has said what it is. */
  #entry(): EnclaveCode<unknown> {
    if (this.entry === undefined) throw new Error('AEX-Notify: say what code is at OENTRY (thread.entry)');
    return this.entry;
  }

  /** ERESUME, if an interrupt has taken the thread out; again, if bringing its pages takes it out again. */
  #backInside(): Left<never> | undefined {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      if (this.thread.inside !== undefined) return undefined;
      const resumed = this.startResume();
      if (resumed.kind === 'ok') continue;
      this.#running = undefined;
      return { kind: 'not-entered', fault: resumed as Fault };
    }
    throw new InvariantError('ERESUME is interrupted for ever');
  }

  /** 0 where there is no TCS. */
  #cssa(secs: EpcIndex, tcsAddress: number): number {
    const { kernel } = this.process.machine;
    if (!isFilled(kernel.enclaveOfSecs(secs)!, tcsAddress)) return 0;
    const bytes = new Uint8Array(4);
    kernel.contents.read(secs, pageOf(tcsAddress), Tcs.offsetOf('cssa'), bytes);
    return readU32(bytes, 0);
  }

  /** The page that RIP is in has to be executable, whatever the code is. */
  #fetch(): Outcome {
    return this.#access(Number(this.thread.registers.rip), 'exec', new Uint8Array(1), () => {});
  }

  #perform(instruction: Instruction): Outcome {
    const { contents } = this.process.machine;
    switch (instruction.op) {
      case 'read': {
        const { address, lengthBytes } = instruction;
        const bytes = new Uint8Array(lengthBytes);
        return this.#access(address, 'read', bytes, (secs) => {
          contents.read(secs, pageOf(address), address % PAGE_SIZE_BYTES, bytes);
        });
      }
      case 'write': {
        const { address, bytes } = instruction;
        return this.#access(address, 'write', bytes, (secs) => {
          contents.write(secs, pageOf(address), address % PAGE_SIZE_BYTES, bytes);
        });
      }
      case 'exec':
        this.thread.registers.rip = BigInt(instruction.address);
        return this.#access(instruction.address, 'exec', new Uint8Array(1), () => {});
      case 'enclu': {
        const { leaf, operands } = instruction;
        const result = this.process.mm.enclu({ enclave: this.#enclave!, tcsAddress: this.#tcsAddress }, leaf, operands);
        this.#say(() => ({
          kind: 'leaf',
          name: encluName(leaf),
          args: inHex(namedOperands(leaf, operands)),
          ...outcomeOf(result),
        }));
        return this.#enclu(result);
      }
      case 'pause':
        return { value: undefined };
    }
  }

  /** The value is `bytes`. */
  #access(address: number, access: Access, bytes: Uint8Array, perform: (secs: EpcIndex) => void): Outcome {
    const { process } = this;
    const file = process.mm.enclaveAt(pageOf(address));
    const isInElrange = this.#enclave!.isInElrange(address);
    if (access === 'exec' && !isInElrange) return this.#exception(Vector.GP);
    if (file === undefined && !isInElrange) return this.#accessOutside(address, access, bytes);
    let out: Left<never> | undefined;
    const touched = process.touch(address, access, file === undefined || file === this.#enclave, () => {
      out ??= this.#backInside();
    });
    if (out !== undefined) return { left: out };
    switch (touched.kind) {
      case 'ok':
        perform(file!.secs!);
        return { value: bytes };
      case 'abort-page':
        if (access === 'read') bytes.fill(ONES);
        return { value: bytes };
      case 'unmapped':
        return this.#pageFault(errorCodeOf(access), address);
      case 'fault':
        return this.#pageFault(touched.errorCode, touched.address);
      case 'bus':
        return this.#bus(errorCodeOf(access), address);
    }
  }

  /** Ordinary memory, which enclave code may read and write. */
  #accessOutside(address: number, access: Access, bytes: Uint8Array): Outcome {
    const { memory } = this.process;
    const done = access === 'write' ? memory.write(address, bytes) : memory.read(address, bytes);
    return done === bytes.length ? { value: bytes } : this.#pageFault(errorCodeOf(access), address);
  }

  #enclu(result: LeafResult): Outcome {
    this.process.applyUpdates();
    if (result.kind === 'ok') return { value: 0 };
    if (result.kind === 'code') return { value: result.code };
    const { vector, errorCode, address } = result;
    if (result.bus === true) return this.#bus(errorCode, address);
    return vector === Vector.PF ? this.#pageFault(errorCode, address) : this.#exception(vector);
  }

  #exception(vector: number): Outcome {
    if (this.thread.inside) this.interrupt({ vector });
    this.#running = undefined;
    return { left: { kind: 'exception', vector, errorCode: 0, address: 0 } };
  }

  #pageFault(errorCode: number, address: number): Outcome {
    this.#leaveWith(errorCode, address);
    return { left: { kind: 'exception', vector: Vector.PF, errorCode, address: addressOf(pageOf(address)) } };
  }

  #bus(errorCode: number, address: number): Outcome {
    this.#leaveWith(errorCode, address);
    return { left: { kind: 'bus', errorCode, address: addressOf(pageOf(address)) } };
  }

  #leaveWith(errorCode: number, address: number): void {
    if (this.thread.inside) this.interrupt({ vector: Vector.PF, errorCode, address: addressOf(pageOf(address)) });
    this.#running = undefined;
  }
}

/** The page is in EPC and has contents. */
function isFilled(enclave: EnclaveFile, address: number): boolean {
  const epcPage = enclave.pages.residentPage(pageOf(address));
  return epcPage !== undefined && enclave.kernel.processor.epcm.isFilled(epcPage);
}

const hex = (value: number): string => `0x${value.toString(16)}`;

function inHex(registers: Readonly<Record<string, number>>): Record<string, string> {
  return Object.fromEntries(Object.entries(registers).map(([name, value]) => [name, hex(value)]));
}

const start = (code: EnclaveCode<unknown>): RunningCode => ({ code: code(), next: undefined, result: undefined });

function errorCodeOf(access: Access): number {
  return U | (access === 'write' ? W : 0) | (access === 'exec' ? I : 0);
}
