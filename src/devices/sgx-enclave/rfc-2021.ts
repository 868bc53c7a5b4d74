/**
 * The SGX2 commands as first proposed: SGX_IOC_PAGE_MODP, MODT and REMOVE. Checks come in the order of page-changes.ts.
 * What differs: MODP goes both ways within what a page was added with, and page table entries follow it; a range that
 * wraps around 2^64 passes the checks and fails at its first page.
 * Source: "[PATCH 11/25], [PATCH 16/25], [PATCH 17/25]" of the SGX2 series, V1, 1 Dec 2021
 */
import { PageType, pageTypeName, SecInfoFlags } from '../../abi/sgx-arch.ts';
import { PageModp, PageModt, PageRemove } from '../../abi/sgx-uapi/rfc-2021.ts';
import { Errno } from '../../lib/errno.ts';
import { fail, why, type KernelResult } from '../../lib/outcome.ts';
import { changePageType, removePage, setPageRights } from '../../kernel/change.ts';
import type { EnclaveFile } from '../../kernel/enclave.ts';
import { RWX } from '../../kernel/protection.ts';
import type { IoctlCall } from '../dispatch.ts';
import { checkOffsetLengthV1, hex } from './checks.ts';
import { changeRange, checkOutputsZero, copyInRange } from './page-changes.ts';

const PAGE_TYPE_MASK = 0xffn;
const { R, W } = SecInfoFlags.mask;

type Call = IoctlCall<EnclaveFile>;
type Steps = Generator<void, KernelResult>;

/**
 * EINVAL: rights beyond R, W, X, or W without R.
 * Per page: EFAULT: no such page; EMODPR refused, with its code. EINVAL: not PT_REG. EPERM: more than it was added with.
 */
export function* modp(call: Call): Steps {
  const argument = copyInRange(call, PageModp, checkOffsetLengthV1);
  if (argument.kind !== 'ok') return argument;
  const { prot, result, count } = argument.value;
  if ((prot & ~BigInt(RWX)) !== 0n) {
    return fail(Errno.EINVAL, why('prot is R, W and X', 'no other bits', hex(prot)));
  }
  if ((prot & W) !== 0n && (prot & R) === 0n) {
    return fail(Errno.EINVAL, why('prot has R where it has W', 'R|W', SecInfoFlags.format(prot)));
  }
  const notZero = checkOutputsZero({ result, count });
  if (notZero) return notZero;
  return yield* changeRange(call, PageModp, argument.value, (page) => setPageRights(call.file, page, Number(prot)));
}

/**
 * EINVAL: type is no type.
 * After the checks of `result` and `count`, with the struct written back: EINVAL: neither PT_TCS nor PT_TRIM.
 * Per page: as SGX_IOC_ENCLAVE_MODIFY_TYPES.
 */
export function* modt(call: Call): Steps {
  const argument = copyInRange(call, PageModt, checkOffsetLengthV1);
  if (argument.kind !== 'ok') return argument;
  const { type, result, count } = argument.value;
  if ((type & ~PAGE_TYPE_MASK) !== 0n) return fail(Errno.EINVAL, why('type is a page type', 'at most 0xff', hex(type)));
  const notZero = checkOutputsZero({ result, count });
  if (notZero) return notZero;
  const pageType = Number(type) as PageType;
  if (pageType !== PageType.TCS && pageType !== PageType.TRIM) {
    const refused = fail(Errno.EINVAL, why('type', 'PT_TCS or PT_TRIM', pageTypeName(pageType)));
    return call.copyOut(PageModt, argument.value) ?? refused;
  }
  return yield* changeRange(call, PageModt, argument.value, (page) => changePageType(call.file, page, pageType));
}

/** Per page: EFAULT: no such page. EPERM: not trimmed, or the enclave has not accepted that. */
export function* remove(call: Call): Steps {
  const argument = copyInRange(call, PageRemove, checkOffsetLengthV1);
  if (argument.kind !== 'ok') return argument;
  const notZero = checkOutputsZero({ count: argument.value.count });
  if (notZero) return notZero;
  return yield* changeRange(call, PageRemove, argument.value, (page) => removePage(call.file, page));
}
