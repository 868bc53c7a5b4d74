/**
 * Checks that several leaves make in the same words. Each gives the outcome to return, or undefined to go on.
 *
 * ENCLS operands in ordinary memory (PAGEINFO, SECINFO, source pages, tokens) come by value, so their alignment and
 * accessibility cannot be wrong; EPC operands are page indexes and therefore aligned. Leaves run one at a time, so
 * the answers for concurrent use (#GP or SGX_EPC_PAGE_CONFLICT) do not occur.
 */
import { PageType, pageTypeName, SecInfoFlags, SgxCode, Tcs } from '../abi/sgx-arch.ts';
import { PageFaultError } from '../abi/x86.ts';
import { generalProtection, pageFault, sgxCode, why, type Code, type Fault, type Why } from '../lib/outcome.ts';
import { formatInteger } from '../lib/layout.ts';
import { isPageAligned, type EpcIndex } from '../lib/units.ts';
import type { Processor } from './processor.ts';
import type { SecsPage } from './secs.ts';

const { P, W, U, SGX } = PageFaultError.bit;
/** #PF of a kernel-mode leaf whose EPC operand does not suit. */
const ENCLS_ERROR_CODE = P | W | SGX;
/** #PF of an enclave access that the EPCM refuses. */
export const ENCLU_READ_ERROR_CODE = P | U | SGX;
export const ENCLU_WRITE_ERROR_CODE = P | W | U | SGX;
/** #PF of an enclave access to a page that is not in EPC, or not mapped: the kernel has to bring it. */
export const NOT_PRESENT_ERROR_CODE = U;

export const hex = (value: number | bigint): string => formatInteger(value);

/** A fault for the EPCM's sake: #PF with the SGX bit, but #GP on processors with SGX1 only. */
export function epcmFault(cpu: Processor, reason: Why, address = 0, errorCode = ENCLS_ERROR_CODE): Fault {
  return cpu.profile.sgx2 ? pageFault(address, errorCode, reason) : generalProtection(reason);
}

/**
 * "does not resolve within an EPC": #PF.
 * Model: ENCLS faults carry address 0, for an EPC page has no kernel address here.
 */
export function checkEpcPage(cpu: Processor, page: EpcIndex, operand: string): Fault | undefined {
  if (cpu.epcm.has(page)) return undefined;
  return pageFault(0, P | W, why(`${operand} is in the EPC`, `0 .. ${cpu.epcm.pages - 1}`, `${page}`));
}

export function checkUnused(cpu: Processor, page: EpcIndex): Fault | undefined {
  if (!cpu.epcm.valid(page)) return undefined;
  return epcmFault(cpu, why('EPCM.VALID is 0', 'an unused page', describeEntry(cpu, page)));
}

export function checkValid(cpu: Processor, page: EpcIndex): Fault | undefined {
  if (cpu.epcm.valid(page)) return undefined;
  return epcmFault(cpu, why('EPCM.VALID is 1', 'a valid page', describeEntry(cpu, page)));
}

/** The page is valid and of the type. */
export function checkType(cpu: Processor, page: EpcIndex, type: PageType, operand: string): Fault | undefined {
  if (cpu.epcm.typeIfValid(page) === type) return undefined;
  return epcmFault(
    cpu,
    why(`${operand} is a valid ${pageTypeName(type)}`, pageTypeName(type), describeEntry(cpu, page)),
  );
}

/** SECINFO's reserved bits and bytes are zero. `secInfo` has 64 bytes. */
export function checkSecInfoReserved(secInfo: Uint8Array): Fault | undefined {
  if ((secInfo[0]! & 0xc0) !== 0) return reservedFault(0);
  for (let i = 2; i < 64; i++) if (secInfo[i] !== 0) return reservedFault(i);
  return undefined;
}

/** The 16 bits of SECINFO.FLAGS that are in use. */
export const flagsOf = (secInfo: Uint8Array): number => secInfo[0]! | (secInfo[1]! << 8);
export const typeOf = (flags: number): number => flags >>> 8;

/** W needs R. */
export function checkPermissions(flags: number): Fault | undefined {
  const { R, W: write } = SecInfoFlags.bit;
  if ((flags & write) === 0 || (flags & R) !== 0) return undefined;
  return generalProtection(why('SECINFO.FLAGS.R is 1 when W is 1', 'R|W', SecInfoFlags.format(flags)));
}

/** No profile offers CET, so its fields count as reserved. `bytes` is the whole page. */
export function checkTcsReserved(bytes: Uint8Array): Fault | undefined {
  const refuse = (found: string) => generalProtection(why('TCS reserved fields are zero', '0', `${found} is not`));
  const dirty = Tcs.firstNonzeroReserved(bytes);
  if (dirty) return refuse(`byte ${dirty.offset}`);
  const { ocetSsa, prevSsp } = Tcs.view(bytes);
  if (ocetSsa !== 0n) return refuse('OCETSSA');
  return prevSsp === 0n ? undefined : refuse('PREVSSP');
}

export function checkLinAddr(linAddr: number): Fault | undefined {
  if (isPageAligned(linAddr)) return undefined;
  return generalProtection(why('PAGEINFO.LINADDR is page-aligned', 'a multiple of 0x1000', hex(linAddr)));
}

export function checkInElrange(secs: SecsPage, linAddr: number): Fault | undefined {
  if (secs.contains(linAddr)) return undefined;
  const end = secs.baseAddress + secs.sizeBytes;
  return generalProtection(
    why('PAGEINFO.LINADDR is in ELRANGE', `${hex(secs.baseAddress)} .. ${hex(end - 1)}`, hex(linAddr)),
  );
}

export function checkNotInitialised(secs: SecsPage): Fault | undefined {
  if (!secs.initialised) return undefined;
  return generalProtection(why('SECS.ATTRIBUTES.INIT is 0', 'an enclave before EINIT', 'an initialized enclave'));
}

export function checkInitialised(secs: SecsPage): Fault | undefined {
  if (secs.initialised) return undefined;
  return generalProtection(why('SECS.ATTRIBUTES.INIT is 1', 'an initialized enclave', 'an enclave before EINIT'));
}

/** Neither PENDING nor MODIFIED. */
export function checkModifiable(cpu: Processor, page: EpcIndex): Code | undefined {
  if (!cpu.epcm.pending(page) && !cpu.epcm.modified(page)) return undefined;
  return sgxCode(
    SgxCode.SGX_PAGE_NOT_MODIFIABLE,
    why(
      'EPCM.PENDING and EPCM.MODIFIED are 0',
      'neither',
      describeEntry(cpu, page),
      'the enclave has to EACCEPT the last change first',
    ),
  );
}

/** The SGX2 leaves are #GP (unknown leaf) on a processor without SGX2. */
export function checkSgx2(cpu: Processor): Fault | undefined {
  if (cpu.profile.sgx2) return undefined;
  return generalProtection(
    why('the leaf is supported', 'a processor with SGX2', `${cpu.profile.name}, which has SGX1 only`),
  );
}

/**
 * Have all threads left that could use a translation from before the change recorded in the page's track epoch?
 * ETRACK must have run since, and nobody who entered before it may still be inside.
 */
export function checkTracked(cpu: Processor, page: EpcIndex, secs: SecsPage): Code | undefined {
  const needed = cpu.epcm.trackEpoch(page);
  const remedy = 'ETRACK, then make every thread inside leave once';
  if (secs.epoch < needed) {
    return sgxCode(
      SgxCode.SGX_NOT_TRACKED,
      why('ETRACK ran since the page was changed', `epoch ${needed}`, `epoch ${secs.epoch}`, remedy),
    );
  }
  const left = cpu.threads.enteredBefore(secs.index, needed);
  if (left === 0) return undefined;
  return sgxCode(
    SgxCode.SGX_NOT_TRACKED,
    why('threads that entered before ETRACK have left', '0 threads', `${left}`, remedy),
  );
}

/** `valid PT_REG R|W` or `not valid`, for a Why. */
export function describeEntry(cpu: Processor, page: EpcIndex): string {
  const { epcm } = cpu;
  if (!epcm.valid(page)) return 'not valid';
  const words = [SecInfoFlags.format(epcm.secInfoFlags(page))];
  if (epcm.type(page) === PageType.SECS) words[0] = 'PT=SECS';
  if (epcm.blocked(page)) words.push('BLOCKED');
  if (epcm.isChild(page)) words.push(`page ${hex(epcm.page(page) * 4096)} of SECS ${epcm.secsOf(page)}`);
  return words.join(' ');
}

function reservedFault(offset: number): Fault {
  return generalProtection(why('SECINFO reserved fields are zero', '0', `byte ${offset} is not`));
}
