/**
 * What the models tell the world, as data; `text.ts` makes lines of it and `src/cli/trace-file.ts` JSON. The
 * models call `trace.emit` only when `trace.on` is true, so that an untraced run pays one property read.
 */
import { sgxCodeName } from '../abi/sgx-arch.ts';
import { errnoName } from '../lib/errno.ts';
import type { Fault, KernelResult, LeafResult, Why } from '../lib/outcome.ts';
import type { PlainRecord } from '../lib/plain.ts';

/** What an event is about; the text says which names it goes with. */
export const traceKinds = {
  open: 'a device node is opened',
  ioctl: 'an ioctl on a device',
  mmap: 'mmap, mprotect, munmap, mremap or madvise on enclave memory',
  leaf: 'an ENCLU leaf that the processor model answers: EACCEPT, EMODPE, and each entry that is refused',
  fault: 'a touch of an enclave page that did not work at once',
  enter: 'EENTER or ERESUME: a thread is inside now',
  exit: 'EEXIT: a thread is outside again',
  aex: 'an asynchronous exit: an exception, or a signal',
  reclaim: 'enclave pages were evicted',
  inject: 'an outcome that was asked for with --inject took the place of what would have been',
  note: 'a sentence for a person',
} as const;
export type TraceKind = keyof typeof traceKinds;

/** Which of the three kinds of outcome it was, or none of them. */
export const traceOutcomes = {
  ok: 'it was done; `result` is the value returned, or what was done',
  errno: 'the call failed; `result` is the name of the errno',
  code: 'the leaf completed with an SGX code in RAX; `result` is its name',
  fault: 'an exception; `result` is `#GP`, `#PF` or `#UD`, and `fault` has the numbers',
  signal: 'the thread gets this signal',
} as const;
export type TraceOutcome = keyof typeof traceOutcomes;

export interface TraceEvent {
  readonly kind: TraceKind;
  readonly pid: number;
  readonly tid?: number;
  /** e.g. SGX_IOC_ENCLAVE_ADD_PAGES, mmap, EACCEPT, #PF. */
  readonly name: string;
  /** Decoded arguments. Addresses and everything else of 64 bits are `0x` text, flags are names. */
  readonly args?: PlainRecord;
  /** The structures that arguments point to, by their names: SECS, SECINFO. */
  readonly structs?: Readonly<Record<string, PlainRecord>>;
  /** A sentence for a person, in notes; `args` has its numbers. */
  readonly text?: string;
  readonly outcome?: TraceOutcome;
  /** `0`, `EINVAL`, `SGX_NOT_TRACKED`, `#PF`, `SIGBUS`, `mended`. */
  readonly result?: string;
  /** The exception as the program gets it. */
  readonly fault?: { readonly vector: number; readonly errorCode: string; readonly address: string };
  readonly durationUs?: number;
  /** The check that refused, when something was refused. */
  readonly why?: Why;
}

/** The end of an event: what came out, and why when it was refused. */
export type TraceResult = Pick<TraceEvent, 'outcome' | 'result' | 'fault' | 'why'>;

const faultNames: Readonly<Record<Fault['vector'], string>> = { 6: '#UD', 13: '#GP', 14: '#PF' };

export function outcomeOf(result: LeafResult<unknown> | KernelResult<unknown>): TraceResult {
  switch (result.kind) {
    case 'ok':
      return { outcome: 'ok', result: typeof result.value === 'number' ? `${result.value}` : '0' };
    case 'errno':
      return { outcome: 'errno', result: errnoName(result.errno), why: result.why };
    case 'code':
      return { outcome: 'code', result: sgxCodeName(result.code), why: result.why };
    case 'fault': {
      const { vector, errorCode, address, why } = result;
      const fault = { vector, errorCode: hex(errorCode), address: hex(address) };
      return { outcome: 'fault', result: faultNames[vector], fault, why };
    }
  }
}

const hex = (value: number): string => `0x${value.toString(16)}`;

export interface TraceListener {
  /** Must be quick: the machine waits. */
  readonly event: (event: TraceEvent) => void;
  /** Nothing is to be done for the moment, or the trace is over: what was kept back can be written. */
  readonly flush?: () => void;
}

export class Trace {
  /** True while somebody listens. */
  on = false;
  #listeners: TraceListener[] = [];

  listen(listener: TraceListener): void {
    this.#listeners.push(listener);
    this.on = true;
  }

  emit(event: TraceEvent): void {
    for (const listener of this.#listeners) listener.event(event);
  }

  flush(): void {
    for (const { flush } of this.#listeners) flush?.();
  }
}
