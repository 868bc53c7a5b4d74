/**
 * EDECCSSA: the enclave itself goes back to the SSA frame below, as ERESUME would, but without resuming.
 * Spec: SDM "EDECCSSA - Decrements TCS.CSSA".
 */
import { Tcs } from '../../abi/sgx-arch.ts';
import { writeU32 } from '../../lib/bytes.ts';
import { generalProtection, ok, why, type Fault, type LeafResult } from '../../lib/outcome.ts';
import { PAGE_SIZE_BYTES, pageOf } from '../../lib/units.ts';
import type { Processor } from '../processor.ts';
import { checkAligned, resolve, type EnclaveAccess } from './access.ts';
import { checkFrame, checkTcsPage, readTcs } from './check-enter.ts';

/**
 * @param tcsAddress of the TCS through which the thread is inside
 *
 * #GP: TCS.CSSA is 0. #PF: a page of the frame that becomes the current one is not present or not usable.
 */
export function edeccssa(cpu: Processor, access: EnclaveAccess, tcsAddress: number): LeafResult {
  const unknown = checkLeaf(cpu) ?? checkAligned(tcsAddress, PAGE_SIZE_BYTES, 'the TCS');
  if (unknown) return unknown;
  const page = resolve(access, tcsAddress, 'the TCS');
  if (page.kind !== 'ok') return page;
  const notTcs = checkTcsPage(cpu, access, page.value, tcsAddress);
  if (notTcs) return notTcs;
  const { parameters } = readTcs(cpu, access, tcsAddress);
  const { cssa } = parameters;
  if (cssa === 0) {
    return generalProtection(why('TCS.CSSA is not 0', 'an interrupted entry below this one', '0'));
  }
  const unusable = checkFrame(cpu, access, parameters, cssa - 1);
  if (unusable) return unusable;

  // Nothing else of the TCS is written: another thread may be trying to take it at this moment.
  const bytes = new Uint8Array(4);
  writeU32(bytes, 0, cssa - 1);
  cpu.contents.write(access.secs, pageOf(tcsAddress), Tcs.offsetOf('cssa'), bytes);
  return ok();
}

function checkLeaf(cpu: Processor): Fault | undefined {
  if (cpu.profile.aexNotify) return undefined;
  return generalProtection(
    why('the leaf is supported', 'a processor with CPUID.12H.0:EAX.EDECCSSA[11]', cpu.profile.name),
  );
}
