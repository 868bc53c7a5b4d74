/**
 * ELDU: bring an evicted page back.
 * Spec: SDM "ELDB/ELDU/ELDBC/ELBUC - Load an EPC Page and Mark its State".
 */
import { PageType, pageTypeName, Pcmd, SgxCode } from '../../abi/sgx-arch.ts';
import { generalProtection, ok, sgxCode, why, type Fault, type LeafResult } from '../../lib/outcome.ts';
import { linPage, pageOf, type EpcIndex } from '../../lib/units.ts';
import { checkEpcPage, checkType, checkUnused } from '../checks.ts';
import { openPage } from '../paging.ts';
import type { Processor } from '../processor.ts';
import { SecsPage } from '../secs.ts';
import { checkVaSlot } from './ewb.ts';

export interface ElduOperands {
  /** Where the page was; part of what the MAC binds. 0 for SECS and VA pages. */
  readonly linAddr: number;
  /** 4096 sealed bytes. */
  readonly srcPage: Uint8Array;
  /** 128 bytes. */
  readonly pcmd: Uint8Array;
  /** The enclave's SECS; undefined for SECS and VA pages. */
  readonly secs: EpcIndex | undefined;
}

/**
 * Opens the page into `page` and empties the slot.
 *
 * #GP: the slot is not one of 0 .. 511, a page type that is none, SECS given for an SECS or VA page or missing for
 * another. #PF: an operand is not in the EPC, `page` is in use, `vaPage` is no valid PT_VA, the SECS is none.
 * SGX_MAC_COMPARE_FAIL: bytes, PCMD, address, enclave or version are not those of the eviction; nothing changes.
 */
export function eldu(
  cpu: Processor,
  operands: ElduOperands,
  page: EpcIndex,
  vaPage: EpcIndex,
  vaSlot: number,
): LeafResult {
  const { linAddr, srcPage } = operands;
  const pcmd = Pcmd.view(operands.pcmd);
  const pcmdFlags = pcmd.secInfo.flags;
  const flags = Number(pcmdFlags & 0xffffn);
  const type = flags >>> 8;
  const refused =
    checkEpcPage(cpu, page, 'RCX') ??
    checkVaSlot(vaSlot) ??
    checkEpcPage(cpu, vaPage, 'RDX') ??
    checkUnused(cpu, page) ??
    checkType(cpu, vaPage, PageType.VA, 'RDX') ??
    checkSecs(cpu, type, operands.secs);
  if (refused) return refused;

  const isChild = operands.secs !== undefined;
  const enclaveId = isChild ? cpu.secs(operands.secs).hidden.enclaveId : 0n;
  const slots = cpu.versionArray(vaPage);
  const identity = { enclaveId, linAddr: BigInt(linAddr), flags: pcmdFlags };
  // The MAC binds PCMD's reserved bytes as zeros.
  const clean = Pcmd.reservedAreZero(operands.pcmd);
  const bytes = clean ? openPage(cpu.pagingKey, slots[vaSlot]!, identity, srcPage, pcmd.mac) : undefined;
  if (bytes === undefined) {
    return sgxCode(
      SgxCode.SGX_MAC_COMPARE_FAIL,
      why(
        'the page authenticates under the version in the VA slot',
        'bytes, PCMD, address and enclave of the eviction with this version',
        slots[vaSlot] === 0n ? 'an empty slot: the page was loaded before' : `version ${slots[vaSlot]}, no match`,
      ),
    );
  }
  slots[vaSlot] = 0n;
  load(cpu, page, type, operands.secs, linAddr, bytes, flags);
  return ok();
}

function checkSecs(cpu: Processor, type: number, secs: EpcIndex | undefined): Fault | undefined {
  if (type === PageType.SECS || type === PageType.VA) {
    if (secs === undefined) return undefined;
    return generalProtection(why(`PAGEINFO.SECS is 0 for a ${pageTypeName(type)}`, '0', `EPC page ${secs}`));
  }
  if (type !== PageType.REG && type !== PageType.TCS && type !== PageType.TRIM) {
    return generalProtection(why('PCMD.SECINFO.FLAGS.PT is a page type', 'PT_SECS to PT_TRIM', pageTypeName(type)));
  }
  if (secs === undefined) {
    return generalProtection(why(`PAGEINFO.SECS is an SECS for a ${pageTypeName(type)}`, 'an EPC page', '0'));
  }
  return checkEpcPage(cpu, secs, 'PAGEINFO.SECS') ?? checkType(cpu, secs, PageType.SECS, 'PAGEINFO.SECS');
}

function load(
  cpu: Processor,
  page: EpcIndex,
  type: number,
  secsIndex: EpcIndex | undefined,
  linAddr: number,
  bytes: Uint8Array,
  flags: number,
): void {
  if (secsIndex !== undefined) {
    cpu.epcm.add(page, flags, secsIndex, pageOf(linAddr));
    cpu.secs(secsIndex).children++;
    if (cpu.epcm.isFilled(page)) cpu.contents.fill(secsIndex, pageOf(linAddr), bytes);
    return;
  }
  cpu.epcm.add(page, flags, page, linPage(0));
  if (type === PageType.VA) {
    cpu.versionArrays.set(page, new BigUint64Array(bytes.slice().buffer));
    return;
  }
  const secs = new SecsPage(page, bytes.slice());
  const { enclaveId } = secs.hidden;
  secs.measurement = cpu.evictedMeasurements.get(enclaveId);
  cpu.evictedMeasurements.delete(enclaveId);
  cpu.secsPages.set(page, secs);
}
