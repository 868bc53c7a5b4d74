/**
 * Threads that died inside an enclave which other processes still use. On hardware the interrupt that ended them was
 * an AEX; here nobody in the dead process could do its bookkeeping any more, so the host does.
 *
 * Model: the frame in the SSA is of the thread's last real AEX, not of its end.
 */
import { PageType, Tcs, TcsState } from '../abi/sgx-arch.ts';
import type { EnclaveFile } from '../kernel/enclave.ts';
import { loadPage } from '../kernel/paging.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { ViewOf } from '../lib/layout.ts';
import { isPageAligned, pageOf, USER_ADDRESS_END, type EpcIndex, type LinPage } from '../lib/units.ts';
import type { Session } from './session.ts';

/** To be called while the session still has its mappings. */
export function leaveForDeadThreads(kernel: Kernel, session: Session): void {
  for (const box of session.area?.boxes() ?? []) {
    const enclave = session.enclaveInSlot(box.insideSlot);
    const address = box.insideTcs;
    if (enclave === undefined) continue;
    if (!isPageAligned(address) || address >= USER_ADDRESS_END || !enclave.isInElrange(address)) continue;
    const found = readTcs(kernel, enclave, address);
    // It may only have tried, while another thread was in.
    if (found !== undefined && holderOf(found.tcs) === box.tid) leave(kernel, found);
  }
}

/**
 * For whoever wants to enter a TCS whose thread was killed, and knows it (from a robust mutex, say) before we see the
 * end of that process.
 */
export function leaveIfDead(
  kernel: Kernel,
  enclave: EnclaveFile,
  address: number,
  isAlive: (tid: number) => boolean,
): void {
  const found = readTcs(kernel, enclave, address);
  const holder = found && holderOf(found.tcs);
  if (holder === undefined || isAlive(holder)) return;
  // Read again: it may have left in good order before it ended, and after it was read.
  const still = readTcs(kernel, enclave, address);
  if (still !== undefined && holderOf(still.tcs) === holder) leave(kernel, still);
}

interface FoundTcs {
  readonly secs: EpcIndex;
  readonly page: LinPage;
  readonly bytes: Uint8Array;
  readonly tcs: ViewOf<typeof Tcs>;
}

function readTcs(kernel: Kernel, enclave: EnclaveFile, address: number): FoundTcs | undefined {
  const page = pageOf(address);
  const loaded = loadPage(kernel, enclave, page);
  if (loaded?.kind !== 'ok' || kernel.processor.epcm.type(loaded.value) !== PageType.TCS) return undefined;
  const secs = kernel.processor.epcm.secsOf(loaded.value);
  const bytes = new Uint8Array(Tcs.sizeBytes);
  kernel.contents.read(secs, page, 0, bytes);
  return { secs, page, bytes, tcs: Tcs.view(bytes) };
}

/** The stub writes the thread into the high half of STATE. */
const holderOf = ({ state }: { readonly state: bigint }): number | undefined =>
  state === TcsState.INACTIVE ? undefined : Number(state >> 32n);

function leave(kernel: Kernel, { secs, page, bytes, tcs }: FoundTcs): void {
  tcs.state = TcsState.INACTIVE;
  if (tcs.cssa < tcs.nssa) tcs.cssa++;
  kernel.contents.write(secs, page, 0, bytes.subarray(0, Tcs.offsetOf('oentry')));
}
