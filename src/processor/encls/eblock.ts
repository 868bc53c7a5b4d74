/**
 * EBLOCK: forbid new translations of a page, before it is evicted.
 * Spec: SDM "EBLOCK - Mark a page in EPC as Blocked".
 */
import { PageType, SgxCode } from '../../abi/sgx-arch.ts';
import { ok, sgxCode, why, type LeafResult } from '../../lib/outcome.ts';
import type { EpcIndex } from '../../lib/units.ts';
import { checkEpcPage, describeEntry } from '../checks.ts';
import type { Processor } from '../processor.ts';

/**
 * #PF: `page` is not in the EPC. SGX_PG_INVLD: not valid. SGX_PG_IS_SECS, SGX_NOTBLOCKABLE (VA): no page of an enclave.
 * SGX_BLKSTATE: blocked already.
 */
export function eblock(cpu: Processor, page: EpcIndex): LeafResult {
  const refused = checkEpcPage(cpu, page, 'RCX');
  if (refused) return refused;
  const { epcm } = cpu;
  const refuse = (code: number, check: string, expected: string) =>
    sgxCode(code, why(check, expected, describeEntry(cpu, page)));
  if (!epcm.valid(page)) return refuse(SgxCode.SGX_PG_INVLD, 'EPCM.VALID is 1', 'a valid page');
  if (!epcm.isChild(page)) {
    const code = epcm.type(page) === PageType.SECS ? SgxCode.SGX_PG_IS_SECS : SgxCode.SGX_NOTBLOCKABLE;
    return refuse(code, 'EPCM.PT is PT_REG, PT_TCS or PT_TRIM', 'a page of an enclave');
  }
  if (epcm.blocked(page)) return refuse(SgxCode.SGX_BLKSTATE, 'EPCM.BLOCKED is 0', 'a page not yet blocked');
  epcm.block(page);
  epcm.setTrackEpoch(page, cpu.secs(epcm.secsOf(page)).epoch + 1);
  return ok();
}
