/**
 * The C library, called through koffi: the only file of the project that imports it. Buffers go in as `void *`,
 * addresses and offsets as `int64` numbers (both are below 2^53), structures never: our own layouts are faster.
 */
import koffi from 'koffi';
import { errnoName } from '../../lib/errno.ts';

/** A system call of the host's own that failed: a fault of the surroundings or a bug, never an answer to a program. */
export class HostError extends Error {
  override name = 'HostError';
  readonly syscall: string;
  readonly errno: number;

  constructor(syscall: string, errno: number) {
    super(`${syscall}: ${errnoName(errno)}`);
    this.syscall = syscall;
    this.errno = errno;
  }
}

export type Argument = number | bigint | string | Uint8Array | null;

/** null means the running program, which has the C library in it, glibc or musl alike. */
const libc = koffi.load(null);

/** A function of the C library as declared; -1 means that `lastErrno` has the reason. */
export function declare(prototype: string): (...args: Argument[]) => number {
  return libc.func(prototype) as (...args: Argument[]) => number;
}

/** The same, but a failure throws a HostError. */
export function declareChecked(prototype: string): (...args: Argument[]) => number {
  const call = declare(prototype);
  const name = /(\w+)\(/.exec(prototype)?.[1] ?? prototype;
  return (...args) => {
    const result = call(...args);
    if (result === -1) throw new HostError(name, koffi.errno());
    return result;
  };
}

/** errno of the last call that returned -1. */
export const lastErrno = (): number => koffi.errno();

/** Bytes at an address. The memory must stay mapped for as long as the process lives: nothing detaches the buffer. */
export function viewMemory(address: number, lengthBytes: number): ArrayBuffer {
  return koffi.view(BigInt(address), lengthBytes);
}
