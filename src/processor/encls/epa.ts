/**
 * EPA: make an EPC page a version array.
 * Spec: SDM "EPA - Add Version Array".
 */
import { PageType } from '../../abi/sgx-arch.ts';
import { ok, type LeafResult } from '../../lib/outcome.ts';
import { linPage, type EpcIndex } from '../../lib/units.ts';
import { checkEpcPage, checkUnused } from '../checks.ts';
import type { Processor } from '../processor.ts';

/**
 * Makes `page` a PT_VA page with 512 empty slots. RBX (which must be PT_VA) is not an operand here.
 * #PF: `page` is not in the EPC or in use.
 */
export function epa(cpu: Processor, page: EpcIndex): LeafResult {
  const refused = checkEpcPage(cpu, page, 'RCX') ?? checkUnused(cpu, page);
  if (refused) return refused;
  cpu.versionArrays.set(page, 'empty');
  cpu.epcm.add(page, PageType.VA << 8, page, linPage(0));
  return ok();
}
