/**
 * EGETKEY: a key that only this enclave, or only what it chooses to share it with, can get on this processor.
 * Spec: SDM "EGETKEY - Retrieves a Cryptographic Key". What each key depends on: keys.ts.
 */
import { Attributes, KeyName, KeyPolicy, KeyRequest, SgxCode } from '../../abi/sgx-arch.ts';
import { toHex } from '../../lib/bytes.ts';
import { generalProtection, ok, sgxCode, why, type Code, type Fault, type LeafResult } from '../../lib/outcome.ts';
import type { ViewOf } from '../../lib/layout.ts';
import { hex } from '../checks.ts';
import { isBeyondCpuSvn, requestedKey } from '../keys.ts';
import type { Processor } from '../processor.ts';
import type { SecsPage } from '../secs.ts';
import { checkOperand, type EnclaveAccess } from './access.ts';
import { readEnclave, writeEnclave } from './enclave-memory.ts';

type Request = ViewOf<typeof KeyRequest>;

/** KEYPOLICY bits that need KSS. */
const KSS_POLICY = KeyPolicy.known & ~(KeyPolicy.mask.MRENCLAVE | KeyPolicy.mask.MRSIGNER);

/**
 * Writes the key that the KEYREQUEST at `rbx` names to the 16 bytes at `rcx`.
 *
 * #GP: alignment, an operand outside ELRANGE, reserved bits, KSS's policies without KSS.
 * #PF: an operand is not present or mapped read-only (error code without SGX), or the EPCM forbids its use.
 * SGX_INVALID_ATTRIBUTE, SGX_INVALID_CPUSVN, SGX_INVALID_ISVSVN, SGX_INVALID_KEYNAME: nothing is written.
 */
export function egetkey(cpu: Processor, access: EnclaveAccess, rbx: number, rcx: number): LeafResult {
  const refused =
    checkOperand(cpu, access, rbx, { name: 'RBX', alignBytes: KeyRequest.alignBytes }) ??
    checkOperand(cpu, access, rcx, { name: 'RCX', alignBytes: 16, written: true });
  if (refused) return refused;
  const bytes = readEnclave(cpu, access.secs, rbx, KeyRequest.sizeBytes);
  const request = KeyRequest.view(bytes);
  const secs = cpu.secs(access.secs);
  const denied =
    checkReserved(request, bytes) ??
    checkKss(secs, request) ??
    checkAuthorised(secs, request) ??
    checkVersions(cpu, secs, request);
  if (denied) return denied;
  writeEnclave(cpu, access.secs, rcx, requestedKey(cpu, secs, request));
  return ok();
}

/** No profile offers CET, so its mask counts as reserved. */
function checkReserved(request: Request, bytes: Uint8Array): Fault | undefined {
  const refuse = (found: string) => generalProtection(why('KEYREQUEST reserved fields are zero', '0', found));
  const dirty = KeyRequest.firstNonzeroReserved(bytes);
  if (dirty) return refuse(`byte ${dirty.offset} is not`);
  if (request.cetAttributesMask !== 0) return refuse('CET_ATTRIBUTES_MASK is not');
  const unknown = BigInt(request.keyPolicy) & ~KeyPolicy.known;
  return unknown === 0n ? undefined : refuse(`KEYPOLICY has ${hex(unknown)}`);
}

function checkKss(secs: SecsPage, request: Request): Fault | undefined {
  if ((secs.fields.attributes & Attributes.mask.KSS) !== 0n) return undefined;
  if ((BigInt(request.keyPolicy) & KSS_POLICY) === 0n && request.configSvn === 0) return undefined;
  return generalProtection(
    why(
      'without ATTRIBUTES.KSS, KEYPOLICY is MRENCLAVE and MRSIGNER at most and CONFIGSVN is 0',
      'KSS, or neither',
      `KEYPOLICY=${KeyPolicy.format(request.keyPolicy)} CONFIGSVN=${request.configSvn}`,
    ),
  );
}

/** The attribute that each key needs, where it needs one. */
const neededAttributes: ReadonlyMap<number, bigint> = new Map([
  [KeyName.EINIT_TOKEN, Attributes.mask.EINITTOKENKEY],
  [KeyName.PROVISION, Attributes.mask.PROVISIONKEY],
  [KeyName.PROVISION_SEAL, Attributes.mask.PROVISIONKEY],
  [KeyName.REPORT, 0n],
  [KeyName.SEAL, 0n],
]);

function checkAuthorised(secs: SecsPage, { keyName }: Request): Code | undefined {
  const needed = neededAttributes.get(keyName);
  if (needed === undefined) {
    return sgxCode(SgxCode.SGX_INVALID_KEYNAME, why('KEYREQUEST.KEYNAME names a key', '0 to 4', `${keyName}`));
  }
  const { attributes } = secs.fields;
  if ((attributes & needed) === needed) return undefined;
  return sgxCode(
    SgxCode.SGX_INVALID_ATTRIBUTE,
    why('SECS.ATTRIBUTES entitles to the key', Attributes.format(needed), Attributes.format(attributes)),
  );
}

/** Keys of older versions may be had, keys of newer ones not. A report key is always the current one. */
function checkVersions(cpu: Processor, secs: SecsPage, request: Request): Code | undefined {
  if (request.keyName === KeyName.REPORT) return undefined;
  if (isBeyondCpuSvn(cpu, request.cpuSvn)) {
    return sgxCode(
      SgxCode.SGX_INVALID_CPUSVN,
      why(
        'KEYREQUEST.CPUSVN is not beyond the current CPUSVN',
        `at most ${toHex(cpu.fuses.cpuSvn)}`,
        toHex(request.cpuSvn),
        'what was sealed on a newer machine cannot be opened on an older one',
      ),
    );
  }
  const { isvSvn, configSvn } = secs.fields;
  if (request.isvSvn > isvSvn) return invalidIsvSvn('ISVSVN', isvSvn, request.isvSvn);
  if (request.keyName === KeyName.SEAL && request.configSvn > configSvn) {
    return invalidIsvSvn('CONFIGSVN', configSvn, request.configSvn);
  }
  return undefined;
}

function invalidIsvSvn(field: string, own: number, asked: number): Code {
  return sgxCode(
    SgxCode.SGX_INVALID_ISVSVN,
    why(`KEYREQUEST.${field} is at most SECS.${field}`, `at most ${own}`, `${asked}`),
  );
}
