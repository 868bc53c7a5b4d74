/**
 * EMODT: change a page's type to PT_TCS or PT_TRIM; the enclave confirms with EACCEPT.
 * Spec: SDM "EMODT - Change the Type of an EPC Page".
 */
import { PageType, pageTypeName, SecInfoFlags } from '../../abi/sgx-arch.ts';
import { generalProtection, ok, why, type Fault, type LeafResult } from '../../lib/outcome.ts';
import type { EpcIndex } from '../../lib/units.ts';
import {
  checkEpcPage,
  checkInitialised,
  checkModifiable,
  checkSecInfoReserved,
  checkSgx2,
  checkValid,
  describeEntry,
  epcmFault,
  flagsOf,
  typeOf,
} from '../checks.ts';
import type { Processor } from '../processor.ts';

/**
 * Gives the page the type of `secInfo` (64 bytes), no rights, and MODIFIED.
 * #GP: reserved bits, a type other than PT_TCS and PT_TRIM, the enclave is not initialized.
 * #PF: not in the EPC, not valid, neither PT_REG nor PT_TCS becoming PT_TRIM.
 * SGX_PAGE_NOT_MODIFIABLE: PENDING or MODIFIED.
 */
export function emodt(cpu: Processor, secInfo: Uint8Array, page: EpcIndex): LeafResult {
  const type = typeOf(flagsOf(secInfo));
  const refused =
    checkSgx2(cpu) ??
    checkEpcPage(cpu, page, 'RCX') ??
    checkSecInfoReserved(secInfo) ??
    checkNewType(type) ??
    checkValid(cpu, page) ??
    checkOldType(cpu, page, type) ??
    checkModifiable(cpu, page);
  if (refused) return refused;
  const { epcm } = cpu;
  const secs = cpu.secs(epcm.secsOf(page));
  const notInitialised = checkInitialised(secs);
  if (notInitialised) return notInitialised;

  if (type === PageType.TRIM) cpu.contents.drop(secs.index, epcm.page(page));
  epcm.setSecInfoFlags(page, (type << 8) | SecInfoFlags.bit.MODIFIED);
  epcm.setTrackEpoch(page, secs.epoch + 1);
  return ok();
}

function checkNewType(type: number): Fault | undefined {
  if (type === PageType.TCS || type === PageType.TRIM) return undefined;
  return generalProtection(why('SECINFO.FLAGS.PT is PT_TCS or PT_TRIM', 'PT_TCS or PT_TRIM', pageTypeName(type)));
}

function checkOldType(cpu: Processor, page: EpcIndex, newType: number): Fault | undefined {
  const oldType = cpu.epcm.type(page);
  if (oldType === PageType.REG || (oldType === PageType.TCS && newType === PageType.TRIM)) return undefined;
  return epcmFault(
    cpu,
    why(
      'EPCM.PT is PT_REG, or PT_TCS when it becomes PT_TRIM',
      'PT_REG',
      `${describeEntry(cpu, page)}, to become ${pageTypeName(newType)}`,
    ),
  );
}
