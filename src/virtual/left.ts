/** What becomes of code that was run in an enclave. */
import { Vector, vectorName } from '../abi/x86.ts';
import type { Fault } from '../lib/outcome.ts';

/** How enclave code is left. */
export type Left<T> =
  | { readonly kind: 'exit'; readonly value: T }
  /** AEX by an exception, which the program is told of: the enclave can be resumed. */
  | { readonly kind: 'exception'; readonly vector: number; readonly errorCode: number; readonly address: number }
  /** AEX by a page fault that the driver refuses to mend, and the program gets SIGBUS. */
  | { readonly kind: 'bus'; readonly errorCode: number; readonly address: number }
  /** EENTER or ERESUME itself faulted. */
  | { readonly kind: 'not-entered'; readonly fault: Fault };

/** `exit 43`, `#PF(0x8005) at 0x7f0000000000`, `SIGBUS`, `not entered: #GP: the check that refused`. */
export function explainLeft(left: Left<unknown>): string {
  switch (left.kind) {
    case 'exit':
      return left.value === undefined ? 'exit' : `exit ${textOf(left.value)}`;
    case 'exception':
      return explainException(left);
    case 'bus':
      return 'SIGBUS';
    case 'not-entered': {
      const { check, expected, found } = left.fault.why;
      return `not entered: ${explainException(left.fault)}: ${check}; expected ${expected}, found ${found}`;
    }
  }
}

function textOf(value: unknown): string {
  return typeof value === 'object' || typeof value === 'function' ? 'with a value' : `${value as string | number}`;
}

function explainException(exception: Pick<Fault, 'errorCode' | 'address'> & { readonly vector: number }): string {
  const { vector, errorCode, address } = exception;
  return vector === Vector.PF ? `#PF(${hex(errorCode)}) at ${hex(address)}` : vectorName(vector);
}

const hex = (value: number): string => `0x${value.toString(16)}`;
