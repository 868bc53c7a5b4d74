/**
 * The keys that a processor derives from its fuses for enclaves.
 * Spec: SDM "EGETKEY - Retrieves a Cryptographic Key", "Key Derivation"; "EREPORT", "EINIT" for the keys they use.
 *
 *     device key = first 16 bytes of SHA-256("vitrine device key" || fuses.provisioningKey)
 *     key        = AES-128-CMAC(device key, KEY_DEPENDENCIES)
 *
 * KEY_DEPENDENCIES is the SDM's TMP_KEYDEPENDENCIES, 656 bytes, little-endian; what a key does not depend on is 0:
 *
 *     offset  bytes  field            offset  bytes  field              offset  bytes  field
 *          0      2  KEYNAME              24     16  ATTRIBUTES, XFRM      136     32  MRENCLAVE
 *          2      2  KEYPOLICY            40     16  their masks           168     32  MRSIGNER
 *          4      2  ISVPRODID            56     16  SGXOWNEREPOCH         200     16  ISVFAMILYID
 *          6      2  ISVSVN               72     16  SEAL_KEY_FUSES        216     16  ISVEXTPRODID
 *          8      2  CONFIGSVN            88     16  CPUSVN                232     64  CONFIGID
 *         12      4  MISCSELECT          104     32  KEYID                 296    352  PADDING
 *         16      4  MISCMASK
 *
 * MISCMASK is the complement of the request's, as in the SDM. PADDING is `SIGNATURE_PADDING` (sigstruct.ts).
 *
 * Model: order, sizes and the device key are ours. Hardware's are not published (its device key comes from two fuses
 * and the CPUSVN), and software sees only that keys are stable and separate. CET's fields are left out: no profile has it.
 */
import { createHash } from 'node:crypto';

import { Attributes, EinitToken, KeyName, KeyPolicy, type KeyRequest, type TargetInfo } from '../abi/sgx-arch.ts';
import { layout, bytes, reserved, u16, u32, u64, type ValuesOf, type ViewOf } from '../lib/layout.ts';
import { AesCmac } from './aes-cmac.ts';
import type { Fuses } from './ports.ts';
import type { Processor } from './processor.ts';
import { SIGNATURE_PADDING_BYTES, type SecsPage } from './secs.ts';
import { SIGNATURE_PADDING } from './sigstruct.ts';

const KeyDependencies = layout(
  'KEY_DEPENDENCIES',
  656,
  { source: 'SDM "Key Derivation"' },
  {
    keyName: u16(0, 'KeyName'),
    keyPolicy: u16(2, 'KEYREQUEST.KEYPOLICY'),
    isvProdId: u16(4, ''),
    isvSvn: u16(6, ''),
    configSvn: u16(8, ''),
    reserved1: reserved(10, 2),
    miscSelect: u32(12, ''),
    miscMask: u32(16, 'complement of KEYREQUEST.MISCMASK'),
    reserved2: reserved(20, 4),
    attributes: u64(24, ''),
    xfrm: u64(32, ''),
    attributeMask: u64(40, ''),
    xfrmMask: u64(48, ''),
    ownerEpoch: bytes(56, 16, ''),
    sealFuses: bytes(72, 16, ''),
    cpuSvn: bytes(88, 16, ''),
    keyId: bytes(104, 32, ''),
    mrEnclave: bytes(136, 32, ''),
    mrSigner: bytes(168, 32, ''),
    isvFamilyId: bytes(200, 16, ''),
    isvExtProdId: bytes(216, 16, ''),
    configId: bytes(232, 64, ''),
    padding: bytes(296, SIGNATURE_PADDING_BYTES, 'of the signature, constant'),
    reserved3: reserved(648, 8),
  },
);
type Dependencies = ValuesOf<typeof KeyDependencies>;

/** What all keys of a processor come from. */
export function deviceKey(fuses: Fuses): AesCmac {
  const digest = createHash('sha256').update('vitrine device key').update(fuses.provisioningKey).digest();
  return new AesCmac(digest.subarray(0, 16));
}

/** "CPUSVN is beyond the current one". Model: 16 independent components, each at most the processor's. */
export function isBeyondCpuSvn(cpu: Processor, cpuSvn: Uint8Array): boolean {
  return cpuSvn.some((component, i) => component > cpu.fuses.cpuSvn[i]!);
}

/** The key that a KEYREQUEST names; EGETKEY has checked that the enclave may have it. 16 bytes. */
export function requestedKey(cpu: Processor, secs: SecsPage, request: ViewOf<typeof KeyRequest>): Uint8Array {
  switch (request.keyName) {
    case KeyName.REPORT:
      return reportKey(cpu, ownIdentity(secs), request.keyId);
    case KeyName.EINIT_TOKEN:
      return derive(cpu, {
        ...masked(secs, request),
        isvProdId: secs.fields.isvProdId,
        ownerEpoch: cpu.fuses.ownerEpoch,
        mrSigner: secs.fields.mrSigner,
        keyId: request.keyId,
        sealFuses: cpu.fuses.sealFuses,
      });
    case KeyName.PROVISION:
      return derive(cpu, {
        ...masked(secs, request),
        ...masks(request),
        isvProdId: secs.fields.isvProdId,
        mrSigner: secs.fields.mrSigner,
      });
    case KeyName.PROVISION_SEAL:
      return derive(cpu, {
        ...masked(secs, request),
        ...masks(request),
        ...chosen(secs, request),
        mrSigner: secs.fields.mrSigner,
        sealFuses: cpu.fuses.sealFuses,
      });
    default: {
      const policy = request.keyPolicy;
      return derive(cpu, {
        ...masked(secs, request),
        ...masks(request),
        ...chosen(secs, request),
        ownerEpoch: cpu.fuses.ownerEpoch,
        ...((policy & KeyPolicy.bit.MRENCLAVE) !== 0 && { mrEnclave: secs.fields.mrEnclave }),
        ...((policy & KeyPolicy.bit.MRSIGNER) !== 0 && { mrSigner: secs.fields.mrSigner }),
        keyId: request.keyId,
        sealFuses: cpu.fuses.sealFuses,
      });
    }
  }
}

/** An enclave by which a report key is known: that of a TARGETINFO, or one's own. */
type ReportIdentity = Pick<
  ViewOf<typeof TargetInfo>,
  'measurement' | 'attributes' | 'xfrm' | 'miscSelect' | 'configId' | 'configSvn'
>;

/** The key under which EREPORT makes reports for the target, and which the target gets with this KEYID. 16 bytes. */
export function reportKey(cpu: Processor, target: ReportIdentity, keyId: Uint8Array): Uint8Array {
  return derive(cpu, {
    keyName: KeyName.REPORT,
    ownerEpoch: cpu.fuses.ownerEpoch,
    attributes: target.attributes,
    xfrm: target.xfrm,
    mrEnclave: target.measurement,
    keyId,
    sealFuses: cpu.fuses.sealFuses,
    cpuSvn: cpu.fuses.cpuSvn,
    miscSelect: target.miscSelect,
    configId: target.configId,
    configSvn: target.configSvn,
  });
}

/** The key under which a launch enclave with the identity in the token makes EINITTOKENs. 16 bytes. */
export function einitTokenKey(cpu: Processor, tokenBytes: Uint8Array): Uint8Array {
  const token = EinitToken.view(tokenBytes);
  return derive(cpu, {
    keyName: KeyName.EINIT_TOKEN,
    isvProdId: token.isvProdIdLe,
    isvSvn: token.isvSvnLe,
    ownerEpoch: cpu.fuses.ownerEpoch,
    attributes: token.maskedAttributesLe,
    xfrm: token.maskedXfrmLe,
    mrSigner: cpu.lePubKeyHash,
    keyId: token.keyId,
    sealFuses: cpu.fuses.sealFuses,
    cpuSvn: token.cpuSvnLe,
    miscSelect: token.maskedMiscSelectLe,
  });
}

function derive(cpu: Processor, dependencies: Dependencies): Uint8Array {
  return cpu.deviceKey.mac(KeyDependencies.encode({ ...dependencies, padding: SIGNATURE_PADDING }));
}

const { INIT, DEBUG } = Attributes.mask;

/** The name, the versions, and as much of ATTRIBUTES and MISCSELECT as the request asks for; INIT and DEBUG always. */
function masked({ fields }: SecsPage, request: ViewOf<typeof KeyRequest>): Dependencies {
  return {
    keyName: request.keyName,
    attributes: (request.attributeMask | INIT | DEBUG) & fields.attributes,
    xfrm: request.xfrmMask & fields.xfrm,
    miscSelect: (request.miscMask & fields.miscSelect) >>> 0,
    isvSvn: request.isvSvn,
    cpuSvn: request.cpuSvn,
  };
}

function masks(request: ViewOf<typeof KeyRequest>): Dependencies {
  return {
    attributeMask: request.attributeMask,
    xfrmMask: request.xfrmMask,
    miscMask: ~request.miscMask >>> 0,
  };
}

/** What KEYPOLICY chooses besides MRENCLAVE and MRSIGNER, and KEYPOLICY itself. */
function chosen({ fields, hidden }: SecsPage, request: ViewOf<typeof KeyRequest>): Dependencies {
  const policy = request.keyPolicy;
  return {
    keyPolicy: policy,
    ...((policy & KeyPolicy.bit.NOISVPRODID) === 0 && { isvProdId: fields.isvProdId }),
    ...((policy & KeyPolicy.bit.CONFIGID) !== 0 && { configId: fields.configId, configSvn: request.configSvn }),
    ...((policy & KeyPolicy.bit.ISVFAMILYID) !== 0 && { isvFamilyId: hidden.isvFamilyId }),
    ...((policy & KeyPolicy.bit.ISVEXTPRODID) !== 0 && { isvExtProdId: hidden.isvExtProdId }),
  };
}

function ownIdentity({ fields }: SecsPage): ReportIdentity {
  const { mrEnclave, attributes, xfrm, miscSelect, configId, configSvn } = fields;
  return { measurement: mrEnclave, attributes, xfrm, miscSelect, configId, configSvn };
}
