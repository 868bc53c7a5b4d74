/**
 * Evicting one page and bringing it back; the SECS follows when its last page is out.
 * Source: sgx_reclaimer_write, sgx_encl_ewb in arch/x86/kernel/cpu/sgx/main.c; sgx_encl_eldu in encl.c
 */
import { Errno } from '../lib/errno.ts';
import { fail, InvariantError, ok, type Failure, type KernelResult } from '../lib/outcome.ts';
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

/** The EPC page of a page of the enclave, which is loaded if it was evicted; undefined if there is no such page. ENOMEM. EFAULT: it is lost. */
export function loadPage(kernel: Kernel, enclave: EnclaveFile, page: LinPage): KernelResult<EpcIndex> | undefined {
  const entry = enclave.pages.get(page);
  if (entry === undefined) return undefined;
  if (!isEvicted(entry.flags)) {
    kernel.epc.touch(epcIndex(entry.location));
    return ok(epcIndex(entry.location));
  }
  const target = kernel.reclaimer.allocate(enclave, page);
  if (target.kind !== 'ok') return target;
  // The SECS last: an allocation after it could evict it again.
  const secs = loadSecs(kernel, enclave);
  if (secs.kind !== 'ok') {
    kernel.epc.give(target.value);
    return secs;
  }
  const released = enclave.releaseOf(page);
  if (released !== undefined) kernel.contents.holdNext(secs.value, page, released);
  const lost = readIn(kernel, enclave, entry.location, target.value, secs.value, page);
  if (lost) return lost;
  enclave.pages.setResident(page, target.value);
  kernel.epc.markReclaimable(target.value);
  kernel.epc.touch(target.value);
  enclave.refresh(page, page + 1);
  return target;
}

/** The SECS of a created enclave, loaded if it was evicted. ENOMEM. EFAULT: it is lost. */
export function loadSecs(kernel: Kernel, enclave: EnclaveFile): KernelResult<EpcIndex> {
  if (enclave.secs !== undefined) return ok(enclave.secs);
  const target = kernel.reclaimer.allocate(enclave, undefined);
  if (target.kind !== 'ok') return target;
  const lost = readIn(kernel, enclave, enclave.evictedSecs!, target.value);
  if (lost) return lost;
  enclave.evictedSecs = undefined;
  enclave.secs = target.value;
  kernel.rememberSecs(target.value, enclave);
  return target;
}

/**
 * A page of ELRANGE, or the SECS when `secs` and `page` are left out.
 * EFAULT: ELDU failed. The page is lost then, for its sealed bytes are gone: every later attempt fails, too.
 */
function readIn(
  kernel: Kernel,
  enclave: EnclaveFile,
  handle: number,
  target: EpcIndex,
  secs?: EpcIndex,
  page?: LinPage,
): Failure | undefined {
  const { sealed, pcmd, vaSlotId } = kernel.backing.read(handle);
  const va = enclave.versionArrays.find(vaSlotId);
  const operands = { linAddr: page === undefined ? 0 : addressOf(page), srcPage: sealed, pcmd, secs };
  const result =
    kernel.injections?.leaf('ELDU', enclave, page) ?? eldu(kernel.processor, operands, target, va.page, va.slot);
  if (result.kind !== 'ok') {
    sealed.fill(0);
    pcmd.fill(0);
    kernel.epc.give(target);
    return fail(Errno.EFAULT, result.why);
  }
  enclave.versionArrays.freeSlot(va);
  kernel.backing.free(handle);
  return undefined;
}
