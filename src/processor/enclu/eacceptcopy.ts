/**
 * EACCEPTCOPY: the enclave agrees to an added page and gives it the bytes of one it has.
 * Spec: SDM "EACCEPTCOPY - Initialize a Pending Page".
 */
import { PageType, pageTypeName, SecInfoFlags, SgxCode } from '../../abi/sgx-arch.ts';
import { generalProtection, ok, sgxCode, why, type Code, type Fault, type LeafResult } from '../../lib/outcome.ts';
import { PAGE_SIZE_BYTES, pageOf, type EpcIndex } from '../../lib/units.ts';
import { checkPermissions, checkSgx2, describeEntry, ENCLU_READ_ERROR_CODE, flagsOf, hex, typeOf } from '../checks.ts';
import { RWX } from '../epcm.ts';
import type { Processor } from '../processor.ts';
import {
  checkAligned,
  checkOperandInElrange,
  checkOrdinaryPage,
  checkWritable,
  readSecInfo,
  resolve,
  type EnclaveAccess,
} from './access.ts';
import { readEnclave } from './enclave-memory.ts';

const { R, W } = SecInfoFlags.bit;

/**
 * @param rbx address of a SECINFO: PT_REG and the rights that the page shall have
 * @param rcx address of the page, PENDING as EAUG left it
 * @param rdx address of the page to copy
 *
 * #GP: alignment, an operand outside ELRANGE, reserved bits, W without R, another type than PT_REG.
 * #PF: an operand is not present or the page is mapped read-only (error code without SGX), or the EPCM forbids reading
 * SECINFO or source. SGX_PAGE_ATTRIBUTES_MISMATCH: the page is not one that was added and not yet accepted.
 */
export function eacceptcopy(cpu: Processor, access: EnclaveAccess, rbx: number, rcx: number, rdx: number): LeafResult {
  const refused =
    checkSgx2(cpu) ??
    checkAligned(rbx, 64, 'RBX') ??
    checkAligned(rcx, PAGE_SIZE_BYTES, 'RCX') ??
    checkAligned(rdx, PAGE_SIZE_BYTES, 'RDX') ??
    checkOperandInElrange(access, rbx, 'RBX') ??
    checkOperandInElrange(access, rcx, 'RCX') ??
    checkOperandInElrange(access, rdx, 'RDX');
  if (refused) return refused;
  const secInfoPage = resolve(access, rbx, 'RBX');
  if (secInfoPage.kind !== 'ok') return secInfoPage;
  const target = resolve(access, rcx, 'RCX', true);
  if (target.kind !== 'ok') return target;
  const source = resolve(access, rdx, 'RDX');
  if (source.kind !== 'ok') return source;

  const unreadable =
    checkWritable(access, rcx, 'RCX') ??
    checkOrdinaryPage(cpu, access, secInfoPage.value, rbx, R, ENCLU_READ_ERROR_CODE);
  if (unreadable) return unreadable;
  const secInfo = readSecInfo(cpu, access, rbx);
  if (secInfo.kind !== 'ok') return secInfo;
  const wanted = flagsOf(secInfo.value);
  const unsuitable =
    checkPermissions(wanted) ??
    checkRegular(wanted) ??
    checkOrdinaryPage(cpu, access, source.value, rdx, R, ENCLU_READ_ERROR_CODE) ??
    checkAugmented(cpu, access, target.value, rcx);
  if (unsuitable) return unsuitable;

  cpu.contents.fill(access.secs, pageOf(rcx), readEnclave(cpu, access.secs, rdx, PAGE_SIZE_BYTES));
  cpu.epcm.setSecInfoFlags(target.value, wanted & (RWX | (0xff << 8)));
  return ok();
}

function checkRegular(flags: number): Fault | undefined {
  const type = typeOf(flags);
  if (type === PageType.REG) return undefined;
  return generalProtection(why('SECINFO.FLAGS.PT is PT_REG', 'PT_REG', pageTypeName(type)));
}

/** The page as EAUG made it: PENDING, R and W. */
function checkAugmented(cpu: Processor, access: EnclaveAccess, page: EpcIndex, address: number): Code | undefined {
  const { epcm } = cpu;
  const fits =
    epcm.typeIfValid(page) === PageType.REG &&
    epcm.pending(page) &&
    !epcm.modified(page) &&
    !epcm.blocked(page) &&
    epcm.permissions(page) === (R | W) &&
    epcm.secsOf(page) === access.secs &&
    epcm.page(page) === pageOf(address);
  if (fits) return undefined;
  return sgxCode(
    SgxCode.SGX_PAGE_ATTRIBUTES_MISMATCH,
    why(
      'RCX is an added page that is not yet accepted',
      `PENDING|R|W|PT=REG at ${hex(address)}`,
      describeEntry(cpu, page),
    ),
  );
}
