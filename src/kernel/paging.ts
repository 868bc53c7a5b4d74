/**
 * Evicting one page and bringing it back; the SECS follows when its last page is out.
 * Source: sgx_reclaimer_write, sgx_encl_ewb in arch/x86/kernel/cpu/sgx/main.c; sgx_encl_eldu in encl.c
 */
import { InvariantError, ok, type KernelResult } from '../lib/outcome.ts';
import { addressOf, epcIndex, type EpcIndex, type LinPage } from '../lib/units.ts';
import { eldu } from '../processor/encls/eldu.ts';
import { etrack } from '../processor/encls/etrack.ts';
import { ewb, type EvictedPage } from '../processor/encls/ewb.ts';
import type { EnclaveFile } from './enclave.ts';
import type { Kernel } from './kernel.ts';
import { isEvicted } from './page-table.ts';

/** Seals a blocked page of an enclave into the backing store. */
export function evictPage(kernel: Kernel, page: EpcIndex): void {
  const { epcm } = kernel.processor;
  const enclave = kernel.enclaveOfSecs(epcm.secsOf(page))!;
  const linear = epcm.page(page);
  enclave.pages.setEvicted(linear, writeOut(kernel, enclave, page));
  const { secs } = enclave;
  // An uninitialized enclave keeps its SECS, because its measurement is still running.
  if (enclave.initialized && kernel.processor.secs(secs!).children === 0) {
    kernel.forgetSecs(secs!);
    enclave.secs = undefined;
    enclave.evictedSecs = writeOut(kernel, enclave, secs!);
  }
}

/** EWB, with the tracking it asks for. Returns the handle in the backing store. */
function writeOut(kernel: Kernel, enclave: EnclaveFile, page: EpcIndex): number {
  const va = enclave.versionArrays.takeSlot();
  const { processor } = kernel;
  let result = ewb(processor, page, va.page, va.slot);
  if (result.kind === 'code') {
    etrack(processor, enclave.secs!);
    result = ewb(processor, page, va.page, va.slot);
  }
  if (result.kind === 'code') {
    enclave.interruptThreads();
    result = ewb(processor, page, va.page, va.slot);
  }
  if (result.kind !== 'ok') throw new InvariantError(`EWB of EPC page ${page}: ${result.why.check}`);
  kernel.epc.give(page);
  const { sealed, pcmd }: EvictedPage = result.value;
  return kernel.backing.store({ sealed, pcmd, vaSlotId: va.id });
}

/** The EPC page of a page of the enclave, which is loaded if it was evicted; undefined if there is no such page. ENOMEM. */
export function loadPage(kernel: Kernel, enclave: EnclaveFile, page: LinPage): KernelResult<EpcIndex> | undefined {
  const entry = enclave.pages.get(page);
  if (entry === undefined) return undefined;
  if (!isEvicted(entry.flags)) {
    kernel.epc.touch(epcIndex(entry.location));
    return ok(epcIndex(entry.location));
  }
  const target = kernel.reclaimer.allocate();
  if (target.kind !== 'ok') return target;
  // The SECS last: an allocation after it could evict it again.
  const secs = loadSecs(kernel, enclave);
  if (secs.kind !== 'ok') {
    kernel.epc.give(target.value);
    return secs;
  }
  const released = enclave.releaseOf(page);
  if (released !== undefined) kernel.contents.holdNext(secs.value, page, released);
  readIn(kernel, enclave, entry.location, target.value, addressOf(page), secs.value);
  enclave.pages.setResident(page, target.value);
  kernel.epc.markReclaimable(target.value);
  kernel.epc.touch(target.value);
  enclave.refresh(page, page + 1);
  return target;
}

/** The SECS of a created enclave, loaded if it was evicted. ENOMEM. */
export function loadSecs(kernel: Kernel, enclave: EnclaveFile): KernelResult<EpcIndex> {
  if (enclave.secs !== undefined) return ok(enclave.secs);
  const target = kernel.reclaimer.allocate();
  if (target.kind !== 'ok') return target;
  readIn(kernel, enclave, enclave.evictedSecs!, target.value, 0, undefined);
  enclave.evictedSecs = undefined;
  enclave.secs = target.value;
  kernel.rememberSecs(target.value, enclave);
  return target;
}

function readIn(
  kernel: Kernel,
  enclave: EnclaveFile,
  handle: number,
  target: EpcIndex,
  linAddr: number,
  secs: EpcIndex | undefined,
): void {
  const { sealed, pcmd, vaSlotId } = kernel.backing.read(handle);
  const va = enclave.versionArrays.find(vaSlotId);
  const result = eldu(kernel.processor, { linAddr, srcPage: sealed, pcmd, secs }, target, va.page, va.slot);
  if (result.kind !== 'ok') throw new InvariantError(`ELDU into EPC page ${target}: ${result.why.check}`);
  enclave.versionArrays.freeSlot(va);
  kernel.backing.free(handle);
}
