/**
 * EDBGRD: what a debugger reads of a debug enclave, 8 bytes at a time.
 * Spec: SDM "EDBGRD - Read From a Debug Enclave".
 */
import { PageType, SgxCode, TCS_DEBUG_LIMIT_BYTES, type PageType as Type } from '../../abi/sgx-arch.ts';
import { readU64 } from '../../lib/bytes.ts';
import { generalProtection, ok, sgxCode, why, type Code, type Fault, type LeafResult } from '../../lib/outcome.ts';
import { PAGE_SIZE_BYTES, type EpcIndex } from '../../lib/units.ts';
import { checkEpcPage, describeEntry, epcmFault, hex } from '../checks.ts';
import type { Processor } from '../processor.ts';

/**
 * RBX as it comes back: the 8 bytes at `offset` of `page`, whatever the EPCM's R, W and X say. Of a version array, all
 * ones for a slot in use.
 *
 * #GP: alignment, beyond the fields of a TCS, not a debug enclave. #PF: not in the EPC, not valid, an SECS or PT_TRIM.
 * SGX_PAGE_NOT_DEBUGGABLE: the page is PENDING or MODIFIED.
 */
export function edbgrd(cpu: Processor, page: EpcIndex, offset: number): LeafResult<bigint> {
  const refused =
    checkQuadword(offset) ??
    checkEpcPage(cpu, page, 'RCX') ??
    checkDebugType(cpu, page, READABLE) ??
    checkAccepted(cpu, page) ??
    checkTcsLimit(cpu, page, offset);
  if (refused) return refused;
  const { epcm } = cpu;
  if (epcm.type(page) === PageType.VA) {
    return ok(cpu.versionArray(page)[offset / 8] === 0n ? 0n : 0xffff_ffff_ffff_ffffn);
  }
  const notDebug = checkDebugEnclave(cpu, page);
  if (notDebug) return notDebug;
  const bytes = new Uint8Array(8);
  cpu.contents.read(epcm.secsOf(page), epcm.page(page), offset, bytes);
  return ok(readU64(bytes, 0));
}

const READABLE: readonly Type[] = [PageType.REG, PageType.TCS, PageType.VA];

function checkTcsLimit(cpu: Processor, page: EpcIndex, offset: number): Fault | undefined {
  if (cpu.epcm.type(page) !== PageType.TCS || offset < TCS_DEBUG_LIMIT_BYTES) return undefined;
  return generalProtection(
    why('RCX is within the fields of the TCS', `below ${TCS_DEBUG_LIMIT_BYTES}`, `offset ${offset}`),
  );
}

export function checkQuadword(offset: number): Fault | undefined {
  if (offset % 8 === 0 && offset >= 0 && offset < PAGE_SIZE_BYTES) return undefined;
  return generalProtection(why('RCX is 8-byte aligned', 'a multiple of 8', hex(offset)));
}

export function checkDebugType(cpu: Processor, page: EpcIndex, types: readonly Type[]): Fault | undefined {
  const type = cpu.epcm.typeIfValid(page);
  if (type !== undefined && types.includes(type)) return undefined;
  return epcmFault(cpu, why('RCX is a page that debuggers may see', 'a page with contents', describeEntry(cpu, page)));
}

export function checkAccepted(cpu: Processor, page: EpcIndex): Code | undefined {
  if (!cpu.epcm.pending(page) && !cpu.epcm.modified(page)) return undefined;
  return sgxCode(
    SgxCode.SGX_PAGE_NOT_DEBUGGABLE,
    why('EPCM.PENDING and EPCM.MODIFIED are 0', 'neither', describeEntry(cpu, page)),
  );
}

export function checkDebugEnclave(cpu: Processor, page: EpcIndex): Fault | undefined {
  if (cpu.secs(cpu.epcm.secsOf(page)).debug) return undefined;
  return generalProtection(
    why('SECS.ATTRIBUTES.DEBUG is 1', 'a debug enclave', 'a production enclave', 'build it with ATTRIBUTES.DEBUG'),
  );
}
