/**
 * EMODPR: take rights from a page; the enclave confirms with EACCEPT.
 * Spec: SDM "EMODPR - Restrict the Permissions of an EPC Page".
 */
import { PageType, SecInfoFlags } from '../../abi/sgx-arch.ts';
import { ok, type LeafResult } from '../../lib/outcome.ts';
import type { EpcIndex } from '../../lib/units.ts';
import {
  checkEpcPage,
  checkInitialised,
  checkModifiable,
  checkPermissions,
  checkSecInfoReserved,
  checkSgx2,
  checkType,
  checkValid,
  flagsOf,
} from '../checks.ts';
import { RWX } from '../epcm.ts';
import type { Processor } from '../processor.ts';

/**
 * Leaves the page only those of its rights that `secInfo` (64 bytes) names, and sets PR.
 * #GP: reserved bits, W without R, the enclave is not initialized.
 * #PF: not in the EPC, not valid, not PT_REG. SGX_PAGE_NOT_MODIFIABLE: PENDING or MODIFIED (looked at before PT).
 */
export function emodpr(cpu: Processor, secInfo: Uint8Array, page: EpcIndex): LeafResult {
  const flags = flagsOf(secInfo);
  const refused =
    checkSgx2(cpu) ??
    checkEpcPage(cpu, page, 'RCX') ??
    checkSecInfoReserved(secInfo) ??
    checkPermissions(flags) ??
    checkValid(cpu, page) ??
    checkModifiable(cpu, page) ??
    checkType(cpu, page, PageType.REG, 'RCX');
  if (refused) return refused;
  const { epcm } = cpu;
  const secs = cpu.secs(epcm.secsOf(page));
  const notInitialised = checkInitialised(secs);
  if (notInitialised) return notInitialised;

  const kept = epcm.secInfoFlags(page) & (flags | ~RWX);
  epcm.setSecInfoFlags(page, kept | SecInfoFlags.bit.PR);
  epcm.setTrackEpoch(page, secs.epoch + 1);
  return ok();
}
