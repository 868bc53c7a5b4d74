/**
 * EADD: add a page to an enclave that is being built.
 * Spec: SDM "EADD - Add a Page to an Uninitialized Enclave".
 */
import { Attributes, pageTypeName, PageType, SecInfoFlags, Tcs, TcsFlags } from '../../abi/sgx-arch.ts';
import { generalProtection, ok, why, type Fault, type LeafResult } from '../../lib/outcome.ts';
import { pageOf, type EpcIndex } from '../../lib/units.ts';
import {
  checkEpcPage,
  checkInElrange,
  checkLinAddr,
  checkNotInitialised,
  checkPermissions,
  checkSecInfoReserved,
  checkTcsReserved,
  checkType,
  checkUnused,
  flagsOf,
  hex,
  typeOf,
} from '../checks.ts';
import { RWX } from '../epcm.ts';
import type { Processor } from '../processor.ts';
import type { SecsPage } from '../secs.ts';

export interface EaddOperands {
  readonly linAddr: number;
  /** 4096 bytes; copied. */
  readonly srcPage: Uint8Array;
  /** 64 bytes. */
  readonly secInfo: Uint8Array;
  readonly secs: EpcIndex;
}

const { PENDING, MODIFIED, PR } = SecInfoFlags.bit;

/**
 * Adds `page` and measures its address and SECINFO, not its bytes (that is EEXTEND). Faults:
 * #PF: `page` or the SECS is not in the EPC, `page` is in use, the SECS is no valid SECS. #GP: everything else.
 *
 * Model: contents are kept by linear address, so the caller gives an address to one EPC page at a time, as every kernel
 * does; hardware would take a second one, which nothing could then reach.
 */
export function eadd(cpu: Processor, operands: EaddOperands, page: EpcIndex): LeafResult {
  const { linAddr, srcPage, secInfo } = operands;
  const flags = flagsOf(secInfo);
  const type = typeOf(flags);
  const refused =
    checkEpcPage(cpu, page, 'the destination') ??
    checkLinAddr(linAddr) ??
    checkEpcPage(cpu, operands.secs, 'PAGEINFO.SECS') ??
    checkSecInfoReserved(secInfo) ??
    checkAddableType(type) ??
    checkUnused(cpu, page) ??
    checkType(cpu, operands.secs, PageType.SECS, 'PAGEINFO.SECS');
  if (refused) return refused;
  const secs = cpu.secs(operands.secs);
  const unsuitable =
    (type === PageType.TCS ? checkTcs(secs, srcPage) : checkPermissions(flags)) ??
    checkInElrange(secs, linAddr) ??
    checkNotInitialised(secs);
  if (unsuitable) return unsuitable;

  let bytes = srcPage;
  // PENDING, MODIFIED and PR of the SECINFO are measured as they are but do not reach the EPCM.
  let entryFlags = flags & ~(PENDING | MODIFIED | PR);
  let measuredFlags = flags;
  if (type === PageType.TCS) {
    bytes = initialTcs(srcPage);
    entryFlags &= ~RWX;
    measuredFlags &= ~RWX;
  }
  secs.measurement!.add(linAddr - secs.baseAddress, measuredFlags);
  cpu.contents.fill(operands.secs, pageOf(linAddr), bytes);
  cpu.epcm.add(page, entryFlags, operands.secs, pageOf(linAddr));
  secs.children++;
  return ok();
}

function checkAddableType(type: number): Fault | undefined {
  if (type === PageType.REG || type === PageType.TCS) return undefined;
  return generalProtection(why('SECINFO.FLAGS.PT is PT_REG or PT_TCS', 'PT_REG or PT_TCS', pageTypeName(type)));
}

function checkTcs(secs: SecsPage, bytes: Uint8Array): Fault | undefined {
  const dirty = checkTcsReserved(bytes);
  if (dirty) return dirty;
  if ((secs.fields.attributes & Attributes.mask.MODE64BIT) !== 0n) return undefined;
  const { fsLimit, gsLimit } = Tcs.view(bytes);
  if ((fsLimit & 0xfff) === 0xfff && (gsLimit & 0xfff) === 0xfff) return undefined;
  return generalProtection(
    why('TCS.FSLIMIT and GSLIMIT of a 32-bit enclave end in FFFH', '0xfff', `${hex(fsLimit)} and ${hex(gsLimit)}`),
  );
}

/** What EADD makes of a TCS: a thread that is not running and has no frames in use. */
function initialTcs(source: Uint8Array): Uint8Array {
  const bytes = source.slice();
  const tcs = Tcs.view(bytes);
  tcs.state = 0n;
  tcs.flags &= ~TcsFlags.mask.DBGOPTIN;
  tcs.cssa = 0;
  tcs.aep = 0n;
  return bytes;
}
