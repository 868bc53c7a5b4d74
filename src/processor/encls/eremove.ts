/**
 * EREMOVE: make an EPC page unused again.
 * Spec: SDM "EREMOVE - Remove a page from the EPC".
 */
import { PageType, SgxCode } from '../../abi/sgx-arch.ts';
import { ok, sgxCode, why, type LeafResult } from '../../lib/outcome.ts';
import type { EpcIndex } from '../../lib/units.ts';
import { checkEpcPage } from '../checks.ts';
import type { Processor } from '../processor.ts';

/**
 * Removes the page; an unused page is no error. #PF: `page` is not in the EPC.
 * SGX_CHILD_PRESENT: an SECS with pages in EPC. SGX_ENCLAVE_ACT: a thread is inside the page's enclave.
 */
export function eremove(cpu: Processor, page: EpcIndex): LeafResult {
  const refused = checkEpcPage(cpu, page, 'RCX');
  if (refused) return refused;
  const { epcm } = cpu;
  switch (epcm.typeIfValid(page)) {
    case undefined:
      return ok();
    case PageType.VA:
      cpu.versionArrays.delete(page);
      break;
    case PageType.SECS: {
      const { children, measurement } = cpu.secs(page);
      if (children > 0) {
        return sgxCode(SgxCode.SGX_CHILD_PRESENT, why('the SECS has no pages in EPC', '0', `${children}`));
      }
      measurement?.end();
      cpu.secsPages.delete(page);
      break;
    }
    default: {
      const secs = epcm.secsOf(page);
      const accepted = epcm.type(page) === PageType.TRIM && !epcm.modified(page);
      // The enclave has agreed to lose an accepted PT_TRIM page, so it may go while threads are inside.
      const inside = accepted ? 0 : cpu.threads.inside(secs);
      if (inside > 0) {
        return sgxCode(SgxCode.SGX_ENCLAVE_ACT, why('no thread is inside the enclave', '0', `${inside}`));
      }
      if (epcm.isFilled(page)) cpu.contents.drop(secs, epcm.page(page));
      cpu.secs(secs).children--;
    }
  }
  epcm.remove(page);
  return ok();
}
