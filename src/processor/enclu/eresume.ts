/**
 * ERESUME: go on where an asynchronous exit interrupted the enclave.
 * Spec: SDM "ERESUME - Re-Enters an Enclave".
 */
import { Enclu, Gprsgx, TcsState } from '../../abi/sgx-arch.ts';
import { Rflags } from '../../abi/x86.ts';
import { generalProtection, ok, type LeafResult } from '../../lib/outcome.ts';
import type { Processor } from '../processor.ts';
import { unrestorable } from '../xsave.ts';
import type { EnclaveAccess } from './access.ts';
import { checkEnter, frameAddress, gprsgxAddress } from './check-enter.ts';
import { checkOutside, enterAtStart, goInside } from './eenter.ts';
import { readEnclave, updateTcs } from './enclave-memory.ts';
import type { VirtualThread } from './virtual-thread.ts';

const { CF, PF, AF, ZF, SF, DF, OF, NT, RF, AC } = Rflags.mask;
const ID = 1n << 21n;
const RESTORED_FLAGS = CF | PF | AF | ZF | SF | DF | OF | NT | RF | AC | ID;

/**
 * Restores registers and extended state from frame CSSA-1 and frees the frame. URSP and URBP stay as EENTER set them.
 * With TCS.FLAGS.AEXNOTIFY and GPRSGX.AEXNOTIFY[0] it enters at OENTRY instead, as EENTER would: frame CSSA-1 stays.
 * Faults as `checkEnter`, #GP inside an enclave, #GP for an XSAVE area that XRSTOR refuses; nothing is changed then.
 */
export function eresume(
  cpu: Processor,
  access: EnclaveAccess,
  thread: VirtualThread,
  tcsAddress: number,
  aep: bigint,
): LeafResult {
  const inside = checkOutside(thread);
  if (inside) return inside;
  const entry = checkEnter(cpu, access, tcsAddress, aep, Enclu.ERESUME, { checkState: true });
  if (entry.kind !== 'ok') return entry;
  const tcs = entry.value;
  if (tcs.notify) {
    enterAtStart(cpu, access, thread, tcsAddress, aep, tcs);
    return ok();
  }
  const frame = tcs.cssa - 1;
  const area = readEnclave(cpu, access.secs, frameAddress(tcs, frame), cpu.profile.xsaveSizeBytes(tcs.xfrm));
  const corrupt = unrestorable(area, tcs.xfrm);
  if (corrupt) return generalProtection(corrupt);

  const gpr = Gprsgx.decode(readEnclave(cpu, access.secs, gprsgxAddress(tcs, frame), Gprsgx.sizeBytes));
  goInside(cpu, access, thread, tcsAddress, aep, tcs);
  const { registers } = thread;
  const { rflags, ursp: _ursp, urbp: _urbp, exitInfo: _exitInfo, aexNotify: _aexNotify, ...saved } = gpr;
  Object.assign(registers, saved);
  registers.rflags = (registers.rflags & ~RESTORED_FLAGS) | (rflags & RESTORED_FLAGS);
  thread.xsave.fill(0);
  thread.xsave.set(area);
  updateTcs(cpu, access.secs, tcsAddress, { state: TcsState.ACTIVE, cssa: frame, aep });
  return ok();
}
