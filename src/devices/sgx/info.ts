/**
 * SGX_GET_INFO of proposal-2018: what processor and kernel can do, in a struct that can grow. The caller says how much
 * of it it knows; a shorter struct is filled as far as it goes, of a longer one the rest has to be zero.
 */
import { SGX_ATTR_UNPRIV_MASK } from '../../abi/sgx-uapi.ts';
import { SGX_API_VERSION, SGX_INFO_SECTIONS, SgxInfo, SgxInfoFeatures } from '../../abi/sgx-uapi/proposal-2018.ts';
import { Errno } from '../../lib/errno.ts';
import { fail, ok, why, type KernelResult } from '../../lib/outcome.ts';
import { toUserAddr } from '../../lib/units.ts';
import type { EpcSection } from '../../processor/cpuid.ts';
import type { ProcessorProfile } from '../../processor/profiles.ts';
import type { IoctlCall } from '../dispatch.ts';

/** argsz and flags: less is no struct. */
const SMALLEST_BYTES = 8;
/** As copy_struct_from_user has it. */
const LARGEST_BYTES = 4096;

/**
 * EFAULT: the argument cannot be read. EINVAL: argsz is less than 8; flags or a reserved byte is not 0. E2BIG: argsz is
 * more than a page, or bytes that this kernel does not know are not 0. EFAULT: the argument cannot be written.
 */
// oxlint-disable-next-line require-yield -- every handler is a generator, few are long
export function* getInfo<F>(
  call: IoctlCall<F>,
  profile: ProcessorProfile,
  sections: readonly EpcSection[],
): Generator<void, KernelResult> {
  const head = call.read(call.argument, SMALLEST_BYTES, 'argsz and flags');
  if (head.kind !== 'ok') return head;
  const padded = new Uint8Array(SgxInfo.sizeBytes);
  padded.set(head.value);
  const { argSz, flags } = SgxInfo.decode(padded);
  if (argSz < SMALLEST_BYTES) return fail(Errno.EINVAL, why('argsz', `at least ${SMALLEST_BYTES}`, `${argSz}`));
  if (argSz > LARGEST_BYTES) return fail(Errno.E2BIG, why('argsz', `at most ${LARGEST_BYTES}`, `${argSz}`));
  if (flags !== 0) return fail(Errno.EINVAL, why('flags', '0', `0x${flags.toString(16)}`));
  const given = call.read(call.argument, argSz, 'the argument');
  if (given.kind !== 'ok') return given;
  padded.set(given.value.subarray(0, padded.length));
  const dirty = SgxInfo.firstNonzeroReserved(padded);
  if (dirty) return fail(Errno.EINVAL, why('reserved bytes are zero', '0', `byte ${dirty.offset} is not`));
  const unknown = given.value.subarray(padded.length).findIndex((byte) => byte !== 0);
  if (unknown >= 0) {
    return fail(
      Errno.E2BIG,
      why('bytes that this kernel does not know are zero', '0', `byte ${padded.length + unknown} is not`),
    );
  }
  const bytes = SgxInfo.encode(infoOf(profile, sections)).subarray(0, argSz);
  const address = toUserAddr(call.argument);
  const done = address === undefined ? 0 : call.mm.port.memory.write(address, bytes);
  if (done === bytes.length) return ok();
  return fail(Errno.EFAULT, why('the argument can be written', `${bytes.length} bytes`, `${done} bytes`));
}

function infoOf(profile: ProcessorProfile, sections: readonly EpcSection[]) {
  const { bit } = SgxInfoFeatures;
  return {
    argSz: SgxInfo.sizeBytes,
    apiVersion: SGX_API_VERSION,
    // This interface has no ioctl for SGX2: what it says of it is what the processor could do.
    features:
      bit.SGX1 |
      (profile.sgx2 ? bit.SGX2 : 0) |
      bit.FLC |
      (profile.kss ? bit.KSS : 0) |
      (profile.aexNotify ? bit.AEX_NOTIFY : 0),
    attributes: profile.attributes & SGX_ATTR_UNPRIV_MASK,
    xfrm: profile.xfrm,
    miscSelect: profile.miscSelect,
    sizeLog2_32: profile.maxEnclaveSizeLog2_32,
    sizeLog2_64: profile.maxEnclaveSizeLog2_64,
    sectionCount: sections.length,
    epcBytes: BigInt(sections.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)),
    sections: sections
      .slice(0, SGX_INFO_SECTIONS)
      .map(({ baseAddress, sizeBytes }) => ({ base: baseAddress, size: BigInt(sizeBytes) })),
  };
}
