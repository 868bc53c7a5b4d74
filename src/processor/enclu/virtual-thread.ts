/**
 * A thread that executes nowhere: registers that the entry and exit leaves work on. Real threads have a stub instead.
 */
import type { EpcIndex } from '../../lib/units.ts';
import type { ThreadTracker } from '../ports.ts';
import { initialArea } from '../xsave.ts';

/** 64-bit values, unsigned. */
export interface Registers {
  rax: bigint;
  rbx: bigint;
  rcx: bigint;
  rdx: bigint;
  rsi: bigint;
  rdi: bigint;
  rbp: bigint;
  rsp: bigint;
  r8: bigint;
  r9: bigint;
  r10: bigint;
  r11: bigint;
  r12: bigint;
  r13: bigint;
  r14: bigint;
  r15: bigint;
  rip: bigint;
  rflags: bigint;
  fsBase: bigint;
  gsBase: bigint;
}

/** What the processor remembers of a thread while it is inside an enclave. */
export interface InsideState {
  readonly secs: EpcIndex;
  readonly tcsAddress: number;
  readonly aep: bigint;
  /** SECS epoch at entry. */
  readonly epoch: number;
  /** TCS.FLAGS.DBGOPTIN at entry. */
  readonly debugOptIn: boolean;
  /** What EEXIT and AEX bring back. */
  readonly outside: { readonly fsBase: bigint; readonly gsBase: bigint; readonly trapFlag: bigint };
}

export interface VirtualThread {
  readonly registers: Registers;
  /** XSAVE area in standard format, as large as XCR0 needs. */
  xsave: Uint8Array;
  inside: InsideState | undefined;
}

const XSAVE_AREA_BYTES = 11008; // with every component there is
const RFLAGS_FIXED = 0x202n; // IF and the bit that is always 1

export function createVirtualThread(initial: Partial<Registers> = {}): VirtualThread {
  const registers: Registers = {
    rax: 0n,
    rbx: 0n,
    rcx: 0n,
    rdx: 0n,
    rsi: 0n,
    rdi: 0n,
    rbp: 0n,
    rsp: 0n,
    r8: 0n,
    r9: 0n,
    r10: 0n,
    r11: 0n,
    r12: 0n,
    r13: 0n,
    r14: 0n,
    r15: 0n,
    rip: 0n,
    rflags: RFLAGS_FIXED,
    fsBase: 0n,
    gsBase: 0n,
    ...initial,
  };
  return { registers, xsave: initialArea(XSAVE_AREA_BYTES, 0x37f, 0, 0x1f80), inside: undefined };
}

/** All threads of a machine without real ones, and the answers that tracking needs of them. */
export class VirtualThreads implements ThreadTracker {
  readonly #threads = new Set<VirtualThread>();

  create(initial: Partial<Registers> = {}): VirtualThread {
    const thread = createVirtualThread(initial);
    this.#threads.add(thread);
    return thread;
  }

  end(thread: VirtualThread): void {
    this.#threads.delete(thread);
  }

  enteredBefore(secs: EpcIndex, epoch: number): number {
    return this.#count(({ inside }) => inside?.secs === secs && inside.epoch < epoch);
  }

  inside(secs: EpcIndex): number {
    return this.#count(({ inside }) => inside?.secs === secs);
  }

  #count(matches: (thread: VirtualThread) => boolean): number {
    let count = 0;
    for (const thread of this.#threads) if (matches(thread)) count++;
    return count;
  }
}
