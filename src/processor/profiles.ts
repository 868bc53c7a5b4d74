/**
 * The processors one can ask for. Values as CPUID leaf 12H reports them on real machines of each kind.
 * Spec: SDM "Enumeration of SGX"; facts of the generations from Intel's product pages.
 */
import { Attributes, MiscSelect, Xfrm } from '../abi/sgx-arch.ts';
import { xsaveSizeBytes } from './xsave.ts';

export interface ProcessorProfile {
  readonly name: string;
  /** ECREATE .. ETRACK; always there with SGX. */
  readonly sgx1: boolean;
  /** EAUG, EMODPR, EMODT, EACCEPT, EMODPE; and EPCM faults as #PF with the SGX bit. */
  readonly sgx2: boolean;
  /** Flexible launch control: the four LEPUBKEYHASH MSRs can be written. */
  readonly flc: boolean;
  /** Key separation and sharing: CONFIGID, CONFIGSVN, ISVFAMILYID, ISVEXTPRODID. */
  readonly kss: boolean;
  /** ATTRIBUTES.AEXNOTIFY, and EDECCSSA. */
  readonly aexNotify: boolean;
  /** SECS.MISCSELECT bits that ECREATE allows. */
  readonly miscSelect: number;
  /** SECS.ATTRIBUTES bits that ECREATE allows. */
  readonly attributes: bigint;
  /** SECS.XFRM bits that ECREATE allows. */
  readonly xfrm: bigint;
  /** What the operating system has enabled. */
  readonly xcr0: bigint;
  /** ECREATE demands SIZE < 2 to this power. */
  readonly maxEnclaveSizeLog2_64: number;
  readonly maxEnclaveSizeLog2_32: number;
  /** Bytes of the XSAVE area of a frame, at least 576. */
  xsaveSizeBytes(xfrm: bigint): number;
}

const { DEBUG, MODE64BIT, PROVISIONKEY, EINITTOKENKEY, KSS, AEXNOTIFY } = Attributes.mask;
const SGX1_ATTRIBUTES = DEBUG | MODE64BIT | PROVISIONKEY | EINITTOKENKEY;
const { X87, SSE, AVX, BNDREGS, BNDCSR, OPMASK, ZMM_HI256, HI16_ZMM, PKRU, TILECFG, TILEDATA } = Xfrm.mask;

/** SGX1 as it came: no growing enclaves. With launch control, which the later steppings and Linux need. */
const skylake: ProcessorProfile = {
  name: 'skylake',
  sgx1: true,
  sgx2: false,
  flc: true,
  kss: false,
  aexNotify: false,
  miscSelect: 0,
  attributes: SGX1_ATTRIBUTES,
  xfrm: X87 | SSE | AVX | BNDREGS | BNDCSR,
  xcr0: X87 | SSE | AVX | BNDREGS | BNDCSR,
  maxEnclaveSizeLog2_64: 36,
  maxEnclaveSizeLog2_32: 31,
  xsaveSizeBytes,
};

/** The first server processor with SGX2. */
const icelake: ProcessorProfile = {
  ...skylake,
  name: 'icelake',
  sgx2: true,
  kss: true,
  miscSelect: MiscSelect.bit.EXINFO,
  attributes: SGX1_ATTRIBUTES | KSS,
  xfrm: X87 | SSE | AVX | OPMASK | ZMM_HI256 | HI16_ZMM | PKRU,
  xcr0: X87 | SSE | AVX | OPMASK | ZMM_HI256 | HI16_ZMM | PKRU,
  maxEnclaveSizeLog2_64: 56,
};

/** Ice Lake with AMX and AEX-Notify. */
const sapphireRapids: ProcessorProfile = {
  ...icelake,
  name: 'sapphire-rapids',
  aexNotify: true,
  attributes: icelake.attributes | AEXNOTIFY,
  xfrm: icelake.xfrm | TILECFG | TILEDATA,
  xcr0: icelake.xcr0 | TILECFG | TILEDATA,
};

export const processorProfiles: Readonly<Record<string, ProcessorProfile>> = {
  [skylake.name]: skylake,
  [icelake.name]: icelake,
  [sapphireRapids.name]: sapphireRapids,
};

/** The profile on a host whose XCR0 has only these bits: enclave code runs natively, so it can have no more. */
export function limitToHost(profile: ProcessorProfile, hostXcr0: bigint): ProcessorProfile {
  return { ...profile, xfrm: profile.xfrm & hostXcr0, xcr0: profile.xcr0 & hostXcr0 };
}
