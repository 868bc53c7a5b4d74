/**
 * Structures by which an enclave is signed, launched, reported and given keys.
 * Spec: Intel SDM vol. 3D, "Enclave Access Control and Data Structures".
 */
import { bitField, bytes, layout, reserved, u16, u32, u64, u8, type StructOf } from '../lib/layout.ts';
import { Attributes, MiscSelect, Xfrm } from './sgx-bits.ts';

/** SIGSTRUCT.HEADER, HEADER2: the values EINIT demands. */
export const SIGSTRUCT_HEADER_HEX = '06000000e10000000000010000000000';
export const SIGSTRUCT_HEADER2_HEX = '01010000600000006000000001000000';
/** The RSA key: 3072 bits, exponent 3. */
export const SIGSTRUCT_MODULUS_BYTES = 384;
export const SIGSTRUCT_EXPONENT = 3;
/** SIGSTRUCT.VENDOR of Intel's own enclaves; others have 0. */
export const SGX_VENDOR_INTEL = 0x8086;

export const SigStruct = layout(
  'SIGSTRUCT',
  1808,
  {
    source: 'SDM "Enclave Signature Structure (SIGSTRUCT)"',
    align: 4096,
    kernel: {
      struct: 'sgx_sigstruct',
      fields: {
        header: 'header.header1',
        vendor: 'header.vendor',
        date: 'header.date',
        header2: 'header.header2',
        swDefined: 'header.swdefined',
        modulus: 'modulus',
        exponent: 'exponent',
        signature: 'signature',
        miscSelect: 'body.miscselect',
        miscMask: 'body.misc_mask',
        attributes: 'body.attributes',
        xfrm: 'body.xfrm',
        attributeMask: 'body.attributes_mask',
        xfrmMask: 'body.xfrm_mask',
        enclaveHash: 'body.mrenclave',
        isvProdId: 'body.isvprodid',
        isvSvn: 'body.isvsvn',
        q1: 'q1',
        q2: 'q2',
      },
    },
  },
  {
    header: bytes(0, 16, 'constant'),
    vendor: u32(16, '0, or 0x8086 for Intel'),
    date: u32(20, 'build date, BCD yyyymmdd'),
    header2: bytes(24, 16, 'constant'),
    swDefined: u32(40, 'for software'),
    reserved1: reserved(44, 84),
    modulus: bytes(128, SIGSTRUCT_MODULUS_BYTES, 'public key, little-endian'),
    exponent: u32(512, 'public exponent, 3'),
    signature: bytes(516, SIGSTRUCT_MODULUS_BYTES, 'RSA over bytes 0..127 and 900..1027, little-endian'),
    miscSelect: u32(900, 'MISCSELECT the enclave must have', MiscSelect),
    miscMask: u32(904, 'which of its bits are enforced', MiscSelect),
    cetAttributes: u8(908, 'CET attributes the enclave must have'),
    cetAttributesMask: u8(909, 'which of their bits are enforced'),
    reserved2: reserved(910, 2),
    isvFamilyId: bytes(912, 16, 'product family, with KSS only'),
    attributes: u64(928, 'ATTRIBUTES the enclave must have', Attributes),
    xfrm: u64(936, 'XFRM the enclave must have', Xfrm),
    attributeMask: u64(944, 'which ATTRIBUTES bits are enforced', Attributes),
    xfrmMask: u64(952, 'which XFRM bits are enforced', Xfrm),
    enclaveHash: bytes(960, 32, 'MRENCLAVE the enclave must have'),
    reserved3: reserved(992, 16),
    isvExtProdId: bytes(1008, 16, 'extended product id, with KSS only'),
    isvProdId: u16(1024, 'product id'),
    isvSvn: u16(1026, 'security version'),
    reserved4: reserved(1028, 12),
    q1: bytes(1040, SIGSTRUCT_MODULUS_BYTES, 'floor(signature^2 / modulus)'),
    q2: bytes(1424, SIGSTRUCT_MODULUS_BYTES, 'floor((signature^3 - q1 * signature * modulus) / modulus)'),
  },
);
export type SigStruct = StructOf<typeof SigStruct>;

/** The two pieces of a SIGSTRUCT that are signed, as [start, end) byte offsets. */
export const SIGSTRUCT_SIGNED_RANGES = [
  [0, 128],
  [900, 1028],
] as const;

export const EinitToken = layout(
  'EINITTOKEN',
  304,
  { source: 'SDM "EINIT Token Structure (EINITTOKEN)"', align: 512 },
  {
    valid: u32(0, 'bit 0: the token is to be looked at'),
    reserved1: reserved(4, 44),
    attributes: u64(48, 'ATTRIBUTES of the enclave', Attributes),
    xfrm: u64(56, 'XFRM of the enclave', Xfrm),
    mrEnclave: bytes(64, 32, 'measurement of the enclave'),
    reserved2: reserved(96, 32),
    mrSigner: bytes(128, 32, 'signer of the enclave'),
    reserved3: reserved(160, 32),
    cpuSvnLe: bytes(192, 16, 'CPUSVN of the launch enclave'),
    isvProdIdLe: u16(208, 'product id of the launch enclave'),
    isvSvnLe: u16(210, 'security version of the launch enclave'),
    cetMaskedAttributesLe: u8(212, 'CET attributes of the launch enclave, masked'),
    reserved4: reserved(213, 23),
    maskedMiscSelectLe: u32(236, 'MISCSELECT of the launch enclave, masked', MiscSelect),
    maskedAttributesLe: u64(240, 'ATTRIBUTES of the launch enclave, masked', Attributes),
    maskedXfrmLe: u64(248, 'XFRM of the launch enclave, masked', Xfrm),
    keyId: bytes(256, 32, 'key wear-out protection'),
    mac: bytes(288, 16, 'AES-CMAC over the first 192 bytes'),
  },
);

export const TargetInfo = layout(
  'TARGETINFO',
  512,
  { source: 'SDM "Report Target Info (TARGETINFO)"', align: 512 },
  {
    measurement: bytes(0, 32, 'MRENCLAVE of the target'),
    attributes: u64(32, 'ATTRIBUTES of the target', Attributes),
    xfrm: u64(40, 'XFRM of the target', Xfrm),
    cetAttributes: u8(48, 'CET attributes of the target'),
    reserved1: reserved(49, 1),
    configSvn: u16(50, 'CONFIGSVN of the target'),
    miscSelect: u32(52, 'MISCSELECT of the target', MiscSelect),
    reserved2: reserved(56, 8),
    configId: bytes(64, 64, 'CONFIGID of the target'),
    reserved3: reserved(128, 384),
  },
);

/** What EREPORT's RCX points to. */
export const REPORT_DATA_BYTES = 64;
/** Bytes of a REPORT under its MAC. */
export const REPORT_MACED_BYTES = 384;

export const Report = layout(
  'REPORT',
  432,
  { source: 'SDM "Report (REPORT)"', align: 512 },
  {
    cpuSvn: bytes(0, 16, 'security version of the processor'),
    miscSelect: u32(16, 'MISCSELECT', MiscSelect),
    cetAttributes: u8(20, 'CET attributes'),
    reserved1: reserved(21, 11),
    isvExtProdId: bytes(32, 16, 'extended product id'),
    attributes: u64(48, 'ATTRIBUTES', Attributes),
    xfrm: u64(56, 'XFRM', Xfrm),
    mrEnclave: bytes(64, 32, 'measurement'),
    reserved2: reserved(96, 32),
    mrSigner: bytes(128, 32, 'signer'),
    reserved3: reserved(160, 32),
    configId: bytes(192, 64, 'CONFIGID'),
    isvProdId: u16(256, 'product id'),
    isvSvn: u16(258, 'security version'),
    configSvn: u16(260, 'CONFIGSVN'),
    reserved4: reserved(262, 42),
    isvFamilyId: bytes(304, 16, 'product family'),
    reportData: bytes(320, REPORT_DATA_BYTES, 'chosen by the reporting enclave'),
    keyId: bytes(384, 32, 'key wear-out protection'),
    mac: bytes(416, 16, 'AES-CMAC under the report key of the target'),
  },
);

/** KEYREQUEST.KEYNAME. */
export const KeyName = { EINIT_TOKEN: 0, PROVISION: 1, PROVISION_SEAL: 2, REPORT: 3, SEAL: 4 } as const;

/** KEYREQUEST.KEYPOLICY. */
export const KeyPolicy = bitField({
  MRENCLAVE: 0,
  MRSIGNER: 1,
  NOISVPRODID: 2,
  CONFIGID: 3,
  ISVFAMILYID: 4,
  ISVEXTPRODID: 5,
});

export const KeyRequest = layout(
  'KEYREQUEST',
  512,
  { source: 'SDM "Key Request (KEYREQUEST)"', align: 512 },
  {
    keyName: u16(0, 'KeyName'),
    keyPolicy: u16(2, 'what the key is bound to', KeyPolicy),
    isvSvn: u16(4, 'security version, at most the own'),
    cetAttributesMask: u8(6, 'which CET attributes the key is bound to'),
    reserved1: reserved(7, 1),
    cpuSvn: bytes(8, 16, 'processor security version, at most the current'),
    attributeMask: u64(24, 'which ATTRIBUTES the key is bound to', Attributes),
    xfrmMask: u64(32, 'which XFRM bits the key is bound to', Xfrm),
    keyId: bytes(40, 32, 'key wear-out protection'),
    miscMask: u32(72, 'which MISCSELECT bits the key is bound to', MiscSelect),
    configSvn: u16(76, 'CONFIGSVN, at most the own'),
    reserved2: reserved(78, 434),
  },
);

/** Layouts of this file, for generated headers and tests. */
export const identityLayouts = [SigStruct, EinitToken, TargetInfo, Report, KeyRequest] as const;
