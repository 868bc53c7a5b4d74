/**
 * EAUG: add a zero page to a running enclave, which has to accept it.
 * Spec: SDM "EAUG - Add a Page to an Initialized Enclave".
 */
import { PageType, SecInfoFlags } from '../../abi/sgx-arch.ts';
import { generalProtection, ok, why, type LeafResult } from '../../lib/outcome.ts';
import { pageOf, type EpcIndex } from '../../lib/units.ts';
import {
  checkEpcPage,
  checkInElrange,
  checkLinAddr,
  checkInitialised,
  checkSecInfoReserved,
  checkSgx2,
  checkType,
  checkUnused,
  flagsOf,
} from '../checks.ts';
import type { Processor } from '../processor.ts';

export interface EaugOperands {
  readonly linAddr: number;
  /** 64 bytes, or undefined for PAGEINFO.SECINFO = 0, which means PT_REG with R and W. PAGEINFO.SRCPGE is 0. */
  readonly secInfo: Uint8Array | undefined;
  readonly secs: EpcIndex;
}

const { R, W, PENDING } = SecInfoFlags.bit;
const REG_RW = (PageType.REG << 8) | R | W;

/**
 * Adds `page` as PENDING; EACCEPT makes it usable. Faults:
 * #PF: an operand is not in the EPC, `page` is in use, the SECS is no valid SECS. #GP: everything else.
 */
export function eaug(cpu: Processor, operands: EaugOperands, page: EpcIndex): LeafResult {
  const { linAddr, secInfo } = operands;
  const refused =
    checkSgx2(cpu) ??
    checkEpcPage(cpu, page, 'the destination') ??
    checkLinAddr(linAddr) ??
    checkEpcPage(cpu, operands.secs, 'PAGEINFO.SECS') ??
    checkUnused(cpu, page) ??
    (secInfo && checkSecInfo(secInfo)) ??
    checkType(cpu, operands.secs, PageType.SECS, 'PAGEINFO.SECS');
  if (refused) return refused;
  const secs = cpu.secs(operands.secs);
  const unsuitable = checkInitialised(secs) ?? checkInElrange(secs, linAddr);
  if (unsuitable) return unsuitable;

  // Model: no contents yet, see Epcm.isFilled.
  cpu.epcm.add(page, REG_RW | PENDING, operands.secs, pageOf(linAddr));
  secs.children++;
  return ok();
}

/** Without shadow stacks the only page that can be asked for is the default one. */
function checkSecInfo(secInfo: Uint8Array) {
  const flags = flagsOf(secInfo);
  return (
    checkSecInfoReserved(secInfo) ??
    (flags === REG_RW
      ? undefined
      : generalProtection(
          why('SECINFO asks for PT_REG with R and W', SecInfoFlags.format(REG_RW), SecInfoFlags.format(flags)),
        ))
  );
}
