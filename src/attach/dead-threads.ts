/**
 * Threads that died inside an enclave which other processes still use. On hardware the interrupt that ended them was
 * an AEX; here nobody in the dead process could do its bookkeeping any more, so the host does.
 *
 * Model: the frame in the SSA is of the thread's last real AEX, not of its end.
 */
import { PageType, Tcs, TcsState } from '../abi/sgx-arch.ts';
import { loadPage } from '../kernel/paging.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isPageAligned, pageOf, USER_ADDRESS_END, type EpcIndex } from '../lib/units.ts';
import type { Session } from './session.ts';

/** To be called while the session still has its mappings. */
export function leaveForDeadThreads(kernel: Kernel, session: Session): void {
  for (const box of session.area?.boxes() ?? []) {
    const enclave = session.enclaveInSlot(box.insideSlot);
    const address = box.insideTcs;
    if (enclave === undefined || enclave.mms.size < 2) continue;
    if (!isPageAligned(address) || address >= USER_ADDRESS_END || !enclave.isInElrange(address)) continue;
    const loaded = loadPage(kernel, enclave, pageOf(address));
    if (loaded?.kind === 'ok' && kernel.processor.epcm.type(loaded.value) === PageType.TCS) {
      leave(kernel, loaded.value, address);
    }
  }
}

function leave(kernel: Kernel, epcPage: EpcIndex, address: number): void {
  const secs = kernel.processor.epcm.secsOf(epcPage);
  const page = pageOf(address);
  const bytes = new Uint8Array(Tcs.sizeBytes);
  kernel.contents.read(secs, page, 0, bytes);
  const tcs = Tcs.view(bytes);
  if (tcs.state === TcsState.INACTIVE) return;
  tcs.state = TcsState.INACTIVE;
  if (tcs.cssa < tcs.nssa) tcs.cssa++;
  kernel.contents.write(secs, page, 0, bytes.subarray(0, Tcs.offsetOf('oentry')));
}
