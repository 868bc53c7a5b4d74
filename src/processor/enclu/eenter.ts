/**
 * EENTER: enter an enclave through a TCS.
 * Spec: SDM "EENTER - Enters an Enclave".
 */
import { Enclu, Gprsgx, TcsFlags, TcsState } from '../../abi/sgx-arch.ts';
import { Rflags } from '../../abi/x86.ts';
import { generalProtection, ok, why, type Fault, type LeafResult } from '../../lib/outcome.ts';
import type { Processor } from '../processor.ts';
import type { EnclaveAccess } from './access.ts';
import { checkEnter, gprsgxAddress, offsetAddress, type TcsParameters } from './check-enter.ts';
import { readEnclave, updateTcs, writeEnclave } from './enclave-memory.ts';
import type { VirtualThread } from './virtual-thread.ts';

/** Bytes of ENCLU, 0f 01 d7. */
const ENCLU_BYTES = 3n;

/**
 * Takes the thread to OENTRY. RAX gets CSSA, RCX the address after the ENCLU; RSP and RBP are kept for an AEX.
 * Faults as `checkEnter`, and #GP inside an enclave; the thread and the TCS are then unchanged.
 * @param tcsAddress RBX
 * @param aep RCX
 */
export function eenter(
  cpu: Processor,
  access: EnclaveAccess,
  thread: VirtualThread,
  tcsAddress: number,
  aep: bigint,
): LeafResult {
  const inside = checkOutside(thread);
  if (inside) return inside;
  const entry = checkEnter(cpu, access, tcsAddress, aep, Enclu.EENTER, { checkState: true });
  if (entry.kind !== 'ok') return entry;
  enterAtStart(cpu, access, thread, tcsAddress, aep, entry.value);
  return ok();
}

/** To OENTRY, with frame CSSA for the next exit; ERESUME does it, too, to tell of an exit. */
export function enterAtStart(
  cpu: Processor,
  access: EnclaveAccess,
  thread: VirtualThread,
  tcsAddress: number,
  aep: bigint,
  tcs: TcsParameters,
): void {
  const { registers } = thread;
  const gprAddress = gprsgxAddress(tcs, tcs.cssa);
  const gpr = readEnclave(cpu, access.secs, gprAddress, Gprsgx.sizeBytes);
  const frame = Gprsgx.view(gpr);
  frame.ursp = registers.rsp;
  frame.urbp = registers.rbp;
  writeEnclave(cpu, access.secs, gprAddress, gpr);
  updateTcs(cpu, access.secs, tcsAddress, { state: TcsState.ACTIVE, aep });

  goInside(cpu, access, thread, tcsAddress, aep, tcs);
  registers.rax = BigInt(tcs.cssa);
  registers.rcx = BigInt.asUintN(64, registers.rip + ENCLU_BYTES);
  registers.rip = offsetAddress(tcs, tcs.oentry);
  registers.fsBase = offsetAddress(tcs, tcs.ofsBase);
  registers.gsBase = offsetAddress(tcs, tcs.ogsBase);
}

/** ENCLU inside an enclave refuses EENTER and ERESUME. */
export function checkOutside(thread: VirtualThread): Fault | undefined {
  if (thread.inside === undefined) return undefined;
  return generalProtection(why('the thread is outside of enclaves', 'CR_ENCLAVE_MODE 0', 'a thread inside an enclave'));
}

/** What EENTER and ERESUME both keep for the way out; clears TF on an opt-out entry. */
export function goInside(
  cpu: Processor,
  access: EnclaveAccess,
  thread: VirtualThread,
  tcsAddress: number,
  aep: bigint,
  tcs: TcsParameters,
): void {
  const { registers } = thread;
  const { TF } = Rflags.mask;
  const debugOptIn = (tcs.flags & TcsFlags.mask.DBGOPTIN) !== 0n;
  thread.inside = {
    secs: access.secs,
    tcsAddress,
    aep,
    epoch: cpu.secs(access.secs).epoch,
    debugOptIn,
    outside: { fsBase: registers.fsBase, gsBase: registers.gsBase, trapFlag: registers.rflags & TF },
  };
  if (!debugOptIn) registers.rflags &= ~TF;
}
