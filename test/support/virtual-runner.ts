/**
 * Threads of virtual processes. Enclave code is a generator of what it does to memory, so that an instruction that
 * faulted can be run again after ERESUME, as on hardware.
 */
import { Enclu } from '../../src/abi/sgx-arch.ts';
import { addressOf, PAGE_SIZE_BYTES, pageOf } from '../../src/lib/units.ts';
import type { Fault, LeafResult } from '../../src/lib/outcome.ts';
import { runLeaf } from '../../src/kernel/leaves.ts';
import { aex, type ExceptionEvent } from '../../src/processor/enclu/aex.ts';
import { eenter } from '../../src/processor/enclu/eenter.ts';
import { eexit } from '../../src/processor/enclu/eexit.ts';
import { eresume } from '../../src/processor/enclu/eresume.ts';
import type { EncluOperands } from '../../src/processor/enclu/enclu.ts';
import type { VirtualThread } from '../../src/processor/enclu/virtual-thread.ts';
import type { VirtualProcess } from './virtual-process.ts';

/** One instruction of enclave code. */
export type Instruction =
  | { readonly op: 'read'; readonly address: number; readonly lengthBytes: number }
  | { readonly op: 'write'; readonly address: number; readonly bytes: Uint8Array }
  | { readonly op: 'exec'; readonly address: number }
  | { readonly op: 'enclu'; readonly leaf: number; readonly operands: EncluOperands };

/** What `run` and `resume` come back with. */
export type Left<T> =
  | { readonly kind: 'exit'; readonly value: T }
  /** AEX: the enclave can be resumed. */
  | { readonly kind: 'exception'; readonly vector: number; readonly errorCode: number; readonly address: number }
  | { readonly kind: 'bus' }
  /** EENTER or ERESUME itself faulted. */
  | { readonly kind: 'not-entered'; readonly fault: Fault };

/** What an instruction gives depends on the instruction. */
type Code<T> = Generator<Instruction, T>;

export const AEP = 0x5000_0010n;

export function* read(address: number, lengthBytes: number): Code<Uint8Array> {
  return (yield { op: 'read', address, lengthBytes }) as Uint8Array;
}

export function* write(address: number, bytes: Uint8Array): Code<void> {
  yield { op: 'write', address, bytes };
}

export function* exec(address: number): Code<void> {
  yield { op: 'exec', address };
}

/** The SGX code, 0 for success. */
export function* enclu(leaf: number, rbx = 0, rcx = 0, rdx = 0): Code<number> {
  return (yield { op: 'enclu', leaf, operands: { rbx, rcx, rdx } }) as number;
}

export const eaccept = (secInfo: number, page: number): Code<number> => enclu(Enclu.EACCEPT, secInfo, page);
export const emodpe = (secInfo: number, page: number): Code<number> => enclu(Enclu.EMODPE, secInfo, page);

export class VirtualThreadRunner {
  readonly process: VirtualProcess;
  readonly thread: VirtualThread;
  #code: Code<unknown> | undefined;
  #next: Instruction | undefined;
  #tcsAddress = 0;

  constructor(process: VirtualProcess) {
    this.process = process;
    this.thread = process.machine.threads.create();
  }

  /** Of the enclave that it is inside. */
  get enclaveId(): number | undefined {
    const { inside } = this.thread;
    return inside && this.process.machine.kernel.enclaveOfSecs(inside.secs)?.id;
  }

  /** EENTER, the code, EEXIT. */
  run<T>(tcsAddress: number, code: () => Code<T>): Left<T> {
    const entered = this.enter(tcsAddress);
    if (entered.kind !== 'ok') return { kind: 'not-entered', fault: entered as Fault };
    this.#code = code();
    return this.#continue(undefined) as Left<T>;
  }

  /** ERESUME: the instruction that faulted is run again. */
  resume(): Left<unknown> {
    const resumed = this.#resumeEnclave();
    if (resumed.kind !== 'ok') return { kind: 'not-entered', fault: resumed as Fault };
    return this.#perform();
  }

  enter(tcsAddress: number): LeafResult {
    this.#tcsAddress = tcsAddress;
    return this.#leaf(eenter);
  }

  exit(): void {
    eexit(this.process.machine.machine.processor, this.thread, 0x40_0000n);
  }

  /** AEX, as for an interrupt. */
  interrupt(event?: ExceptionEvent): void {
    aex(this.process.machine.machine.processor, this.thread, event);
  }

  /** The thread is gone, wherever it was. */
  end(): void {
    this.thread.inside = undefined;
    this.process.machine.threads.end(this.thread);
  }

  #leaf(leaf: typeof eenter | typeof eresume): LeafResult {
    this.process.applyUpdates();
    const { mm, machine } = this.process;
    const file = mm.enclaveAt(pageOf(this.#tcsAddress));
    if (file === undefined) throw new Error('no enclave at the TCS address');
    return runLeaf(mm, file, (access) => leaf(machine.machine.processor, access, this.thread, this.#tcsAddress, AEP));
  }

  #resumeEnclave(): LeafResult {
    return this.#leaf(eresume);
  }

  #continue(value: unknown): Left<unknown> {
    for (let result = value; ;) {
      const step = this.#code!.next(result);
      if (step.done === true) {
        this.#inside();
        this.exit();
        return { kind: 'exit', value: step.value };
      }
      this.#next = step.value;
      const outcome = this.#try(step.value);
      if ('left' in outcome) return outcome.left;
      result = outcome.value;
    }
  }

  #perform(): Left<unknown> {
    const outcome = this.#try(this.#next!);
    return 'left' in outcome ? outcome.left : this.#continue(outcome.value);
  }

  /** A kick or a fault took the thread out: ERESUME, which nobody notices. */
  #inside(): void {
    if (this.thread.inside !== undefined) return;
    const resumed = this.#resumeEnclave();
    if (resumed.kind !== 'ok') throw new Error(`ERESUME: ${resumed.why.check}, found ${resumed.why.found}`);
  }

  #try(instruction: Instruction): { value: unknown } | { left: Left<unknown> } {
    this.#inside();
    switch (instruction.op) {
      case 'read': {
        const { address, lengthBytes } = instruction;
        return this.#access(address, 'read', (secs) => {
          const bytes = new Uint8Array(lengthBytes);
          this.process.machine.contents.read(secs, pageOf(address), address % PAGE_SIZE_BYTES, bytes);
          return bytes;
        });
      }
      case 'write': {
        const { address, bytes } = instruction;
        return this.#access(address, 'write', (secs) => {
          this.process.machine.contents.write(secs, pageOf(address), address % PAGE_SIZE_BYTES, bytes);
        });
      }
      case 'exec':
        return this.#access(instruction.address, 'exec', () => undefined);
      case 'enclu': {
        const enclave = this.process.machine.kernel.enclave(this.enclaveId!)!;
        const inside = { enclave, tcsAddress: this.#tcsAddress };
        return this.#enclu(this.process.mm.enclu(inside, instruction.leaf, instruction.operands));
      }
    }
  }

  #access(
    address: number,
    access: 'read' | 'write' | 'exec',
    perform: (secs: NonNullable<VirtualThread['inside']>['secs']) => unknown,
  ): { value: unknown } | { left: Left<unknown> } {
    const touched = this.process.touch(address, access, true, () => this.#inside());
    if (touched.kind === 'ok') {
      return { value: perform(this.process.mm.enclaveAt(pageOf(address))!.secs!) };
    }
    if (touched.kind === 'unmapped') return { left: this.#exception(4, addressOf(pageOf(address))) };
    if (touched.kind === 'fault') return { left: this.#exception(touched.errorCode, touched.address) };
    this.#leaveWith(4, addressOf(pageOf(address)));
    return { left: { kind: 'bus' } };
  }

  #enclu(result: LeafResult): { value: number } | { left: Left<unknown> } {
    this.process.applyUpdates();
    if (result.kind === 'ok') return { value: 0 };
    if (result.kind === 'code') return { value: result.code };
    if (result.bus === true) {
      this.#leaveWith(result.errorCode, result.address);
      return { left: { kind: 'bus' } };
    }
    if (result.vector === 14) return { left: this.#exception(result.errorCode, result.address) };
    if (this.thread.inside) this.interrupt({ vector: result.vector });
    return { left: { kind: 'exception', vector: result.vector, errorCode: 0, address: 0 } };
  }

  #exception(errorCode: number, address: number): Left<unknown> {
    this.#leaveWith(errorCode, address);
    return { kind: 'exception', vector: 14, errorCode, address };
  }

  #leaveWith(errorCode: number, address: number): void {
    if (this.thread.inside) this.interrupt({ vector: 14, errorCode, address });
  }
}
