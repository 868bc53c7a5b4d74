/** The memory of a real process, with the exact partial counts and EFAULTs of copy_from_user and copy_to_user. */
import type { UserMemory } from '../kernel/ports.ts';
import { USER_ADDRESS_END, type UserAddr } from '../lib/units.ts';
import { readProcess, writeProcess } from './linux/processes.ts';

/** Where enclaves lie in the process: [start, end) in bytes. */
export type EnclaveRanges = () => Iterable<{ readonly start: number; readonly end: number }>;

export class ProcessMemory implements UserMemory {
  readonly #pid: number;
  readonly #enclaveRanges: EnclaveRanges;

  constructor(pid: number, enclaveRanges: EnclaveRanges) {
    this.#pid = pid;
    this.#enclaveRanges = enclaveRanges;
  }

  read(address: UserAddr, into: Uint8Array): number {
    return readProcess(this.#pid, address, into.subarray(0, this.#reachable(address, into.length)));
  }

  write(address: UserAddr, bytes: Uint8Array): number {
    return writeProcess(this.#pid, address, bytes.subarray(0, this.#reachable(address, bytes.length)));
  }

  /**
   * How much of the range is not enclave memory, counted from its start.
   * Model: the kernel would read ones there and lose what it writes; here it is EFAULT, as for the program itself.
   */
  #reachable(address: number, lengthBytes: number): number {
    let end = Math.min(address + lengthBytes, USER_ADDRESS_END);
    for (const range of this.#enclaveRanges()) {
      if (range.start < end && range.end > address) end = Math.max(address, range.start);
    }
    return Math.max(0, end - address);
  }
}
