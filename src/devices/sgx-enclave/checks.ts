/** Checks that several commands make in the same words. Each gives the failure, or undefined to go on. */
import { Errno } from '../../lib/errno.ts';
import { fail, why, type Failure } from '../../lib/outcome.ts';
import { PAGE_SIZE_BYTES } from '../../lib/units.ts';
import type { EnclaveFile } from '../../kernel/enclave.ts';

const PAGE = BigInt(PAGE_SIZE_BYTES);

/** Created and not yet initialized. EINVAL. */
export function checkBuilding(file: EnclaveFile): Failure | undefined {
  if (file.created && !file.initialized) return undefined;
  return fail(
    Errno.EINVAL,
    why(
      'the enclave is created and not initialized',
      'between CREATE and INIT',
      file.created ? 'initialized' : 'not created',
    ),
  );
}

/** The SGX2 ioctls need the processor's and the enclave's readiness. ENODEV, EINVAL. */
export function checkSgx2Ready(file: EnclaveFile): Failure | undefined {
  const { profile } = file.kernel.processor;
  if (!profile.sgx2) {
    return fail(Errno.ENODEV, why('the processor has SGX2', 'SGX2', `${profile.name}, which has not`));
  }
  if (file.initialized) return undefined;
  return fail(Errno.EINVAL, why('the enclave is initialized', 'after INIT', file.created ? 'created' : 'not created'));
}

/** A range of whole pages inside the enclave. EINVAL. Source: sgx_validate_offset_length. */
export function checkOffsetLength(file: EnclaveFile, offset: bigint, length: bigint): Failure | undefined {
  const refuse = (check: string, expected: string, found: bigint): Failure =>
    fail(Errno.EINVAL, why(check, expected, hex(found)));
  if (offset % PAGE !== 0n) return refuse('offset is page-aligned', 'a multiple of 0x1000', offset);
  if (length === 0n || length % PAGE !== 0n) {
    return refuse('length is a whole number of pages, not none', 'a multiple of 0x1000', length);
  }
  if (offset + length >= 1n << 64n) return refuse('offset + length does not wrap', 'less than 2^64', offset + length);
  if (offset + length - PAGE >= BigInt(file.sizeBytes)) {
    return refuse('the range ends in the enclave', `at most ${hex(file.sizeBytes)}`, offset + length);
  }
  return undefined;
}

/** The same of V1 of the SGX2 series: a sum that wraps passes. */
export function checkOffsetLengthV1(file: EnclaveFile, offset: bigint, length: bigint): Failure | undefined {
  const wrapped = offset + length >= 1n << 64n;
  const last = BigInt.asUintN(64, offset + length - PAGE);
  return wrapped && offset % PAGE === 0n && length % PAGE === 0n && last < BigInt(file.sizeBytes)
    ? undefined
    : checkOffsetLength(file, offset, length);
}

export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
