/**
 * SIGSTRUCT: making, signing, reading and checking the signature structure of an enclave.
 * Spec: SDM "Enclave Signature Structure (SIGSTRUCT)" and "EINIT" (signature check with Q1 and Q2).
 */
import {
  constants,
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import {
  SIGSTRUCT_EXPONENT,
  SIGSTRUCT_HEADER2_HEX,
  SIGSTRUCT_HEADER_HEX,
  SIGSTRUCT_MODULUS_BYTES,
  SIGSTRUCT_SIGNED_RANGES,
  SigStruct,
} from '../abi/sgx-arch.ts';
import { equalBytes, fromHex, toHex } from '../lib/bytes.ts';
import type { ValuesOf } from '../lib/layout.ts';
import { FormatError } from './format-error.ts';

/** What the signer decides. The constants, the key and the signature are filled in. */
export type SigStructBody = Omit<
  ValuesOf<typeof SigStruct>,
  'header' | 'header2' | 'modulus' | 'exponent' | 'signature' | 'q1' | 'q2'
>;

let wrap: (key: KeyObject) => SigningKey;

/** An RSA-3072 private key with exponent 3. Node's own type stays inside: users of ours need not have its declarations. */
export class SigningKey {
  readonly #key: KeyObject;

  private constructor(key: KeyObject) {
    this.#key = key;
  }

  static {
    wrap = (key) => new SigningKey(key);
  }

  /** PKCS #1 v1.5 with SHA-256, big-endian. */
  sign(bytes: Uint8Array): Uint8Array {
    return new Uint8Array(sign('sha256', bytes, { key: this.#key, padding: constants.RSA_PKCS1_PADDING }));
  }

  /** Little-endian, 384 bytes. */
  modulus(): Uint8Array {
    const { n } = this.#key.export({ format: 'jwk' });
    return new Uint8Array(Buffer.from(n!, 'base64url')).toReversed();
  }
}

/** A key that cannot sign enclaves; the message says how to make one that can. */
export class SigningKeyError extends Error {
  override name = 'SigningKeyError';
}

const REMEDY = 'make one with `vitrine keygen KEY.pem` or `openssl genrsa -3 -out KEY.pem 3072`';

/**
 * The private key in `pem`. SGX knows exactly one kind: RSA, 3072 bits, public exponent 3.
 * @param file name for messages
 */
export function readSigningKey(pem: string | Uint8Array, file: string): SigningKey {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (error) {
    throw new SigningKeyError(
      `${file}: not an unencrypted private key in PEM form (${(error as Error).message}); ${REMEDY}`,
      { cause: error },
    );
  }
  const { modulusLength, publicExponent } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType !== 'rsa')
    throw new SigningKeyError(
      `${file}: an ${key.asymmetricKeyType} key; SGX enclaves are signed with RSA-3072: ${REMEDY}`,
    );
  if (modulusLength !== SIGSTRUCT_MODULUS_BYTES * 8) {
    throw new SigningKeyError(
      `${file}: an RSA key of ${modulusLength} bits; SGX enclaves are signed with RSA-3072: ${REMEDY}`,
    );
  }
  if (publicExponent !== BigInt(SIGSTRUCT_EXPONENT)) {
    throw new SigningKeyError(`${file}: an RSA key with public exponent ${publicExponent}; SGX wants 3: ${REMEDY}`);
  }
  return wrap(key);
}

/** A new signing key in PEM form (PKCS #8). Takes about a second. */
export function newSigningKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: SIGSTRUCT_MODULUS_BYTES * 8,
    publicExponent: SIGSTRUCT_EXPONENT,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  return privateKey;
}

/** A complete SIGSTRUCT of 1808 bytes. `key` comes from `readSigningKey`. */
export function signSigStruct(body: SigStructBody, key: SigningKey): Uint8Array {
  const unsigned = SigStruct.encode({
    ...body,
    header: fromHex(SIGSTRUCT_HEADER_HEX),
    header2: fromHex(SIGSTRUCT_HEADER2_HEX),
    modulus: key.modulus(),
    exponent: SIGSTRUCT_EXPONENT,
  });
  const signature = key.sign(signedBytes(unsigned)).toReversed();
  const { q1, q2 } = quotients(signature, key.modulus());
  const complete = SigStruct.view(unsigned);
  complete.signature = signature;
  complete.q1 = q1;
  complete.q2 = q2;
  return unsigned;
}

/** Decodes a SIGSTRUCT. Throws a FormatError for one that EINIT would not even begin to check. */
export function parseSigStruct(bytes: Uint8Array, file: string): SigStruct {
  if (bytes.length !== SigStruct.sizeBytes) {
    throw new FormatError(file, 'SIGSTRUCT', 0, `expected ${SigStruct.sizeBytes} bytes, found ${bytes.length}`);
  }
  const decoded = SigStruct.decode(bytes);
  const expect = (field: 'header' | 'header2' | 'exponent', found: string, wanted: string) => {
    if (found !== wanted)
      throw new FormatError(file, field, SigStruct.offsetOf(field), `expected ${wanted}, found ${found}`);
  };
  expect('header', toHex(decoded.header), SIGSTRUCT_HEADER_HEX);
  expect('header2', toHex(decoded.header2), SIGSTRUCT_HEADER2_HEX);
  expect('exponent', String(decoded.exponent), String(SIGSTRUCT_EXPONENT));
  const dirty = SigStruct.firstNonzeroReserved(bytes);
  if (dirty) throw new FormatError(file, dirty.name, dirty.offset, 'must be zero');
  return decoded;
}

/** The signature is the key's, and Q1 and Q2 are those the processor checks it with. */
export function sigStructIsValid(bytes: Uint8Array): boolean {
  const { modulus, signature, q1, q2 } = SigStruct.decode(bytes);
  if (fromLittleEndian(modulus) === 0n) return false;
  const expected = quotients(signature, modulus);
  return (
    equalBytes(q1, expected.q1) &&
    equalBytes(q2, expected.q2) &&
    verify('sha256', signedBytes(bytes), publicKey(modulus), signature.toReversed())
  );
}

/** MRSIGNER: SHA-256 of the modulus as it stands in the SIGSTRUCT. */
export function mrSigner(modulus: Uint8Array): Uint8Array {
  return createHash('sha256').update(modulus).digest();
}

/** `0x20260131` for 2026-01-31: the BCD of SIGSTRUCT.DATE. */
export function bcdDate(date: Date): number {
  return Number.parseInt(date.toISOString().slice(0, 10).replaceAll('-', ''), 16);
}

function signedBytes(sigStruct: Uint8Array): Uint8Array {
  return Buffer.concat(SIGSTRUCT_SIGNED_RANGES.map(([start, end]) => sigStruct.subarray(start, end)));
}

/** Q1 and Q2 spare the processor two long divisions: SDM "EINIT". Only their low 384 bytes are kept. */
function quotients(signature: Uint8Array, modulus: Uint8Array): { readonly q1: Uint8Array; readonly q2: Uint8Array } {
  const s = fromLittleEndian(signature);
  const n = fromLittleEndian(modulus);
  const q1 = (s * s) / n;
  const q2 = (s * s * s - q1 * s * n) / n;
  return { q1: toLittleEndian(q1), q2: toLittleEndian(q2) };
}

function publicKey(modulus: Uint8Array): KeyObject {
  const n = Buffer.from(modulus.toReversed()).toString('base64url');
  return createPublicKey({ key: { kty: 'RSA', n, e: 'Aw' }, format: 'jwk' });
}

function fromLittleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${toHex(bytes.toReversed())}`);
}

function toLittleEndian(value: bigint): Uint8Array {
  const hex = BigInt.asUintN(SIGSTRUCT_MODULUS_BYTES * 8, value)
    .toString(16)
    .padStart(SIGSTRUCT_MODULUS_BYTES * 2, '0');
  return fromHex(hex).toReversed();
}
