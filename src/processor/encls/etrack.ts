/**
 * ETRACK: begin a new epoch, in which nobody can hold translations from before.
 * Spec: SDM "ETRACK - Activates EBLOCK Checks".
 */
import { PageType, SgxCode } from '../../abi/sgx-arch.ts';
import { ok, sgxCode, why, type LeafResult } from '../../lib/outcome.ts';
import type { EpcIndex } from '../../lib/units.ts';
import { checkEpcPage, checkType } from '../checks.ts';
import type { Processor } from '../processor.ts';

/**
 * #PF: `secsIndex` is not in the EPC or no valid SECS.
 * SGX_PREV_TRK_INCMPL: threads that entered before the last ETRACK are still inside.
 */
export function etrack(cpu: Processor, secsIndex: EpcIndex): LeafResult {
  const refused = checkEpcPage(cpu, secsIndex, 'RCX') ?? checkType(cpu, secsIndex, PageType.SECS, 'RCX');
  if (refused) return refused;
  const secs = cpu.secs(secsIndex);
  const late = cpu.threads.enteredBefore(secsIndex, secs.epoch);
  if (late > 0) {
    return sgxCode(
      SgxCode.SGX_PREV_TRK_INCMPL,
      why(
        'all threads that entered before the last ETRACK have left',
        '0 threads',
        `${late}`,
        'interrupt the processors they run on',
      ),
    );
  }
  secs.epoch++;
  return ok();
}
