/**
 * The SGX2 commands: SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, MODIFY_TYPES, REMOVE_PAGES. No signal ends them.
 *
 * Common, in this order. ENODEV: no SGX2. EINVAL: not initialized. EFAULT: the argument cannot be read. EINVAL: offset or
 * length; the command's own argument; a nonzero `result` or `count`. Then page by page, with `count` telling how many
 * bytes were done, `result` the SGX code of the page that failed, and the struct written back (EFAULT if it cannot be).
 * Source: arch/x86/kernel/cpu/sgx/ioctl.c
 *
 * Model: no EAGAIN, nor EBUSY of REMOVE_PAGES, which Linux has for a page that it is just evicting and for a moment
 * without free EPC: here eviction has ended before anything else goes on, and makes room at once. They can be injected.
 */
import { PageType, pageTypeName, SecInfoFlags } from '../../abi/sgx-arch.ts';
import { EnclaveModifyTypes, EnclaveRemovePages, EnclaveRestrictPermissions } from '../../abi/sgx-uapi.ts';
import { Errno } from '../../lib/errno.ts';
import type { Layout, StructOf } from '../../lib/layout.ts';
import { fail, ok, why, type Failure, type KernelResult } from '../../lib/outcome.ts';
import { linPage, PAGE_SIZE_BYTES, type LinPage } from '../../lib/units.ts';
import { changePageType, removePage, restrictPage, type ChangeResult } from '../../kernel/change.ts';
import type { EnclaveFile } from '../../kernel/enclave.ts';
import { RWX } from '../../kernel/protection.ts';
import type { IoctlCall } from '../dispatch.ts';
import { checkOffsetLength, checkSgx2Ready, hex } from './checks.ts';

const SLICE_PAGES = 128;
const PAGE_TYPE_MASK = 0xffn;
const { R, W } = SecInfoFlags.mask;

type Call = IoctlCall<EnclaveFile>;
type Steps = Generator<void, KernelResult>;

/**
 * EINVAL: permissions beyond R, W, X, or W without R.
 * Per page: EFAULT: no such page; EMODPR refused, with its code. EINVAL: not PT_REG.
 */
export function* restrictPermissions(call: Call): Steps {
  const argument = copyInRange(call, EnclaveRestrictPermissions);
  if (argument.kind !== 'ok') return argument;
  const { permissions, result, count } = argument.value;
  if ((permissions & ~BigInt(RWX)) !== 0n) {
    return fail(Errno.EINVAL, why('permissions are R, W and X', 'no other bits', hex(permissions)));
  }
  if ((permissions & W) !== 0n && (permissions & R) === 0n) {
    return fail(Errno.EINVAL, why('permissions have R where they have W', 'R|W', SecInfoFlags.format(permissions)));
  }
  const notZero = checkOutputsZero({ result, count });
  if (notZero) return notZero;
  const change = (page: LinPage): ChangeResult => restrictPage(call.file, page, Number(permissions));
  return yield* changeRange(call, EnclaveRestrictPermissions, argument.value, change);
}

/**
 * EINVAL: page_type is no type.
 * After the checks of `result` and `count`, with the struct written back: EINVAL: neither PT_TCS nor PT_TRIM.
 * Per page: EFAULT: no such page; EMODT refused, with its code. EINVAL: the page cannot become that.
 * EPERM: a page to become a TCS was added without R or W.
 */
export function* modifyTypes(call: Call): Steps {
  const argument = copyInRange(call, EnclaveModifyTypes);
  if (argument.kind !== 'ok') return argument;
  const { pageType, result, count } = argument.value;
  if ((pageType & ~PAGE_TYPE_MASK) !== 0n) {
    return fail(Errno.EINVAL, why('page_type is a page type', 'at most 0xff', hex(pageType)));
  }
  const notZero = checkOutputsZero({ result, count });
  if (notZero) return notZero;
  const type = Number(pageType) as PageType;
  if (type !== PageType.TCS && type !== PageType.TRIM) {
    const refused = fail(Errno.EINVAL, why('page_type', 'PT_TCS or PT_TRIM', pageTypeName(type)));
    return call.copyOut(EnclaveModifyTypes, argument.value) ?? refused;
  }
  return yield* changeRange(call, EnclaveModifyTypes, argument.value, (page) => changePageType(call.file, page, type));
}

/** Per page: EFAULT: no such page. EPERM: not trimmed, or the enclave has not accepted that. */
export function* removePages(call: Call): Steps {
  const argument = copyInRange(call, EnclaveRemovePages);
  if (argument.kind !== 'ok') return argument;
  const { count } = argument.value;
  const notZero = checkOutputsZero({ count });
  if (notZero) return notZero;
  return yield* changeRange(call, EnclaveRemovePages, argument.value, (page) => removePage(call.file, page));
}

interface Range {
  readonly offset: bigint;
  readonly length: bigint;
}

/** The checks that all have in common; `checkRange` where offset and length were once checked otherwise. */
export function copyInRange<L extends Layout>(
  call: Call,
  layout: L,
  checkRange: typeof checkOffsetLength = checkOffsetLength,
): KernelResult<StructOf<L>> {
  const notReady = checkSgx2Ready(call.file);
  if (notReady) return notReady;
  const argument = call.copyIn(layout);
  if (argument.kind !== 'ok') return argument;
  const { offset, length } = argument.value as unknown as Range;
  return checkRange(call.file, offset, length) ?? argument;
}

export function checkOutputsZero(outputs: Readonly<Record<string, bigint>>): Failure | undefined {
  for (const [name, value] of Object.entries(outputs)) {
    if (value !== 0n) return fail(Errno.EINVAL, why(`${name} is an output and has to be 0`, '0', hex(value)));
  }
  return undefined;
}

/** @param argument of `layout`, which begins with offset and length */
export function* changeRange(
  call: Call,
  layout: Layout,
  argument: Range,
  change: (page: LinPage) => ChangeResult,
): Steps {
  const { file, mm } = call;
  const first = file.basePage + Number(argument.offset) / PAGE_SIZE_BYTES;
  const pages = Number(argument.length) / PAGE_SIZE_BYTES;
  let done = 0;
  let outcome: ChangeResult = ok();
  while (done < pages && outcome.kind === 'ok') {
    if (done > 0) yield;
    const sliceStart = done;
    const sliceEnd = Math.min(pages, done + SLICE_PAGES);
    while (done < sliceEnd) {
      outcome = change(linPage(first + done));
      if (outcome.kind !== 'ok') break;
      done++;
    }
    const changedEnd = done + (outcome.kind === 'errno' && 'changed' in outcome && outcome.changed ? 1 : 0);
    if (changedEnd > sliceStart) file.cutRights(first + sliceStart, first + changedEnd, mm);
    file.kernel.reclaimer.balance();
  }
  const code = outcome.kind === 'errno' && 'code' in outcome ? BigInt(outcome.code) : 0n;
  const outputs = { ...argument, count: BigInt(done * PAGE_SIZE_BYTES), ...(code !== 0n && { result: code }) };
  return call.copyOut(layout, outputs) ?? outcome;
}
