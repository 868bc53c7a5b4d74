/**
 * SGX_IOC_ENCLAVE_ADD_PAGES
 * Source: sgx_ioc_enclave_add_pages, sgx_validate_secinfo, __sgx_encl_add_page in arch/x86/kernel/cpu/sgx/ioctl.c
 */
import { PageType, pageTypeName, SecInfo, SecInfoFlags } from '../../abi/sgx-arch.ts';
import { AddPagesFlags, EnclaveAddPages, SGX_SECINFO_RESERVED_MASK } from '../../abi/sgx-uapi.ts';
import { Errno } from '../../lib/errno.ts';
import { fail, ok, why, type Failure, type KernelResult } from '../../lib/outcome.ts';
import {
  linPage,
  PAGE_SIZE_BYTES,
  pageOf,
  toUserAddr,
  USER_ADDRESS_END,
  userAddr,
  type LinPage,
} from '../../lib/units.ts';
import { addPage, WHOLE_PAGE, type PageKind } from '../../kernel/build.ts';
import type { EnclaveFile } from '../../kernel/enclave.ts';
import { RWX } from '../../kernel/protection.ts';
import type { IoctlCall } from '../dispatch.ts';
import { checkBuilding, checkOffsetLength, hex } from './checks.ts';

/** Pages between two yields: a few hundred microseconds of hashing, or of copying where nothing is measured. */
const SLICE_PAGES = { measured: 64, unmeasured: 128 };
const { R, W, X } = SecInfoFlags.bit;

/**
 * EINVAL: not created, or initialized before.
 * EFAULT: the argument cannot be read.
 * EINVAL: src, offset or length.
 * EFAULT: the SECINFO cannot be read.
 * EINVAL: the SECINFO.
 * Then per page, with `count` telling how many bytes were added, and the struct written back (EFAULT if it cannot be):
 * ERESTARTSYS: a signal before the first page; later ones end the call with success.
 * ENOMEM: no EPC. ERESTARTSYS: a signal while evicting.
 * EBUSY: there is a page already.
 * EFAULT: no mapping at the source or above. EACCES: the source may not be executable. EFAULT: it cannot be read, or
 * is enclave memory.
 * EIO: EADD or EEXTEND faulted.
 */
export function* addPages(call: IoctlCall<EnclaveFile>): Generator<void, KernelResult> {
  const { file } = call;
  const notBuilding = checkBuilding(file);
  if (notBuilding) return notBuilding;
  const argument = call.copyIn(EnclaveAddPages);
  if (argument.kind !== 'ok') return argument;
  const { src, offset, length, secInfo: secInfoAddress, flags } = argument.value;
  if (src % BigInt(PAGE_SIZE_BYTES) !== 0n) {
    return fail(Errno.EINVAL, why('src is page-aligned', 'a multiple of 0x1000', hex(src)));
  }
  const badRange = checkOffsetLength(file, offset, length);
  if (badRange) return badRange;
  const secInfo = call.read(secInfoAddress, SecInfo.sizeBytes, 'the SECINFO');
  if (secInfo.kind !== 'ok') return secInfo;
  call.show(SecInfo, secInfo.value);
  const badSecInfo = checkSecInfo(secInfo.value);
  if (badSecInfo) return badSecInfo;

  const measured = (flags & AddPagesFlags.mask.SGX_PAGE_MEASURE) === 0n ? 0 : WHOLE_PAGE;
  const kind = pageKind(secInfo.value, measured);
  const range = { src, firstPage: Number(offset) / PAGE_SIZE_BYTES, pages: Number(length) / PAGE_SIZE_BYTES };
  const { done, result } = yield* addRange(call, kind, range);
  const count = BigInt(done * PAGE_SIZE_BYTES);
  const notWritten = call.copyOut(EnclaveAddPages, { ...argument.value, count });
  return notWritten ?? result;
}

/** EINVAL. Source: sgx_validate_secinfo. */
export function checkSecInfo(bytes: Uint8Array): Failure | undefined {
  const { flags } = SecInfo.view(bytes);
  const refuse = (check: string, expected: string): Failure =>
    fail(Errno.EINVAL, why(check, expected, SecInfoFlags.format(flags)));
  const type = SecInfoFlags.extract(flags, 'PT');
  if (type !== PageType.REG && type !== PageType.TCS) {
    return fail(Errno.EINVAL, why('SECINFO.FLAGS.PT', 'PT_REG or PT_TCS', pageTypeName(type)));
  }
  const rights = Number(flags & 7n);
  if ((rights & W) !== 0 && (rights & R) === 0) return refuse('SECINFO.FLAGS.R is set where W is', 'R|W');
  if (type === PageType.TCS && rights !== 0) return refuse('SECINFO.FLAGS of a TCS has no R, W, X', 'PT=TCS alone');
  if ((flags & SGX_SECINFO_RESERVED_MASK) !== 0n) return refuse('SECINFO.FLAGS has only R, W, X and PT', 'no others');
  const dirty = SecInfo.firstNonzeroReserved(bytes);
  if (dirty) return fail(Errno.EINVAL, why('SECINFO reserved bytes are zero', '0', `byte ${dirty.offset} is not`));
  return undefined;
}

export function pageKind(secInfo: Uint8Array, measured: number): PageKind {
  const secInfoFlags = SecInfo.view(secInfo).flags;
  const type = SecInfoFlags.extract(secInfoFlags, 'PT') as PageType;
  return {
    secInfo,
    type,
    // The kernel itself sees a TCS as readable and writable.
    maxProt: type === PageType.TCS ? R | W : Number(secInfoFlags) & (R | W | X) & RWX,
    measured,
  };
}

interface SourceRange {
  readonly src: bigint;
  /** Relative to the enclave's base. */
  readonly firstPage: number;
  readonly pages: number;
}

function* addRange(
  call: IoctlCall<EnclaveFile>,
  kind: PageKind,
  range: SourceRange,
): Generator<void, { done: number; result: KernelResult }> {
  const { contents, reclaimer } = call.file.kernel;
  const slicePages = kind.measured !== 0 ? SLICE_PAGES.measured : SLICE_PAGES.unmeasured;
  for (let done = 0; done < range.pages;) {
    if (done > 0) yield;
    const buffer = contents.lend(Math.min(slicePages, range.pages - done));
    const pages = buffer.length / PAGE_SIZE_BYTES;
    const slice = addSlice(call, kind, range, done, buffer);
    reclaimer.balance();
    done += slice.done;
    if (slice.done < pages || slice.result.kind !== 'ok') return { done, result: slice.result };
  }
  return { done: range.pages, result: ok() };
}

/** Adds the pages that fit `buffer`; fewer with success when a signal is pending. */
function addSlice(
  call: IoctlCall<EnclaveFile>,
  kind: PageKind,
  { src, firstPage }: SourceRange,
  before: number,
  buffer: Uint8Array,
): { done: number; result: KernelResult } {
  const { file } = call;
  const pages = buffer.length / PAGE_SIZE_BYTES;
  const first = linPage(file.basePage + firstPage + before);
  const source = sourcePages(call, first, src + BigInt(before * PAGE_SIZE_BYTES), buffer);
  let done = 0;
  let result: KernelResult = ok();
  for (; done < pages; done++) {
    if (call.signalPending()) {
      if (before + done === 0) {
        result = fail(Errno.ERESTARTSYS, why('no signal is pending before the first page', 'none', 'one'));
      }
      break;
    }
    const interrupted = file.kernel.injections?.errno('signal', file, linPage(first + done));
    if (interrupted) {
      // As a signal whose handler was installed without SA_RESTART.
      if (before + done === 0) result = interrupted;
      break;
    }
    result = addPage(file, linPage(first + done), kind, source, call.signalPending);
    if (result.kind !== 'ok') break;
  }
  if (done > 0) file.refresh(first, first + done);
  return { done, result };
}

/** Fills `buffer` with what there is at `src`; the result gives each of its pages, `first` being there, or an error. */
function sourcePages(
  call: IoctlCall<EnclaveFile>,
  first: LinPage,
  src: bigint,
  buffer: Uint8Array,
): (page: LinPage) => KernelResult<Uint8Array> {
  const { port } = call.mm;
  const readable = call.readSome(src, buffer);
  const start = toUserAddr(src) ?? USER_ADDRESS_END;
  return (page) => {
    const at = (page - first) * PAGE_SIZE_BYTES;
    const mayExec = start + at < USER_ADDRESS_END ? port.mayExec(userAddr(start + at)) : undefined;
    if (mayExec !== true) return unsuitable(mayExec, src + BigInt(at));
    // get_user_pages takes nothing from VM_IO and VM_PFNMAP.
    if (call.mm.vmaAt(pageOf(start + at))) {
      return fail(Errno.EFAULT, why('the source is ordinary memory', 'no enclave', hex(src + BigInt(at))));
    }
    if (at + PAGE_SIZE_BYTES <= readable) return ok(buffer.subarray(at, at + PAGE_SIZE_BYTES));
    return fail(Errno.EFAULT, why('the source page can be read', 'a readable page', hex(src + BigInt(at))));
  };
}

/** The source's mapping, or the next above a gap, has to be one that may be executed: none of a noexec file system. */
function unsuitable(mayExec: false | undefined, address: bigint): Failure {
  if (mayExec === undefined) {
    return fail(Errno.EFAULT, why('something is mapped at the source or above', 'a mapping', hex(address)));
  }
  return fail(
    Errno.EACCES,
    why('the source may be executable', 'a file system without noexec', `noexec at ${hex(address)}`),
  );
}
