/**
 * EMODPE: the enclave gives itself more rights to a page.
 * Spec: SDM "EMODPE - Extend an EPC Page Permissions".
 */
import { PageType, SecInfoFlags } from '../../abi/sgx-arch.ts';
import { generalProtection, ok, why, type LeafResult } from '../../lib/outcome.ts';
import { PAGE_SIZE_BYTES, pageOf } from '../../lib/units.ts';
import { checkSgx2, ENCLU_READ_ERROR_CODE, flagsOf } from '../checks.ts';
import { RWX } from '../epcm.ts';
import type { Processor } from '../processor.ts';
import {
  checkAligned,
  checkOperandInElrange,
  checkOrdinaryPage,
  operandFault,
  readSecInfo,
  resolve,
  type EnclaveAccess,
} from './access.ts';

const { R, W } = SecInfoFlags.bit;

/**
 * Adds the rights in the SECINFO at `rbx` to those of the page at `rcx`. RAX gets no result.
 * #GP: alignment, an operand outside ELRANGE, reserved bits, W without R as the result.
 * #PF: an operand is not present, or the EPCM forbids its use (PENDING and MODIFIED pages too).
 */
export function emodpe(cpu: Processor, access: EnclaveAccess, rbx: number, rcx: number): LeafResult {
  const refused =
    checkSgx2(cpu) ??
    checkAligned(rbx, 64, 'RBX') ??
    checkAligned(rcx, PAGE_SIZE_BYTES, 'RCX') ??
    checkOperandInElrange(access, rbx, 'RBX') ??
    checkOperandInElrange(access, rcx, 'RCX');
  if (refused) return refused;
  const secInfoPage = resolve(access, rbx, 'RBX');
  if (secInfoPage.kind !== 'ok') return secInfoPage;
  const target = resolve(access, rcx, 'RCX');
  if (target.kind !== 'ok') return target;
  const unreadable = checkOrdinaryPage(cpu, access, secInfoPage.value, rbx, R, ENCLU_READ_ERROR_CODE);
  if (unreadable) return unreadable;
  const secInfo = readSecInfo(cpu, access, rbx);
  if (secInfo.kind !== 'ok') return secInfo;
  const page = target.value;
  const { epcm } = cpu;
  const extendable =
    epcm.typeIfValid(page) === PageType.REG &&
    !epcm.pending(page) &&
    !epcm.modified(page) &&
    !epcm.blocked(page) &&
    epcm.secsOf(page) === access.secs &&
    epcm.page(page) === pageOf(rcx);
  if (!extendable) {
    const expected = 'valid PT_REG, not PENDING, MODIFIED or BLOCKED, at this address';
    return operandFault(cpu, page, rcx, 'RCX is an accepted page of this enclave', expected);
  }
  const wanted = flagsOf(secInfo.value) & RWX;
  const result = epcm.permissions(page) | wanted;
  if ((result & W) !== 0 && (result & R) === 0) {
    return generalProtection(why('the page is readable when it is writable', 'R|W', SecInfoFlags.format(result)));
  }
  epcm.setSecInfoFlags(page, epcm.secInfoFlags(page) | wanted);
  return ok();
}
