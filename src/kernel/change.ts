/**
 * Changing the pages of a running enclave, one at a time: EMODPR, EMODT, EREMOVE and what the driver checks around them.
 * Source: arch/x86/kernel/cpu/sgx/ioctl.c
 */
import { PageType, pageTypeName, SecInfo } from '../abi/sgx-arch.ts';
import { Errno } from '../lib/errno.ts';
import { fail, ok, why, type Failure, type KernelResult, type LeafResult } from '../lib/outcome.ts';
import { addressOf, type EpcIndex, type LinPage } from '../lib/units.ts';
import { emodpr } from '../processor/encls/emodpr.ts';
import { emodt } from '../processor/encls/emodt.ts';
import type { EnclaveFile } from './enclave.ts';
import { maxProtOf, typeOf } from './page-table.ts';
import { loadPage } from './paging.ts';
import { RWX } from './protection.ts';

/** What becomes of a page whose leaf was reached. */
export interface ChangeFailure extends Failure {
  /** The SGX code that goes into `result`; 0: none. */
  readonly code: number;
  /** The leaf had done its work; what came after it failed. */
  readonly changed: boolean;
}
export type ChangeResult = KernelResult | ChangeFailure;

const RW = 3;
/** SECINFO operands by flags: the same few for millions of pages. */
const secInfos = new Map<number, Uint8Array>();

/**
 * Leaves the page only those of its rights that are in `permissions`; the enclave has to EACCEPT.
 * EFAULT: no such page, or EMODPR refused (then with its code). EINVAL: not PT_REG. EFAULT: ETRACK failed.
 */
export function restrictPage(file: EnclaveFile, page: LinPage, permissions: number): ChangeResult {
  const loaded = load(file, page);
  if (loaded.kind !== 'ok') return loaded;
  const { type } = recorded(file, page);
  if (type !== PageType.REG) {
    return fail(Errno.EINVAL, why('the page is PT_REG', 'PT_REG', `${pageTypeName(type)} at ${hex(page)}`));
  }
  return refused(restrict(file, page, permissions, loaded.value)) ?? track(file);
}

/**
 * As SGX_IOC_PAGE_MODP of rfc-2021: EMODPR, which changes nothing where the page is to have what EMODPE gave it, and page
 * table entries that follow.
 * EFAULT: no such page, or EMODPR refused (then with its code). EINVAL: not PT_REG. EPERM: more than it was added with.
 */
export function setPageRights(file: EnclaveFile, page: LinPage, rights: number): ChangeResult {
  const loaded = load(file, page);
  if (loaded.kind !== 'ok') return loaded;
  const { type, maxProt } = recorded(file, page);
  if (type !== PageType.REG) {
    return fail(Errno.EINVAL, why('the page is PT_REG', 'PT_REG', `${pageTypeName(type)} at ${hex(page)}`));
  }
  if ((rights & ~maxProt) !== 0) {
    return fail(
      Errno.EPERM,
      why('the rights are within what the page was added with', `rights ${maxProt}`, `${rights} at ${hex(page)}`),
    );
  }
  const changed = refused(restrict(file, page, rights, loaded.value)) ?? track(file);
  if (changed.kind === 'ok') file.setRunning(page, rights);
  return changed;
}

/**
 * Makes the page a TCS, or trims it; the enclave has to EACCEPT.
 * EFAULT: no such page, or EMODT refused (then with its code). EINVAL: only PT_REG becomes PT_TCS, and only that or
 * PT_TCS becomes PT_TRIM. EPERM: a page to become a TCS was added without R or W. EFAULT: ETRACK failed.
 */
export function changePageType(file: EnclaveFile, page: LinPage, newType: PageType): ChangeResult {
  const loaded = load(file, page);
  if (loaded.kind !== 'ok') return loaded;
  const { type, maxProt } = recorded(file, page);
  if (type !== PageType.REG && !(type === PageType.TCS && newType === PageType.TRIM)) {
    return fail(
      Errno.EINVAL,
      why('PT_REG, or PT_TCS to be trimmed', 'such a page', `${pageTypeName(type)} at ${hex(page)}`),
    );
  }
  if (newType === PageType.TCS && (maxProt & RW) !== RW) {
    return fail(
      Errno.EPERM,
      why('a page that becomes a TCS was added with R and W', 'R and W', `rights ${maxProt} at ${hex(page)}`),
    );
  }
  const { processor, injections } = file.kernel;
  if (newType === PageType.TCS) {
    const busy = injections?.errno('unmark', file, page);
    if (busy) return fail(Errno.EAGAIN, busy.why);
  }
  const notChanged = refused(
    injections?.leaf('EMODT', file, page) ?? emodt(processor, secInfo(newType << 8), loaded.value),
  );
  if (notChanged) return notChanged;
  // A TCS is never anything else again, but the kernel itself sees it as RW.
  if (newType === PageType.TCS) {
    file.pages.setMaxProt(page, RW);
    file.clearRunning(page);
  }
  const tracked = track(file);
  if (tracked.kind === 'ok') file.pages.setType(page, newType);
  return tracked;
}

/**
 * Removes a trimmed and accepted page; the next touch of its address gets a new one.
 * EFAULT: no such page. EPERM: not trimmed, or the enclave has not accepted it.
 */
export function removePage(file: EnclaveFile, page: LinPage): ChangeResult {
  const loaded = load(file, page);
  if (loaded.kind !== 'ok') return loaded;
  const { type } = recorded(file, page);
  if (type !== PageType.TRIM) {
    return fail(Errno.EPERM, why('the page is PT_TRIM', 'PT_TRIM', `${pageTypeName(type)} at ${hex(page)}`));
  }
  // EMODPR changes nothing here: it faults on an accepted PT_TRIM page and gives a code before. An injected fault accepts nothing.
  const probe = restrict(file, page, RWX, loaded.value);
  if (probe.kind !== 'fault' || probe.vector !== 14 || file.kernel.processor.epcm.modified(loaded.value)) {
    return fail(
      Errno.EPERM,
      why('the enclave has accepted the trim', 'EACCEPT of PT_TRIM|MODIFIED', `not accepted at ${hex(page)}`),
    );
  }
  const busy = file.kernel.injections?.errno('unmark', file, page);
  if (busy) return busy;
  file.pages.delete(page);
  file.clearRunning(page);
  file.shrink(false);
  file.giveBack(loaded.value);
  return ok();
}

function load(file: EnclaveFile, page: LinPage): KernelResult<EpcIndex> {
  file.kernel.reclaimer.reclaimDirect();
  const injected = file.kernel.injections?.errno('load', file, page);
  if (injected) return injected.errno === Errno.EBUSY ? fail(Errno.EAGAIN, injected.why) : injected;
  const loaded = loadPage(file.kernel, file, page);
  if (loaded === undefined) {
    return fail(Errno.EFAULT, why('the page is in the enclave', 'a page that was added', `none at ${hex(page)}`));
  }
  // Whatever kept the page from being loaded, these ioctls say EFAULT.
  return loaded.kind === 'ok' ? loaded : fail(Errno.EFAULT, loaded.why);
}

function restrict(file: EnclaveFile, page: LinPage, permissions: number, epcPage: EpcIndex): LeafResult {
  const { processor, injections } = file.kernel;
  return injections?.leaf('EMODPR', file, page) ?? emodpr(processor, secInfo(permissions), epcPage);
}

function refused(result: LeafResult): ChangeFailure | undefined {
  if (result.kind === 'ok') return undefined;
  return { ...fail(Errno.EFAULT, result.why), code: result.kind === 'code' ? result.code : 0, changed: false };
}

/**
 * Tracking after a change, so that the enclave can accept it as soon as the ioctl returns. Where that fails the page has
 * changed all the same, and is not counted.
 */
function track(file: EnclaveFile): ChangeResult {
  const failed = file.track();
  return failed ? { ...failed, code: 0, changed: true } : ok();
}

function recorded(file: EnclaveFile, page: LinPage): { type: PageType; maxProt: number } {
  const { flags } = file.pages.get(page)!;
  return { type: typeOf(flags), maxProt: maxProtOf(flags) };
}

function secInfo(flags: number): Uint8Array {
  let bytes = secInfos.get(flags);
  if (bytes === undefined) secInfos.set(flags, (bytes = SecInfo.encode({ flags: BigInt(flags) })));
  return bytes;
}

const hex = (page: LinPage): string => `0x${addressOf(page).toString(16)}`;
