/**
 * EDBGWR: what a debugger writes to a debug enclave, 8 bytes at a time.
 * Spec: SDM "EDBGWR - Write to a Debug Enclave".
 */
import { PageType, Tcs, type PageType as Type } from '../../abi/sgx-arch.ts';
import { writeU64 } from '../../lib/bytes.ts';
import { generalProtection, ok, why, type Fault, type LeafResult } from '../../lib/outcome.ts';
import type { EpcIndex } from '../../lib/units.ts';
import { checkEpcPage } from '../checks.ts';
import type { Processor } from '../processor.ts';
import { checkAccepted, checkDebugEnclave, checkDebugType, checkQuadword } from './edbgrd.ts';

const WRITABLE: readonly Type[] = [PageType.REG, PageType.TCS];

/**
 * Writes `value` (RBX) to `offset` of `page`, whatever the EPCM's R, W and X say; of a TCS only FLAGS.
 *
 * #GP: alignment, another field of a TCS, not a debug enclave. #PF: not in the EPC, not valid, no PT_REG or PT_TCS.
 * SGX_PAGE_NOT_DEBUGGABLE: the page is PENDING or MODIFIED.
 */
export function edbgwr(cpu: Processor, page: EpcIndex, offset: number, value: bigint): LeafResult {
  const refused =
    checkQuadword(offset) ??
    checkEpcPage(cpu, page, 'RCX') ??
    checkDebugType(cpu, page, WRITABLE) ??
    checkAccepted(cpu, page) ??
    checkTcsFlags(cpu, page, offset) ??
    checkDebugEnclave(cpu, page);
  if (refused) return refused;
  const bytes = new Uint8Array(8);
  writeU64(bytes, 0, value);
  cpu.contents.write(cpu.epcm.secsOf(page), cpu.epcm.page(page), offset, bytes);
  return ok();
}

function checkTcsFlags(cpu: Processor, page: EpcIndex, offset: number): Fault | undefined {
  if (cpu.epcm.type(page) !== PageType.TCS || offset === Tcs.offsetOf('flags')) return undefined;
  return generalProtection(why('RCX is the FLAGS of the TCS', `offset ${Tcs.offsetOf('flags')}`, `offset ${offset}`));
}
