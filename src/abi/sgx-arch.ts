/**
 * What the SGX architecture defines; Linux's own is in sgx-uapi.ts, the two are not mixed. This file declares the
 * structures that describe enclaves, pages and threads, and passes on its two neighbours, so that one import serves.
 * Spec: Intel SDM vol. 3D, "Enclave Access Control and Data Structures"; kernel: arch/x86/include/asm/sgx.h
 */
import { array, bytes, layout, nested, reserved, u16, u32, u64, u8, type StructOf } from '../lib/layout.ts';
import { Attributes, ExitInfo, MiscSelect, SecInfoFlags, TcsFlags, Xfrm } from './sgx-bits.ts';
import { identityLayouts } from './sgx-identity.ts';

export * from './sgx-bits.ts';
export * from './sgx-identity.ts';

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

/** Every layout of the architecture, for generated headers and tests. */
export const sgxLayouts = [
  Secs,
  Tcs,
  SecInfo,
  PageInfo,
  Pcmd,
  VersionArray,
  Gprsgx,
  Exinfo,
  ...identityLayouts,
] as const;
