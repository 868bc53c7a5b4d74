/**
 * The three kinds of outcome, never mixed: an architectural fault, an SGX code, an errno. They are returned;
 * only our own bugs and host failures throw. Each carries a `Why` so that a person can see which check refused.
 */

/** The check that refused: its condition, what it wanted, what it met, and (optionally) what to do about it. */
export interface Why {
  /** The condition in the words of the SDM or the kernel, e.g. "SECINFO.FLAGS.PT is PT_REG or PT_TCS". */
  readonly check: string;
  readonly expected: string;
  readonly found: string;
  readonly advice?: string;
}

export interface Ok<T> {
  readonly kind: 'ok';
  readonly value: T;
}

/** An exception raised by the processor. `errorCode` and `address` only have meaning for #PF; #GP has error code 0. */
export interface Fault {
  readonly kind: 'fault';
  readonly vector: 6 | 13 | 14;
  readonly errorCode: number;
  /** Page-aligned linear address of a #PF, else 0. */
  readonly address: number;
  readonly why: Why;
  /** The kernel cannot mend this #PF: where it becomes a signal, that is SIGBUS, not SIGSEGV. */
  readonly bus?: true;
}

/** A leaf that completed with an SGX error code in RAX. */
export interface Code {
  readonly kind: 'code';
  readonly code: number;
  readonly why: Why;
}

/** A kernel error. `errno` is positive. */
export interface Failure {
  readonly kind: 'errno';
  readonly errno: number;
  readonly why: Why;
}

export type LeafResult<T = void> = Ok<T> | Fault | Code;
export type KernelResult<T = void> = Ok<T> | Failure;

const done: Ok<void> = { kind: 'ok', value: undefined };

export function ok(): Ok<void>;
export function ok<T>(value: T): Ok<T>;
export function ok<T>(value?: T): Ok<T | undefined> | Ok<void> {
  return value === undefined ? done : { kind: 'ok', value };
}

export function why(check: string, expected: string, found: string, advice?: string): Why {
  return advice === undefined ? { check, expected, found } : { check, expected, found, advice };
}

export function generalProtection(reason: Why): Fault {
  return { kind: 'fault', vector: 13, errorCode: 0, address: 0, why: reason };
}

/** A #PF on the page of `address` (low 12 bits dropped, as in enclave mode) with the hardware's error-code bits. */
export function pageFault(address: number, errorCode: number, reason: Why): Fault {
  return { kind: 'fault', vector: 14, errorCode, address: address - (address % 4096), why: reason };
}

export function sgxCode(code: number, reason: Why): Code {
  return { kind: 'code', code, why: reason };
}

export function fail(errno: number, reason: Why): Failure {
  return { kind: 'errno', errno, why: reason };
}

/** A broken assumption of our own: never an answer to the program. */
export class InvariantError extends Error {
  override name = 'InvariantError';
}
