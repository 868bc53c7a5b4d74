/**
 * Is a SIGSTRUCT well formed and truly signed?
 * Spec: SDM "Enclave Signature Structure (SIGSTRUCT)" and "EINIT - Initialize an Enclave for Execution".
 */
import { createHash } from 'node:crypto';

import {
  SGX_VENDOR_INTEL,
  SgxCode,
  SIGSTRUCT_EXPONENT,
  SIGSTRUCT_HEADER2_HEX,
  SIGSTRUCT_HEADER_HEX,
  SIGSTRUCT_MODULUS_BYTES,
  SIGSTRUCT_SIGNED_RANGES,
  SigStruct,
} from '../abi/sgx-arch.ts';
import { toHex } from '../lib/bytes.ts';
import { sgxCode, why, type Code, type Why } from '../lib/outcome.ts';
import { hex } from './checks.ts';

const DIGEST_BYTES = 32;
const OTHER_KEY = 'sign again, with the key whose modulus is in the SIGSTRUCT';
/** RFC 8017, "EMSA-PKCS1-v1_5": 00 01 FF .. 00, then the DER of "a SHA-256 digest follows". The digest completes it. */
const DIGEST_INFO = '3031300d060960864801650304020105000420';
const PADDING = `0001${'ff'.repeat(330)}00${DIGEST_INFO}`;
/** As SECS.PADDING and key derivation have it, 352 bytes: the same for every enclave. */
export const SIGNATURE_PADDING: Uint8Array = Buffer.from(PADDING, 'hex');

/** Header, vendor, exponent and reserved areas. SGX_INVALID_SIG_STRUCT, or undefined. */
export function checkSigStructFormat(bytes: Uint8Array): Code | undefined {
  const sig = SigStruct.view(bytes);
  const invalid = (reason: Why) => sgxCode(SgxCode.SGX_INVALID_SIG_STRUCT, reason);
  if (toHex(sig.header) !== SIGSTRUCT_HEADER_HEX) {
    return invalid(why('SIGSTRUCT.HEADER is the constant', SIGSTRUCT_HEADER_HEX, toHex(sig.header)));
  }
  if (sig.vendor !== 0 && sig.vendor !== SGX_VENDOR_INTEL) {
    return invalid(why('SIGSTRUCT.VENDOR is 0 or 8086H', '0 or 0x8086', hex(sig.vendor)));
  }
  if (toHex(sig.header2) !== SIGSTRUCT_HEADER2_HEX) {
    return invalid(why('SIGSTRUCT.HEADER2 is the constant', SIGSTRUCT_HEADER2_HEX, toHex(sig.header2)));
  }
  if (sig.exponent !== SIGSTRUCT_EXPONENT) {
    return invalid(why('SIGSTRUCT.EXPONENT is 3', '3', hex(sig.exponent)));
  }
  const dirty = SigStruct.firstNonzeroReserved(bytes);
  if (dirty) return invalid(why('SIGSTRUCT reserved fields are zero', '0', `byte ${dirty.offset} is not`));
  return undefined;
}

/** RSA-3072 over the signed bytes, with the helper quotients Q1 and Q2. SGX_INVALID_SIGNATURE, or undefined. */
export function checkSignature(bytes: Uint8Array): Code | undefined {
  const sig = SigStruct.view(bytes);
  const invalid = (reason: Why) => sgxCode(SgxCode.SGX_INVALID_SIGNATURE, reason);
  const modulus = toInteger(sig.modulus);
  const signature = toInteger(sig.signature);
  if (modulus === 0n || signature >= modulus) {
    return invalid(why('SIGSTRUCT.SIGNATURE is below SIGSTRUCT.MODULUS', 'a smaller number', 'not smaller', OTHER_KEY));
  }
  const { q1, q2, cube } = quotients(signature, modulus);
  if (toInteger(sig.q1) !== q1) {
    return invalid(why('SIGSTRUCT.Q1 is floor(S^2 / N)', short(q1), short(toInteger(sig.q1)), OTHER_KEY));
  }
  if (toInteger(sig.q2) !== q2) {
    return invalid(why('SIGSTRUCT.Q2 is floor((S^3 - Q1*S*N) / N)', short(q2), short(toInteger(sig.q2)), OTHER_KEY));
  }
  const expected = paddedDigest(bytes);
  const found = cube.toString(16).padStart(SIGSTRUCT_MODULUS_BYTES * 2, '0');
  if (found === expected) return undefined;
  return invalid(
    why(
      'the signature opens to the PKCS #1 v1.5 padded SHA-256 of the signed bytes',
      `...${expected.slice(-DIGEST_BYTES * 2)}`,
      `...${found.slice(-DIGEST_BYTES * 2)}`,
      'bytes 0-127 or 900-1027 were changed after signing, or another key signed',
    ),
  );
}

/** What a signer must put into Q1 and Q2, and S^3 mod N. */
export function quotients(signature: bigint, modulus: bigint): { q1: bigint; q2: bigint; cube: bigint } {
  const square = signature * signature;
  const q1 = square / modulus;
  const rest = (square - q1 * modulus) * signature;
  const q2 = rest / modulus;
  return { q1, q2, cube: rest - q2 * modulus };
}

/** MRSIGNER: SHA-256 of the modulus as it is stored. 32 bytes. */
export function mrSigner(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(SigStruct.view(bytes).modulus).digest();
}

/** What the signature opens to, in hexadecimal. */
function paddedDigest(bytes: Uint8Array): string {
  const hash = createHash('sha256');
  for (const [start, end] of SIGSTRUCT_SIGNED_RANGES) hash.update(bytes.subarray(start, end));
  return PADDING + hash.digest('hex');
}

/** Numbers in a SIGSTRUCT are little-endian. */
function toInteger(littleEndian: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(littleEndian.toReversed()).toString('hex')}`);
}

function short(value: bigint): string {
  const digits = value.toString(16);
  return digits.length <= 16
    ? `0x${digits}`
    : `0x${digits.slice(0, 8)}...${digits.slice(-8)} (${digits.length * 4} bits)`;
}
