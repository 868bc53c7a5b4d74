/**
 * What makes one machine different from all others, and how it is written down. Two machines with the same identity
 * derive the same keys: what an enclave seals on one it can open on the other.
 *
 * Every value carries the word vitrine, so that none can be mistaken for a real processor's.
 */
import { createHash } from 'node:crypto';
import { fromHex, toHex } from '../lib/bytes.ts';
import type { Entropy, Fuses } from '../processor/ports.ts';

export interface Identity {
  /** Security version of the processor: what a microcode update raises. 0 to 255. */
  readonly cpuSvn: number;
  /** IA32_SGXOWNEREPOCH, 16 bytes: whoever owns the machine may change it, and loses all sealed data. */
  readonly ownerEpoch: Uint8Array;
  readonly sealFuses: Uint8Array;
  readonly provisioningKey: Uint8Array;
}

export const MAX_CPU_SVN = 255;
const SECRET_BYTES = 16;
const SECRET_MARK = new TextEncoder().encode('vitrine:');
const CPU_SVN_MARK = new TextEncoder().encode('vitrine');

/** Version of the text form. */
const VERSION = 1;
const NOTICE = 'Identity of a Vitrine machine: made up, no processor has it, and it protects nothing.';

export function newIdentity(entropy: Entropy): Identity {
  return {
    cpuSvn: 1,
    ownerEpoch: newSecret(entropy),
    sealFuses: newSecret(entropy),
    provisioningKey: newSecret(entropy),
  };
}

/** The same machine with a new owner. */
export function withNewOwnerEpoch(identity: Identity, entropy: Entropy): Identity {
  return { ...identity, ownerEpoch: newSecret(entropy) };
}

/** `vitrine:` and 8 random bytes. */
function newSecret(entropy: Entropy): Uint8Array {
  const secret = new Uint8Array(SECRET_BYTES);
  secret.set(SECRET_MARK);
  entropy.fill(secret.subarray(SECRET_MARK.length));
  return secret;
}

/**
 * The processor's form of it.
 * Model: CPUSVN is opaque on hardware; here the first of its 16 components is the version and the last 7 say whose it
 * is, so that comparing component by component orders versions.
 */
export function fusesOf({ cpuSvn, ownerEpoch, sealFuses, provisioningKey }: Identity): Fuses {
  const components = new Uint8Array(SECRET_BYTES);
  components[0] = cpuSvn;
  components.set(CPU_SVN_MARK, SECRET_BYTES - CPU_SVN_MARK.length);
  return { ownerEpoch, sealFuses, provisioningKey, cpuSvn: components };
}

/** Tells identities apart without giving their secrets away: 16 digits. A new CPUSVN does not change it. */
export function fingerprintOf({ ownerEpoch, sealFuses, provisioningKey }: Identity): string {
  return sha256(`${toHex(ownerEpoch)} ${toHex(sealFuses)} ${toHex(provisioningKey)}`).slice(0, 16);
}

/** An identity that cannot be read; the message begins with what is wrong and names no file. */
export class IdentityError extends Error {
  override name = 'IdentityError';
}

/** JSON with a checksum. */
export function formatIdentity(identity: Identity): string {
  return `${JSON.stringify(asJson(identity), undefined, 2)}\n`;
}

function asJson({ cpuSvn, ...secrets }: Identity): Record<string, unknown> {
  const content = {
    notice: NOTICE,
    version: VERSION,
    cpuSvn,
    ownerEpoch: toHex(secrets.ownerEpoch),
    sealFuses: toHex(secrets.sealFuses),
    provisioningKey: toHex(secrets.provisioningKey),
  };
  return { ...content, sha256: sha256(JSON.stringify(content)) };
}

/**
 * Reads what `formatIdentity` wrote; only white space may differ. Throws an IdentityError.
 *
 * Valid is what comes out the same when it is written again, checksum included. So no schema has to be loaded for it:
 * this happens at every start, and zod would take 70 ms.
 */
export function parseIdentity(text: string): Identity {
  const json = jsonOf(text);
  const { version } = json;
  if (typeof version === 'number' && version > VERSION) {
    throw new IdentityError(`it is of version ${version}, and this Vitrine knows ${VERSION}; a newer Vitrine wrote it`);
  }
  const identity: Identity = {
    cpuSvn: Number(json['cpuSvn']),
    ownerEpoch: secretOf(json, 'ownerEpoch'),
    sealFuses: secretOf(json, 'sealFuses'),
    provisioningKey: secretOf(json, 'provisioningKey'),
  };
  if (!isCpuSvn(identity.cpuSvn)) throw new IdentityError(`cpuSvn is not a number from 0 to ${MAX_CPU_SVN}`);
  if (JSON.stringify(asJson(identity)) !== JSON.stringify(json)) {
    throw new IdentityError('it is not as Vitrine wrote it (its checksum, or a field more or less)');
  }
  return identity;
}

export function isCpuSvn(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= MAX_CPU_SVN;
}

function jsonOf(text: string): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new IdentityError(text.trim() === '' ? 'it is empty' : 'it is not JSON', { cause: error });
  }
  if (typeof json !== 'object' || json === null) throw new IdentityError('it is no JSON object');
  return json as Record<string, unknown>;
}

function secretOf(json: Record<string, unknown>, field: string): Uint8Array {
  const text = json[field];
  const pattern = `${toHex(SECRET_MARK)} and ${2 * (SECRET_BYTES - SECRET_MARK.length)} digits more`;
  if (typeof text !== 'string' || text.length !== 2 * SECRET_BYTES || !/^[0-9a-f]*$/.test(text))
    throw new IdentityError(`${field} is not ${pattern}`);
  if (!text.startsWith(toHex(SECRET_MARK))) throw new IdentityError(`${field} is not Vitrine's: expected ${pattern}`);
  return fromHex(text);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
