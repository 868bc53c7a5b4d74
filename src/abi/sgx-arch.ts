/**
 * What the SGX architecture defines: leaves, codes, bits and structures. Linux's own are in sgx-uapi.ts.
 * Spec: Intel SDM vol. 3D, "Enclave Access Control and Data Structures" and "SGX Instruction References";
 * kernel spellings from arch/x86/include/asm/sgx.h.
 */
import { array, bitField, bytes, layout, nested, reserved, u16, u32, u64, u8, type StructOf } from '../lib/layout.ts';

/** ENCLS leaf numbers (EAX). */
export const Encls = {
  ECREATE: 0x00,
  EADD: 0x01,
  EINIT: 0x02,
  EREMOVE: 0x03,
  EDBGRD: 0x04,
  EDBGWR: 0x05,
  EEXTEND: 0x06,
  ELDB: 0x07,
  ELDU: 0x08,
  EBLOCK: 0x09,
  EPA: 0x0a,
  EWB: 0x0b,
  ETRACK: 0x0c,
  EAUG: 0x0d,
  EMODPR: 0x0e,
  EMODT: 0x0f,
  ERDINFO: 0x10,
  ETRACKC: 0x11,
  ELDBC: 0x12,
  ELDUC: 0x13,
  EUPDATESVN: 0x18,
} as const;

/** ENCLU leaf numbers (EAX). */
export const Enclu = {
  EREPORT: 0,
  EGETKEY: 1,
  EENTER: 2,
  ERESUME: 3,
  EEXIT: 4,
  EACCEPT: 5,
  EMODPE: 6,
  EACCEPTCOPY: 7,
  EVERIFYREPORT2: 8,
  EDECCSSA: 9,
} as const;

/** ENCLV leaf numbers (EAX). */
export const Enclv = { EDECVIRTCHILD: 0, EINCVIRTCHILD: 1, ESETCONTEXT: 2 } as const;

/** What a leaf leaves in RAX: SDM "Error Codes". */
export const SgxCode = {
  SGX_SUCCESS: 0,
  SGX_INVALID_SIG_STRUCT: 1,
  SGX_INVALID_ATTRIBUTE: 2,
  SGX_BLKSTATE: 3,
  SGX_INVALID_MEASUREMENT: 4,
  SGX_NOTBLOCKABLE: 5,
  SGX_PG_INVLD: 6,
  SGX_EPC_PAGE_CONFLICT: 7,
  SGX_INVALID_SIGNATURE: 8,
  SGX_MAC_COMPARE_FAIL: 9,
  SGX_PAGE_NOT_BLOCKED: 10,
  SGX_NOT_TRACKED: 11,
  SGX_VA_SLOT_OCCUPIED: 12,
  SGX_CHILD_PRESENT: 13,
  SGX_ENCLAVE_ACT: 14,
  SGX_ENTRYEPOCH_LOCKED: 15,
  SGX_INVALID_EINITTOKEN: 16,
  SGX_PREV_TRK_INCMPL: 17,
  SGX_PG_IS_SECS: 18,
  SGX_PAGE_ATTRIBUTES_MISMATCH: 19,
  SGX_PAGE_NOT_MODIFIABLE: 20,
  SGX_PAGE_NOT_DEBUGGABLE: 21,
  SGX_INVALID_COUNTER: 25,
  SGX_PG_NONEPC: 26,
  SGX_TRACK_NOT_REQUIRED: 27,
  SGX_INVALID_REPORTMACSTRUCT: 28,
  SGX_INVALID_CPUSVN: 32,
  SGX_INVALID_ISVSVN: 64,
  SGX_UNMASKED_EVENT: 128,
  SGX_INVALID_KEYNAME: 256,
} as const;

const sgxCodeNames = new Map<number, string>(Object.entries(SgxCode).map(([name, code]) => [code, name]));

/** `SGX_NOT_TRACKED` for 11. */
export function sgxCodeName(code: number): string {
  return sgxCodeNames.get(code) ?? `SGX code ${code}`;
}

/** EPCM.PT and SECINFO.FLAGS.PT. */
export const PageType = { SECS: 0, TCS: 1, REG: 2, VA: 3, TRIM: 4, SS_FIRST: 5, SS_REST: 6 } as const;
export type PageType = (typeof PageType)[keyof typeof PageType];

const pageTypeNames = new Map<number, string>(Object.entries(PageType).map(([name, type]) => [type, `PT_${name}`]));

/** `PT_REG` for 2. */
export function pageTypeName(type: number): string {
  return pageTypeNames.get(type) ?? `PT ${type}`;
}

/** SDM "ATTRIBUTES". The upper half of the 128 bits is XFRM and a field of its own here. */
export const Attributes = bitField({
  INIT: 0,
  DEBUG: 1,
  MODE64BIT: 2,
  PROVISIONKEY: 4,
  EINITTOKENKEY: 5,
  CET: 6,
  KSS: 7,
  AEXNOTIFY: 10,
});

/** SDM "SECS.MISCSELECT". */
export const MiscSelect = bitField({ EXINFO: 0, CPINFO: 1 });

/** XCR0 and XFRM: SDM vol. 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features". */
export const Xfrm = bitField({
  X87: 0,
  SSE: 1,
  AVX: 2,
  BNDREGS: 3,
  BNDCSR: 4,
  OPMASK: 5,
  ZMM_HI256: 6,
  HI16_ZMM: 7,
  PKRU: 9,
  TILECFG: 17,
  TILEDATA: 18,
});

/** SDM "SECINFO.FLAGS". */
export const SecInfoFlags = bitField({ R: 0, W: 1, X: 2, PENDING: 3, MODIFIED: 4, PR: 5, PT: [8, 15, PageType] });

/** SDM "TCS.FLAGS". */
export const TcsFlags = bitField({ DBGOPTIN: 0, AEXNOTIFY: 1 });

/** EXITINFO.EXIT_TYPE. */
export const ExitType = { HARDWARE: 3, SOFTWARE: 6 } as const;

/** SDM "EXITINFO". */
export const ExitInfo = bitField({ VECTOR: [0, 7], TYPE: [8, 10, ExitType], VALID: 31 });

/** SDM "SGX Enclave Control Structure (SECS)", as ECREATE takes it; what hardware hides in the tail is not named. */
export const Secs = layout(
  'SECS',
  4096,
  {
    source: 'SDM "SGX Enclave Control Structure (SECS)"',
    align: 4096,
    kernel: {
      struct: 'sgx_secs',
      fields: {
        size: 'size',
        baseAddr: 'base',
        ssaFrameSize: 'ssa_frame_size',
        miscSelect: 'miscselect',
        attributes: 'attributes',
        xfrm: 'xfrm',
        mrEnclave: 'mrenclave',
        mrSigner: 'mrsigner',
        configId: 'config_id',
        isvProdId: 'isv_prod_id',
        isvSvn: 'isv_svn',
        configSvn: 'config_svn',
      },
    },
  },
  {
    size: u64(0, 'bytes of ELRANGE, a power of two'),
    baseAddr: u64(8, 'linear base of ELRANGE, aligned to its size'),
    ssaFrameSize: u32(16, 'pages of one SSA frame'),
    miscSelect: u32(20, 'what goes into the MISC region of a frame', MiscSelect),
    cetLegBitmapOffset: u64(24, 'page-aligned offset of the legacy-compatibility bitmap, with CET only'),
    cetAttributes: u8(32, 'CET attributes, with CET only'),
    reserved1: reserved(33, 15),
    attributes: u64(48, 'what the enclave may do', Attributes),
    xfrm: u64(56, 'XSAVE components inside the enclave', Xfrm),
    mrEnclave: bytes(64, 32, 'measurement, set by EINIT'),
    reserved2: reserved(96, 32),
    mrSigner: bytes(128, 32, 'SHA-256 of the signer key, set by EINIT'),
    reserved3: reserved(160, 32),
    configId: bytes(192, 64, 'post-measurement identity, with KSS only'),
    isvProdId: u16(256, 'product id, set by EINIT'),
    isvSvn: u16(258, 'security version, set by EINIT'),
    configSvn: u16(260, 'security version of configId, with KSS only'),
    reserved4: reserved(262, 3834),
  },
);
export type Secs = StructOf<typeof Secs>;

export const Tcs = layout(
  'TCS',
  4096,
  {
    source: 'SDM "Thread Control Structure (TCS)"',
    align: 4096,
    kernel: {
      struct: 'sgx_tcs',
      fields: {
        state: 'state',
        flags: 'flags',
        ossa: 'ssa_offset',
        cssa: 'ssa_index',
        nssa: 'nr_ssa_frames',
        oentry: 'entry_offset',
        aep: 'exit_addr',
        ofsBase: 'fs_offset',
        ogsBase: 'gs_offset',
        fsLimit: 'fs_limit',
        gsLimit: 'gs_limit',
      },
    },
  },
  {
    state: u64(0, 'TcsState; cleared by EADD'),
    flags: u64(8, 'execution flags', TcsFlags),
    ossa: u64(16, 'offset of the SSA stack from the enclave base'),
    cssa: u32(24, 'index of the next SSA frame; cleared by EADD'),
    nssa: u32(28, 'number of SSA frames'),
    oentry: u64(32, 'offset of the entry point from the enclave base'),
    aep: u64(40, 'where an asynchronous exit goes; set by EENTER'),
    ofsBase: u64(48, 'offset of the FS segment from the enclave base'),
    ogsBase: u64(56, 'offset of the GS segment from the enclave base'),
    fsLimit: u32(64, 'FS limit, 32-bit enclaves only'),
    gsLimit: u32(68, 'GS limit, 32-bit enclaves only'),
    ocetSsa: u64(72, 'offset of the CET state save area, with CET only'),
    prevSsp: u64(80, 'shadow stack pointer saved at entry, with CET only'),
    reserved: reserved(88, 4008),
  },
);
export type Tcs = StructOf<typeof Tcs>;

/** TCS.STATE. */
export const TcsState = { INACTIVE: 0n, ACTIVE: 1n } as const;

/** Bytes of a TCS that EDBGRD may read; EDBGWR may write FLAGS only. */
export const TCS_DEBUG_LIMIT_BYTES = 72;

export const SecInfo = layout(
  'SECINFO',
  64,
  {
    source: 'SDM "Security Information (SECINFO)"',
    align: 64,
    kernel: { struct: 'sgx_secinfo', fields: { flags: 'flags' } },
  },
  {
    flags: u64(0, 'access rights and page type', SecInfoFlags),
    reserved: reserved(8, 56),
  },
);
export type SecInfo = StructOf<typeof SecInfo>;

export const PageInfo = layout(
  'PAGEINFO',
  32,
  {
    source: 'SDM "Page Information (PAGEINFO)"',
    align: 32,
    kernel: {
      struct: 'sgx_pageinfo',
      fields: { linAddr: 'addr', srcPage: 'contents', secInfo: 'metadata', secs: 'secs' },
    },
  },
  {
    linAddr: u64(0, 'enclave linear address'),
    srcPage: u64(8, 'address of the contents'),
    secInfo: u64(16, 'address of a SECINFO, or of a PCMD when paging'),
    secs: u64(24, 'address of the SECS'),
  },
);

export const Pcmd = layout(
  'PCMD',
  128,
  {
    source: 'SDM "Paging Crypto MetaData (PCMD)"',
    align: 128,
    kernel: { struct: 'sgx_pcmd', fields: { secInfo: 'secinfo', enclaveId: 'enclave_id', mac: 'mac' } },
  },
  {
    secInfo: nested(0, SecInfo, 'EPCM state of the page'),
    enclaveId: u64(64, 'EID of the enclave'),
    reserved: reserved(72, 40),
    mac: bytes(112, 16, 'AES-GCM tag over version, header and contents'),
  },
);

/** A version array page: EWB puts the version of an evicted page in a slot, ELDU takes it out. */
export const VersionArray = layout(
  'VA',
  4096,
  { source: 'SDM "Version Array (VA)"', align: 4096 },
  { slots: array(0, 512, u64(0, 'version, 0 when empty'), 'version slots') },
);

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
    reportData: bytes(320, 64, 'chosen by the reporting enclave'),
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

/** The last 184 bytes of an SSA frame. */
export const Gprsgx = layout(
  'GPRSGX',
  184,
  { source: 'SDM "GPRSGX Region"' },
  {
    rax: u64(0, ''),
    rcx: u64(8, ''),
    rdx: u64(16, ''),
    rbx: u64(24, ''),
    rsp: u64(32, ''),
    rbp: u64(40, ''),
    rsi: u64(48, ''),
    rdi: u64(56, ''),
    r8: u64(64, ''),
    r9: u64(72, ''),
    r10: u64(80, ''),
    r11: u64(88, ''),
    r12: u64(96, ''),
    r13: u64(104, ''),
    r14: u64(112, ''),
    r15: u64(120, ''),
    rflags: u64(128, ''),
    rip: u64(136, ''),
    ursp: u64(144, 'RSP outside, saved by EENTER'),
    urbp: u64(152, 'RBP outside, saved by EENTER'),
    exitInfo: u32(160, 'why the enclave was left', ExitInfo),
    reserved: reserved(164, 3),
    aexNotify: u8(167, 'bit 0: ERESUME tells the enclave of the exit'),
    fsBase: u64(168, ''),
    gsBase: u64(176, ''),
  },
);

/** In the MISC region, just below GPRSGX, when MISCSELECT.EXINFO is set. */
export const Exinfo = layout(
  'EXINFO',
  16,
  { source: 'SDM "EXINFO Structure"' },
  {
    maddr: u64(0, 'address of a #PF'),
    errcd: u32(8, 'error code of a #PF or #GP'),
    reserved: reserved(12, 4),
  },
);

/** Layouts of this file, for generated headers and tests. */
export const sgxLayouts = [
  Secs,
  Tcs,
  SecInfo,
  PageInfo,
  Pcmd,
  VersionArray,
  SigStruct,
  EinitToken,
  TargetInfo,
  Report,
  KeyRequest,
  Gprsgx,
  Exinfo,
] as const;
