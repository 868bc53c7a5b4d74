/**
 * EACCEPT: the enclave agrees to a page that the kernel added or changed.
 * Spec: SDM "EACCEPT - Accept Changes to an EPC Page".
 */
import { PageType, SecInfoFlags, SgxCode, Tcs, TcsFlags } from '../../abi/sgx-arch.ts';
import { generalProtection, ok, sgxCode, why, type Code, type Fault, type LeafResult } from '../../lib/outcome.ts';
import { PAGE_SIZE_BYTES, pageOf, type EpcIndex } from '../../lib/units.ts';
import { checkSgx2, checkTcsReserved, checkTracked, describeEntry, flagsOf, hex, typeOf } from '../checks.ts';
import type { Processor } from '../processor.ts';
import {
  checkAligned,
  checkOperand,
  checkOperandInElrange,
  operandFault,
  readSecInfo,
  resolve,
  type EnclaveAccess,
} from './access.ts';

const { PENDING, MODIFIED, PR } = SecInfoFlags.bit;

/**
 * @param rbx address of the SECINFO that the enclave expects
 * @param rcx address of the page
 *
 * #GP: alignment, an operand outside ELRANGE, reserved bits, an illegal combination, a TCS that is not fresh.
 * #PF: an operand is not present (error code without P), or the EPCM forbids its use (with the SGX bit).
 * SGX_PAGE_ATTRIBUTES_MISMATCH: the page is not what the enclave expects. SGX_NOT_TRACKED: ETRACK is missing.
 */
export function eaccept(cpu: Processor, access: EnclaveAccess, rbx: number, rcx: number): LeafResult {
  const refused = checkSgx2(cpu) ?? checkOperand(cpu, access, rbx, { name: 'RBX', alignBytes: 64 });
  if (refused) return refused;
  const secInfo = readSecInfo(cpu, access, rbx);
  if (secInfo.kind !== 'ok') return secInfo;
  const wanted = flagsOf(secInfo.value);

  const badTarget = checkAligned(rcx, PAGE_SIZE_BYTES, 'RCX') ?? checkOperandInElrange(access, rcx, 'RCX');
  if (badTarget) return badTarget;
  const target = resolve(access, rcx, 'RCX');
  if (target.kind !== 'ok') return target;
  const page = target.value;
  const unsuitable =
    checkCombination(wanted) ??
    checkTarget(cpu, access, page, rcx) ??
    checkMatch(cpu, page, rcx, wanted) ??
    checkTracked(cpu, page, cpu.secs(access.secs)) ??
    (typeOf(wanted) === PageType.TCS ? checkFreshTcs(cpu, access, rcx) : undefined);
  if (unsuitable) return unsuitable;

  if ((wanted & PENDING) !== 0) cpu.contents.fillZero(access.secs, pageOf(rcx));
  cpu.epcm.setSecInfoFlags(page, wanted & ~(PENDING | MODIFIED | PR));
  return ok();
}

function checkCombination(flags: number): Fault | undefined {
  const type = typeOf(flags);
  const asks = flags & (PENDING | MODIFIED | PR);
  const legal =
    type === PageType.REG
      ? (asks & MODIFIED) === 0 && asks !== 0
      : (type === PageType.TCS || type === PageType.TRIM) && asks === MODIFIED;
  if (legal) return undefined;
  return generalProtection(
    why(
      'SECINFO.FLAGS names a change that can be accepted',
      'PT_REG with PENDING or PR, or PT_TCS or PT_TRIM with MODIFIED',
      SecInfoFlags.format(flags),
    ),
  );
}

function checkTarget(cpu: Processor, access: EnclaveAccess, page: EpcIndex, address: number): Fault | undefined {
  const { epcm } = cpu;
  if (epcm.isChild(page) && !epcm.blocked(page) && epcm.secsOf(page) === access.secs) return undefined;
  return operandFault(
    cpu,
    page,
    address,
    'RCX is a page of this enclave',
    'valid PT_REG, PT_TCS or PT_TRIM, not BLOCKED',
  );
}

/** PR is not compared. */
function checkMatch(cpu: Processor, page: EpcIndex, address: number, wanted: number): Code | undefined {
  const { epcm } = cpu;
  if (((epcm.secInfoFlags(page) ^ wanted) & ~PR) === 0 && epcm.page(page) === pageOf(address)) return undefined;
  return sgxCode(
    SgxCode.SGX_PAGE_ATTRIBUTES_MISMATCH,
    why(
      'the EPCM entry is what SECINFO expects (all but PR)',
      `${SecInfoFlags.format(wanted)} at ${hex(address)}`,
      describeEntry(cpu, page),
    ),
  );
}

/** A page that becomes a TCS must look as EADD would have left it. */
function checkFreshTcs(cpu: Processor, access: EnclaveAccess, address: number): Fault | undefined {
  const bytes = new Uint8Array(PAGE_SIZE_BYTES);
  cpu.contents.read(access.secs, pageOf(address), 0, bytes);
  const dirty = checkTcsReserved(bytes);
  if (dirty) return dirty;
  const { flags, cssa, nssa, aep, state } = Tcs.view(bytes);
  if ((flags & TcsFlags.mask.DBGOPTIN) !== 0n) {
    return generalProtection(why('TCS.FLAGS.DBGOPTIN is 0', '0', TcsFlags.format(flags)));
  }
  if (cssa >= nssa) return generalProtection(why('TCS.CSSA is below TCS.NSSA', `less than ${nssa}`, `${cssa}`));
  if (aep !== 0n) return generalProtection(why('TCS.AEP is 0', '0', hex(aep)));
  if (state !== 0n) return generalProtection(why('TCS.STATE is INACTIVE', '0', hex(state)));
  return undefined;
}
