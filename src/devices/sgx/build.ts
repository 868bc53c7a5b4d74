/**
 * Building an enclave as the drivers of 2018 did: the SECS and each TCS are checked by the driver, pages come one by one
 * with a mask of what to measure, and INIT returns EINIT's code as its value. Whatever struct the argument came in.
 * Source: sgx_encl_create, sgx_encl_add_page, sgx_encl_init in drivers/platform/x86/intel_sgx/sgx_encl.c, v17, 2018
 *
 * Model: pages are added before ADD_PAGE returns. Those drivers put them into a queue; an EADD that failed there showed
 * in INIT, as a wrong measurement.
 */
import { PageType, SecInfo, SecInfoFlags, Secs, SigStruct, Tcs, TcsFlags } from '../../abi/sgx-arch.ts';
import { Errno } from '../../lib/errno.ts';
import type { StructOf } from '../../lib/layout.ts';
import { fail, ok, why, type Failure, type KernelResult } from '../../lib/outcome.ts';
import { linPage, PAGE_SIZE_BYTES, pageOf } from '../../lib/units.ts';
import { addPage, checkPermitted, createEnclave, tryEinit } from '../../kernel/build.ts';
import type { EnclaveFile } from '../../kernel/enclave.ts';
import type { IoctlCall, IoctlResult } from '../dispatch.ts';
import { checkSecInfo, pageKind } from '../sgx-enclave/add-pages.ts';
import { checkBuilding, hex } from '../sgx-enclave/checks.ts';

const PAGE = BigInt(PAGE_SIZE_BYTES);
/** FSLIMIT and GSLIMIT end in these bits. */
const LIMIT_BITS = 0xfff;

/** The SECS that CREATE's argument points to. EFAULT. */
export function readSecs<F>(call: IoctlCall<F>, src: bigint): KernelResult<Uint8Array> {
  const secs = call.read(src, Secs.sizeBytes, 'the SECS');
  if (secs.kind === 'ok') call.show(Secs, secs.value);
  return secs;
}

/** EINVAL: anything in the SECS that ECREATE would fault on. ENOMEM, ERESTARTSYS: no EPC. */
export function create<F>(call: IoctlCall<F>, enclave: EnclaveFile, secs: Uint8Array): KernelResult {
  const created = createEnclave(enclave, secs, call.signalPending);
  enclave.kernel.reclaimer.balance();
  return created.kind === 'errno' && created.errno === Errno.EIO ? fail(Errno.EINVAL, created.why) : created;
}

export interface AddedPage {
  readonly addr: bigint;
  readonly src: bigint;
  readonly secInfo: bigint;
  readonly mrMask: number;
}

/**
 * EINVAL: the address is not that of a page. EFAULT: SECINFO or source cannot be read. EINVAL: SECINFO, or a TCS; not
 * created, or initialized; outside the enclave. ENOMEM, ERESTARTSYS: no EPC. EEXIST: there is a page. EFAULT: EADD or
 * EEXTEND faulted.
 */
export function add<F>(call: IoctlCall<F>, enclave: EnclaveFile, page: AddedPage): KernelResult {
  const { addr, src, mrMask } = page;
  if (addr % PAGE !== 0n) {
    const advice =
      addr < 0x1_0000n
        ? call.advice?.otherArgument(call.mm.port.pid, `names a descriptor (${addr}) where the page's address stands`, [
            'draft-2018',
          ])
        : undefined;
    return fail(Errno.EINVAL, why('addr is page-aligned', 'a multiple of 0x1000', hex(addr), advice));
  }
  const secInfo = call.read(page.secInfo, SecInfo.sizeBytes, 'the SECINFO');
  if (secInfo.kind !== 'ok') return secInfo;
  call.show(SecInfo, secInfo.value);
  const bytes = call.read(src, PAGE_SIZE_BYTES, 'the source page');
  if (bytes.kind !== 'ok') return bytes;
  const kind = pageKind(secInfo.value, mrMask);
  const refused =
    checkPageSecInfo(secInfo.value, kind.type) ??
    (kind.type === PageType.TCS ? checkTcs(enclave, bytes.value) : undefined) ??
    checkBuilding(enclave) ??
    checkInside(enclave, addr);
  if (refused) return refused;
  const at = pageOf(Number(addr));
  const added = addPage(enclave, at, kind, () => ok(bytes.value), call.signalPending);
  enclave.kernel.reclaimer.balance();
  if (added.kind === 'ok') enclave.refresh(at, linPage(at + 1));
  else if (added.errno === Errno.EBUSY) return fail(Errno.EEXIST, added.why);
  else if (added.errno === Errno.EIO) return fail(Errno.EFAULT, added.why);
  return added;
}

/** The drivers of 2018 let a TCS have R, W and X, which EADD clears. */
function checkPageSecInfo(secInfo: Uint8Array, type: PageType): Failure | undefined {
  if (type !== PageType.TCS) return checkSecInfo(secInfo);
  const bytes = secInfo.slice();
  const { R, W, X } = SecInfoFlags.mask;
  const view = SecInfo.view(bytes);
  if ((view.flags & W) !== 0n && (view.flags & R) === 0n) return checkSecInfo(secInfo);
  view.flags &= ~(R | W | X);
  return checkSecInfo(bytes);
}

function checkTcs({ sizeBytes }: EnclaveFile, bytes: Uint8Array): Failure | undefined {
  const tcs = Tcs.decode(bytes);
  const refuse = (check: string, expected: string, found: number | bigint): Failure =>
    fail(Errno.EINVAL, why(check, expected, hex(found)));
  if (tcs.flags !== 0n) return refuse('TCS.FLAGS is 0', TcsFlags.format(0n), tcs.flags);
  for (const [name, offset] of offsetsOf(tcs)) {
    if (offset % PAGE !== 0n || offset >= BigInt(sizeBytes)) {
      return refuse(`TCS.${name} is that of a page in the enclave`, `below ${hex(sizeBytes)}`, offset);
    }
  }
  for (const [name, limit] of [['FSLIMIT', tcs.fsLimit] as const, ['GSLIMIT', tcs.gsLimit] as const]) {
    if ((limit & LIMIT_BITS) !== LIMIT_BITS) return refuse(`TCS.${name} ends with a page`, '0x..fff', limit);
  }
  const dirty = Tcs.firstNonzeroReserved(bytes);
  return dirty && fail(Errno.EINVAL, why('TCS reserved bytes are zero', '0', `byte ${dirty.offset} is not`));
}

function offsetsOf({ ossa, ofsBase, ogsBase }: StructOf<typeof Tcs>): readonly (readonly [string, bigint])[] {
  return [
    ['OSSA', ossa],
    ['OFSBASE', ofsBase],
    ['OGSBASE', ogsBase],
  ];
}

/** EINVAL. */
export function checkInside(enclave: EnclaveFile, addr: bigint): Failure | undefined {
  const { base, sizeBytes } = enclave;
  if (addr >= BigInt(base) && addr < BigInt(base + sizeBytes)) return undefined;
  return fail(Errno.EINVAL, why('the address is in the enclave', `${hex(base)}-${hex(base + sizeBytes)}`, hex(addr)));
}

/**
 * The value of a refusal by EINIT is its SGX code.
 * EFAULT: the SIGSTRUCT cannot be read. EINVAL: not created. EACCES: an attribute without permission. ERESTARTSYS: a
 * signal. EFAULT: EINIT faulted. 0 also when it was initialized before.
 */
export function* init<F>(
  call: IoctlCall<F>,
  enclave: EnclaveFile,
  sigStructAddress: bigint,
): Generator<void, IoctlResult> {
  const sigStruct = call.read(sigStructAddress, SigStruct.sizeBytes, 'the SIGSTRUCT');
  if (sigStruct.kind !== 'ok') return sigStruct;
  if (!enclave.created) return checkBuilding(enclave)!;
  const forbidden = checkPermitted(enclave);
  if (forbidden) return forbidden;
  if (enclave.initialized) return ok();
  const result = yield* tryEinit(enclave, sigStruct.value, call.signalPending);
  return result.kind === 'fault' ? fail(Errno.EFAULT, result.why) : result;
}
