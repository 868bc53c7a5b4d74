/**
 * EWB: seal an EPC page into ordinary memory and free it.
 * Spec: SDM "EWB - Invalidate an EPC Page and Write out to Main Memory".
 */
import { PageType, Pcmd, SgxCode } from '../../abi/sgx-arch.ts';
import { generalProtection, ok, sgxCode, why, type Code, type Fault, type Ok } from '../../lib/outcome.ts';
import { PAGE_SIZE_BYTES, type EpcIndex } from '../../lib/units.ts';
import { checkEpcPage, checkTracked, checkType, checkValid, describeEntry } from '../checks.ts';
import { sealPage } from '../paging.ts';
import { VA_SLOTS, type Processor } from '../processor.ts';

export interface EvictedPage {
  /** 4096 bytes. */
  readonly sealed: Uint8Array;
  /** 128 bytes, PCMD. */
  readonly pcmd: Uint8Array;
  /** What EWB writes to PAGEINFO.LINADDR; 0 for SECS and VA pages. */
  readonly linAddr: number;
}

/** SGX_VA_SLOT_OCCUPIED is the one code that comes with a result: the page has been written out all the same. */
export interface SlotOccupied extends Code {
  readonly value: EvictedPage;
}

/**
 * Seals `page` with a new version, which goes to slot `vaSlot` of `vaPage`. Any slot content is lost.
 *
 * #GP: both operands are the same page, the slot is not one of 0 .. 511.
 * #PF: an operand is not in the EPC, `page` is not valid, `vaPage` is no valid PT_VA.
 * SGX_PAGE_NOT_BLOCKED, SGX_NOT_TRACKED: pages of enclaves. SGX_CHILD_PRESENT: an SECS with pages in EPC.
 * SGX_VA_SLOT_OCCUPIED: the slot was in use; done all the same.
 */
export function ewb(
  cpu: Processor,
  page: EpcIndex,
  vaPage: EpcIndex,
  vaSlot: number,
): Ok<EvictedPage> | Fault | Code | SlotOccupied {
  const refused =
    checkEpcPage(cpu, page, 'RCX') ??
    checkVaSlot(vaSlot) ??
    checkEpcPage(cpu, vaPage, 'RDX') ??
    (page === vaPage
      ? generalProtection(why('RCX and RDX are different EPC pages', 'another page', `${vaPage}`))
      : undefined) ??
    checkValid(cpu, page) ??
    checkType(cpu, vaPage, PageType.VA, 'RDX') ??
    checkEvictable(cpu, page);
  if (refused) return refused;

  const evicted = evict(cpu, page);
  const slots = cpu.versionArray(vaPage);
  const occupant = slots[vaSlot]!;
  slots[vaSlot] = evicted.version;
  cpu.epcm.remove(page);
  if (occupant === 0n) return ok(evicted.page);
  const reason = why(
    'the VA slot is empty',
    '0',
    `version ${occupant}`,
    'the page that had this version can never be loaded again',
  );
  return { ...sgxCode(SgxCode.SGX_VA_SLOT_OCCUPIED, reason), value: evicted.page };
}

export function checkVaSlot(vaSlot: number): Fault | undefined {
  if (Number.isInteger(vaSlot) && vaSlot >= 0 && vaSlot < VA_SLOTS) return undefined;
  return generalProtection(why('RDX is an 8-byte aligned slot', `0 .. ${VA_SLOTS - 1}`, `${vaSlot}`));
}

function checkEvictable(cpu: Processor, page: EpcIndex): Code | undefined {
  const { epcm } = cpu;
  switch (epcm.type(page)) {
    case PageType.VA:
      return undefined;
    case PageType.SECS: {
      const { children } = cpu.secs(page);
      if (children === 0) return undefined;
      return sgxCode(SgxCode.SGX_CHILD_PRESENT, why('the SECS has no pages in EPC', '0', `${children}`));
    }
    default:
      if (!epcm.blocked(page)) {
        return sgxCode(
          SgxCode.SGX_PAGE_NOT_BLOCKED,
          why('EPCM.BLOCKED is 1', 'EBLOCK before EWB', describeEntry(cpu, page)),
        );
      }
      return checkTracked(cpu, page, cpu.secs(epcm.secsOf(page)));
  }
}

function evict(cpu: Processor, page: EpcIndex): { page: EvictedPage; version: bigint } {
  const { epcm } = cpu;
  const isChild = epcm.isChild(page);
  const enclaveId = isChild ? cpu.secs(epcm.secsOf(page)).hidden.enclaveId : 0n;
  const linAddr = isChild ? epcm.page(page) * PAGE_SIZE_BYTES : 0;
  const flags = BigInt(epcm.secInfoFlags(page));
  const version = cpu.takeVersion();
  const { sealed, mac } = sealPage(
    cpu.pagingKey,
    version,
    { enclaveId, linAddr: BigInt(linAddr), flags },
    takeBytes(cpu, page),
  );
  const pcmd = new Uint8Array(Pcmd.sizeBytes);
  const view = Pcmd.view(pcmd);
  view.secInfo.flags = flags;
  view.enclaveId = enclaveId;
  view.mac = mac;
  return { page: { sealed, pcmd, linAddr }, version };
}

/** The page's bytes, which are no longer anywhere else. */
function takeBytes(cpu: Processor, page: EpcIndex): Uint8Array {
  const { epcm } = cpu;
  const type = epcm.type(page);
  if (type === PageType.SECS) {
    const secs = cpu.secs(page);
    if (secs.measurement) cpu.evictedMeasurements.set(secs.hidden.enclaveId, secs.measurement);
    cpu.secsPages.delete(page);
    return secs.bytes;
  }
  if (type === PageType.VA) {
    const slots = cpu.versionArray(page);
    cpu.versionArrays.delete(page);
    return new Uint8Array(slots.buffer);
  }
  const secs = epcm.secsOf(page);
  cpu.secs(secs).children--;
  return epcm.isFilled(page) ? cpu.contents.take(secs, epcm.page(page)) : new Uint8Array(PAGE_SIZE_BYTES);
}
