/**
 * EEXTEND: measure 256 bytes of a page.
 * Spec: SDM "EEXTEND - Extend Uninitialized Enclave Measurement by 256 Bytes".
 */
import { PageType } from '../../abi/sgx-arch.ts';
import { generalProtection, ok, why, type Fault, type LeafResult } from '../../lib/outcome.ts';
import { PAGE_SIZE_BYTES, type EpcIndex } from '../../lib/units.ts';
import { checkEpcPage, checkNotInitialised, checkValid, describeEntry, epcmFault, hex } from '../checks.ts';
import { EEXTEND_CHUNK_BYTES } from '../measurement.ts';
import type { Processor } from '../processor.ts';

/**
 * Measures the chunk at `chunkOffset` (0, 256, .. 3840) of `page`. Faults:
 * #PF: an operand is not in the EPC, `page` is not a valid PT_REG or PT_TCS.
 * #GP: the offset is not one of a chunk, `secs` is not the page's SECS, the enclave is initialized.
 */
export function eextend(cpu: Processor, secs: EpcIndex, page: EpcIndex, chunkOffset: number): LeafResult {
  const refused = check(cpu, secs, page, chunkOffset);
  if (refused) return refused;
  const enclave = cpu.secs(secs);
  const linearPage = cpu.epcm.page(page);
  const chunk = new Uint8Array(EEXTEND_CHUNK_BYTES);
  cpu.contents.read(secs, linearPage, chunkOffset, chunk);
  enclave.measurement!.extend(linearPage * PAGE_SIZE_BYTES - enclave.baseAddress + chunkOffset, chunk);
  return ok();
}

/**
 * All sixteen EEXTENDs of a page, in order.
 * @param pageBytes the page's 4096 bytes where the caller has just given them to EADD; saves reading them back
 */
export function eextendPage(cpu: Processor, secs: EpcIndex, page: EpcIndex, pageBytes?: Uint8Array): LeafResult {
  const refused = check(cpu, secs, page, 0);
  if (refused) return refused;
  const enclave = cpu.secs(secs);
  const linearPage = cpu.epcm.page(page);
  let bytes = pageBytes;
  // EADD has changed a TCS on its way in: only the EPC knows what it is now.
  if (bytes === undefined || cpu.epcm.type(page) === PageType.TCS) {
    bytes = new Uint8Array(PAGE_SIZE_BYTES);
    cpu.contents.read(secs, linearPage, 0, bytes);
  }
  enclave.measurement!.extendPage(linearPage * PAGE_SIZE_BYTES - enclave.baseAddress, bytes);
  return ok();
}

function check(cpu: Processor, secs: EpcIndex, page: EpcIndex, chunkOffset: number): Fault | undefined {
  const refused =
    checkEpcPage(cpu, secs, 'RBX') ??
    (chunkOffset % EEXTEND_CHUNK_BYTES === 0 && chunkOffset >= 0 && chunkOffset < PAGE_SIZE_BYTES
      ? undefined
      : generalProtection(why('RCX is 256-byte aligned', 'a multiple of 0x100 in the page', hex(chunkOffset)))) ??
    checkEpcPage(cpu, page, 'RCX') ??
    checkValid(cpu, page);
  if (refused) return refused;
  const type = cpu.epcm.type(page);
  if (type !== PageType.REG && type !== PageType.TCS) {
    return epcmFault(cpu, why('EPCM.PT is PT_REG or PT_TCS', 'PT_REG or PT_TCS', describeEntry(cpu, page)));
  }
  if (cpu.epcm.secsOf(page) !== secs) {
    return generalProtection(why("RBX is the page's SECS", `SECS ${cpu.epcm.secsOf(page)}`, `EPC page ${secs}`));
  }
  return checkNotInitialised(cpu.secs(secs));
}
