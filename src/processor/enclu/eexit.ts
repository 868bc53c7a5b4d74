/**
 * EEXIT: leave the enclave on its own terms.
 * Spec: SDM "EEXIT - Exits an Enclave".
 */
import { TcsState } from '../../abi/sgx-arch.ts';
import { Rflags } from '../../abi/x86.ts';
import { generalProtection, ok, why, type LeafResult } from '../../lib/outcome.ts';
import { isCanonical } from '../canonical.ts';
import { hex } from '../checks.ts';
import type { Processor } from '../processor.ts';
import { updateTcs } from './enclave-memory.ts';
import type { InsideState, VirtualThread } from './virtual-thread.ts';

/**
 * Takes the thread to `target` (RBX), which may be anywhere; RCX gets the AEP. All other registers stay as the enclave
 * left them. #GP: outside of enclaves, or the target is not canonical.
 */
export function eexit(cpu: Processor, thread: VirtualThread, target: bigint): LeafResult {
  const { inside, registers } = thread;
  if (inside === undefined) {
    return generalProtection(why('the thread is inside an enclave', 'CR_ENCLAVE_MODE 1', 'a thread outside'));
  }
  if (!isCanonical(target)) {
    return generalProtection(why('RBX is canonical', 'a canonical address', hex(target)));
  }
  registers.rip = target;
  registers.rcx = inside.aep;
  leave(cpu, thread, inside, {});
  return ok();
}

/** What EEXIT and AEX both bring back; the TCS is free again. */
export function leave(
  cpu: Processor,
  thread: VirtualThread,
  inside: InsideState,
  tcsChange: { readonly cssa?: number },
): void {
  const { registers } = thread;
  registers.fsBase = inside.outside.fsBase;
  registers.gsBase = inside.outside.gsBase;
  if (!inside.debugOptIn) registers.rflags = (registers.rflags & ~Rflags.mask.TF) | inside.outside.trapFlag;
  updateTcs(cpu, inside.secs, inside.tcsAddress, { state: TcsState.INACTIVE, ...tcsChange });
  thread.inside = undefined;
}
