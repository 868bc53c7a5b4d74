/**
 * Building an enclave: ECREATE, EADD with EEXTEND, EINIT, and what the driver checks around them.
 * Source: arch/x86/kernel/cpu/sgx/ioctl.c
 */
import {
  Attributes,
  EinitToken,
  MiscSelect,
  type PageType,
  Secs,
  SgxCode,
  sgxCodeName,
  SigStruct,
  Xfrm,
} from '../abi/sgx-arch.ts';
import { SGX_ATTR_RESERVED_MASK, SGX_ATTR_UNPRIV_MASK, SGX_MISC_RESERVED_MASK } from '../abi/sgx-uapi.ts';
import { isPowerOfTwo } from '../lib/bytes.ts';
import { Errno } from '../lib/errno.ts';
import { fail, ok, why, type Failure, type KernelResult, type LeafResult } from '../lib/outcome.ts';
import { addressOf, PAGE_SIZE_BYTES, type EpcIndex, type LinPage } from '../lib/units.ts';
import { eadd } from '../processor/encls/eadd.ts';
import { ecreate } from '../processor/encls/ecreate.ts';
import { eextend, eextendPage } from '../processor/encls/eextend.ts';
import { einit } from '../processor/encls/einit.ts';
import { EEXTEND_CHUNK_BYTES } from '../processor/measurement.ts';
import { mrSigner } from '../processor/sigstruct.ts';
import type { EnclaveFile } from './enclave.ts';

/** EINIT is tried so often in a row, and so many rows, while interrupts end it. */
const SGX_EINIT_SPIN_COUNT = 20;
const SGX_EINIT_SLEEP_COUNT = 50;
const CHUNKS = PAGE_SIZE_BYTES / EEXTEND_CHUNK_BYTES;
/** Larger files than this shmem does not make. */
const MAX_BACKING_BYTES = 1n << 63n;

type SignalPending = () => boolean;

/**
 * @param secsBytes 4096 bytes
 *
 * EINVAL: the size is no power of two, or larger than any file. ENOMEM: no EPC. ERESTARTSYS: a signal while evicting.
 * EIO: ECREATE faulted. Nothing remains of a failed attempt.
 */
export function createEnclave(file: EnclaveFile, secsBytes: Uint8Array, signalPending: SignalPending): KernelResult {
  const { kernel } = file;
  const secs = Secs.decode(secsBytes);
  if (!isPowerOfTwo(secs.size)) {
    return fail(Errno.EINVAL, why('SECS.SIZE is a power of two', 'a power of two', `0x${secs.size.toString(16)}`));
  }
  const grown = file.grow(signalPending);
  if (grown.kind !== 'ok') return grown;
  const made = makeSecs(file, secs.size, secsBytes, signalPending);
  if (made.kind !== 'ok') {
    file.shrink(grown.value);
    return made;
  }
  file.base = Number(secs.baseAddr);
  file.sizeBytes = Number(secs.size);
  file.attributes = secs.attributes;
  // Assigned, not added: a PROVISION before CREATE is lost.
  file.attributesMask = SGX_ATTR_UNPRIV_MASK;
  file.secs = made.value;
  file.created = true;
  kernel.rememberSecs(made.value, file);
  return ok();
}

function makeSecs(
  file: EnclaveFile,
  sizeBytes: bigint,
  secsBytes: Uint8Array,
  signalPending: SignalPending,
): KernelResult<EpcIndex> {
  const { kernel } = file;
  if (sizeBytes >= MAX_BACKING_BYTES) {
    return fail(
      Errno.EINVAL,
      why('the backing file is not too large', 'less than 2^63 bytes', `0x${sizeBytes.toString(16)}`),
    );
  }
  const page = kernel.reclaimer.allocate(file, undefined, signalPending);
  if (page.kind !== 'ok') return page;
  const operands = { linAddr: 0n, srcPage: secsBytes, secInfo: new Uint8Array(64), secs: 0n };
  const result = kernel.injections?.leaf('ECREATE', file) ?? ecreate(kernel.processor, operands, page.value);
  if (result.kind === 'ok') return page;
  kernel.epc.give(page.value);
  return fail(Errno.EIO, result.why);
}

/** What all pages of one ADD_PAGES have in common. */
export interface PageKind {
  /** 64 bytes, already checked. */
  readonly secInfo: Uint8Array;
  readonly type: PageType;
  /** vm_max_prot_bits. */
  readonly maxProt: number;
  /** Which of its sixteen chunks are measured, bit i the i-th. */
  readonly measured: number;
}

export const WHOLE_PAGE = 0xffff;

/**
 * Adds one page.
 * @param source a page's 4096 bytes, asked for when everything before has passed
 *
 * ENOMEM, ERESTARTSYS: as for CREATE. EBUSY: there is a page already. Errors of `source`. EIO: EADD or EEXTEND faulted.
 */
export function addPage(
  file: EnclaveFile,
  page: LinPage,
  kind: PageKind,
  source: (page: LinPage) => KernelResult<Uint8Array>,
  signalPending: SignalPending,
): KernelResult {
  const { kernel } = file;
  const target = kernel.reclaimer.allocate(file, page, signalPending);
  if (target.kind !== 'ok') return target;
  const grown = file.grow(signalPending);
  if (grown.kind !== 'ok') {
    kernel.epc.give(target.value);
    return grown;
  }
  const added = addTo(file, page, kind, source, target.value);
  if (added.kind === 'ok') return added;
  file.shrink(grown.value);
  file.giveBack(target.value);
  return added;
}

function addTo(
  file: EnclaveFile,
  page: LinPage,
  kind: PageKind,
  source: (page: LinPage) => KernelResult<Uint8Array>,
  target: EpcIndex,
): KernelResult {
  if (file.pages.has(page)) {
    return fail(
      Errno.EBUSY,
      why('no page was added at this address', 'a free address', `a page at 0x${addressOf(page).toString(16)}`),
    );
  }
  const bytes = source(page);
  if (bytes.kind !== 'ok') return bytes;
  const { kernel } = file;
  const { processor, injections } = kernel;
  const operands = { linAddr: addressOf(page), srcPage: bytes.value, secInfo: kind.secInfo, secs: file.secs! };
  const added = injections?.leaf('EADD', file, page) ?? eadd(processor, operands, target);
  if (added.kind !== 'ok') return fail(Errno.EIO, added.why);
  const extended = measure(file, page, target, kind.measured, bytes.value);
  if (extended.kind !== 'ok') return fail(Errno.EIO, extended.why);
  file.pages.add(page, kind.type, kind.maxProt, target);
  kernel.epc.markReclaimable(target);
  return ok();
}

function measure(file: EnclaveFile, page: LinPage, target: EpcIndex, chunks: number, bytes: Uint8Array): LeafResult {
  if (chunks === 0) return ok();
  const { processor, injections } = file.kernel;
  const injected = injections?.leaf('EEXTEND', file, page);
  if (injected) return injected;
  if (chunks === WHOLE_PAGE) return eextendPage(processor, file.secs!, target, bytes);
  for (let chunk = 0; chunk < CHUNKS; chunk++) {
    if ((chunks & (1 << chunk)) === 0) continue;
    const extended = eextend(processor, file.secs!, target, chunk * EEXTEND_CHUNK_BYTES);
    if (extended.kind !== 'ok') return extended;
  }
  return ok();
}

/**
 * @param sigStruct 1808 bytes
 *
 * EACCES: attributes that need a permission. EINVAL: attributes, MISCSELECT or XFRM that the SIGSTRUCT demands and this
 * machine has not. ERESTARTSYS: a signal while interrupts kept EINIT from ending. EIO: EINIT faulted. EPERM: any SGX
 * code of EINIT. The enclave is unchanged then and may be built further.
 */
export function* initEnclave(
  file: EnclaveFile,
  sigStruct: Uint8Array,
  signalPending: SignalPending,
): Generator<void, KernelResult> {
  const refused = checkPermitted(file) ?? checkDemands(file, sigStruct);
  if (refused) return refused;
  const result = yield* tryEinit(file, sigStruct, signalPending);
  if (result.kind === 'fault') return fail(Errno.EIO, result.why);
  if (result.kind === 'code') {
    return fail(Errno.EPERM, { ...result.why, check: `EINIT: ${result.why.check} (${sgxCodeName(result.code)})` });
  }
  return result;
}

/**
 * EINIT, again and again while interrupts end it; the enclave is initialized when it succeeds.
 * ERESTARTSYS: a signal meanwhile.
 */
export function* tryEinit(
  file: EnclaveFile,
  sigStruct: Uint8Array,
  signalPending: SignalPending,
): Generator<void, LeafResult | Failure> {
  const { processor, injections } = file.kernel;
  // Whoever signed is the launch key's owner, so every signer is accepted.
  processor.lePubKeyHash.set(mrSigner(sigStruct));
  const token = new Uint8Array(EinitToken.sizeBytes);
  const attempt = (): LeafResult => injections?.leaf('EINIT', file) ?? einit(processor, sigStruct, file.secs!, token);
  let result = attempt();
  for (let tries = 1; result.kind === 'code' && result.code === SgxCode.SGX_UNMASKED_EVENT; tries++) {
    if (tries === SGX_EINIT_SPIN_COUNT * SGX_EINIT_SLEEP_COUNT) break;
    if (tries % SGX_EINIT_SPIN_COUNT === 0) {
      // Model: others get their turn, where Linux sleeps 20 ms.
      yield;
      if (signalPending()) {
        return fail(Errno.ERESTARTSYS, why('no signal is pending while EINIT is interrupted', 'none', 'one'));
      }
    }
    result = attempt();
  }
  if (result.kind === 'ok') file.initialized = true;
  return result;
}

/** EACCES: attributes that need a permission. */
export function checkPermitted(file: EnclaveFile): Failure | undefined {
  const forbidden = file.attributes & ~file.attributesMask;
  if (forbidden === 0n) return undefined;
  return fail(
    Errno.EACCES,
    why(
      'the attributes are permitted',
      Attributes.format(file.attributesMask),
      Attributes.format(file.attributes),
      'PROVISIONKEY needs SGX_IOC_ENCLAVE_PROVISION after CREATE; others cannot be permitted',
    ),
  );
}

/** What the signer insists on has to exist here. */
function checkDemands({ kernel }: EnclaveFile, sigStruct: Uint8Array): Failure | undefined {
  const sig = SigStruct.view(sigStruct);
  const { attributes, miscSelect, xfrm } = kernel.processor.profile;
  const demands = [
    {
      name: 'ATTRIBUTES',
      wanted: sig.attributes & sig.attributeMask,
      missing: ~attributes | SGX_ATTR_RESERVED_MASK,
      format: Attributes.format,
    },
    {
      name: 'MISCSELECT',
      wanted: BigInt(sig.miscSelect & sig.miscMask),
      missing: ~BigInt(miscSelect) | SGX_MISC_RESERVED_MASK,
      format: MiscSelect.format,
    },
    { name: 'XFRM', wanted: sig.xfrm & sig.xfrmMask, missing: ~xfrm, format: Xfrm.format },
  ];
  for (const { name, wanted, missing, format } of demands) {
    const lacking = BigInt.asUintN(64, wanted & missing);
    if (lacking !== 0n) {
      return fail(
        Errno.EINVAL,
        why(`SIGSTRUCT demands ${name} that this machine has`, 'what CPUID.12H reports', `also ${format(lacking)}`),
      );
    }
  }
  return undefined;
}
