/**
 * What the kernel model needs from whoever runs it: real processes behind `attach`, virtual ones in tests.
 */
import type { UserAddr } from '../lib/units.ts';

/** A process's memory as copy_from_user and copy_to_user see it. */
export interface UserMemory {
  /** Copies `into.length` bytes from `address`. Returns how many bytes could be copied (short = EFAULT after that). */
  read(address: UserAddr, into: Uint8Array): number;
  /** Copies `bytes` to `address`. Returns how many bytes could be copied. */
  write(address: UserAddr, bytes: Uint8Array): number;
}

/** The caller of an operation. */
export interface ProcessPort {
  readonly pid: number;
  /** The calling thread, for the trace. */
  readonly tid?: number;
  readonly memory: UserMemory;
  /** True when a signal is pending that the calling thread would take; asked between slices of a long operation. */
  signalPending(): boolean;
  /** find_vma(address): may the pages there be mapped executable (VM_MAYEXEC)? undefined = no mapping at or above. */
  mayExec(address: UserAddr): boolean | undefined;
  /** READ_IMPLIES_EXEC personality. */
  readImpliesExec(): boolean;
  /** Whether one of its threads may be executing inside the enclave right now. */
  hasThreadInside(enclaveId: number): boolean;
  /** Makes every thread inside come to the host before it goes on (revocation in other processes). */
  kick(enclaveId: number): void;
  /** The process has ended and is asked nothing more. */
  exited(): void;
}

/** Protection that a process must apply to its own mapping: [startPage, endPage) gets `prot` (PROT_* bits). */
export interface ProtectionRun {
  readonly startPage: number;
  readonly endPage: number;
  readonly prot: number;
}

/** Milliseconds since an arbitrary start; injected so that nothing below `attach` reads a clock. */
export type Clock = () => number;
