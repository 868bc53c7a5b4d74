/**
 * What CPUID says of SGX, as changes to what the host's CPUID says.
 * Spec: SDM vol. 2A, "CPUID", leaves 00H, 07H and 12H.
 */
import type { ProcessorProfile } from './profiles.ts';

export interface CpuidRegisters {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

/** The answer is `(native & ~mask) | value`, register by register. */
export interface CpuidOverride {
  readonly leaf: number;
  readonly subleaf: number;
  readonly mask: CpuidRegisters;
  readonly value: CpuidRegisters;
}

/** A run of physical memory that is EPC. */
export interface EpcSection {
  readonly baseAddress: bigint;
  readonly sizeBytes: number;
}

export const CPUID_EXTENDED_FEATURES = 0x07;
export const CPUID_SGX = 0x12;

const NONE: CpuidRegisters = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
const ALL: CpuidRegisters = { eax: 0xffff_ffff, ebx: 0xffff_ffff, ecx: 0xffff_ffff, edx: 0xffff_ffff };

const FEATURE_EBX_SGX = 1 << 2;
const FEATURE_ECX_SGX_LC = 1 << 30;
const SGX_EAX_SGX1 = 1 << 0;
const SGX_EAX_SGX2 = 1 << 1;
const SGX_EAX_EDECCSSA = 1 << 11;
const SECTION_TYPE_EPC = 1;
/** EPC with confidentiality and integrity. */
const SECTION_PROPERTY = 1;

/**
 * The leaves in which the profile differs from the host. Leaf 12H is wholly ours: its sub-leaves that are not listed
 * are all zero. The largest leaf (CPUID.0:EAX) must be at least 12H; `cpuid` sees to it.
 */
export function cpuidOverrides(profile: ProcessorProfile, sections: readonly EpcSection[]): readonly CpuidOverride[] {
  const sgx = (subleaf: number, value: CpuidRegisters) => ({ leaf: CPUID_SGX, subleaf, mask: ALL, value });
  return [
    {
      leaf: CPUID_EXTENDED_FEATURES,
      subleaf: 0,
      mask: { ...NONE, ebx: FEATURE_EBX_SGX, ecx: FEATURE_ECX_SGX_LC },
      value: { ...NONE, ebx: FEATURE_EBX_SGX, ecx: profile.flc ? FEATURE_ECX_SGX_LC : 0 },
    },
    sgx(0, {
      eax: SGX_EAX_SGX1 | (profile.sgx2 ? SGX_EAX_SGX2 : 0) | (profile.aexNotify ? SGX_EAX_EDECCSSA : 0),
      ebx: profile.miscSelect,
      ecx: 0,
      edx: profile.maxEnclaveSizeLog2_32 | (profile.maxEnclaveSizeLog2_64 << 8),
    }),
    sgx(1, {
      eax: low(profile.attributes),
      ebx: high(profile.attributes),
      ecx: low(profile.xfrm),
      edx: high(profile.xfrm),
    }),
    ...sections.map((section, i) => sgx(2 + i, sectionRegisters(section))),
  ];
}

/** CPUID as the program sees it. `native` is what the host's CPUID gives for the same leaf and sub-leaf. */
export function cpuid(
  profile: ProcessorProfile,
  sections: readonly EpcSection[],
  leaf: number,
  subleaf: number,
  native: CpuidRegisters,
): CpuidRegisters {
  if (leaf === 0) return { ...native, eax: Math.max(native.eax, CPUID_SGX) };
  const override = cpuidOverrides(profile, sections).find((entry) => entry.leaf === leaf && entry.subleaf === subleaf);
  if (override === undefined) return leaf === CPUID_SGX ? NONE : native;
  const { mask, value } = override;
  const merge = (register: keyof CpuidRegisters) => ((native[register] & ~mask[register]) | value[register]) >>> 0;
  return { eax: merge('eax'), ebx: merge('ebx'), ecx: merge('ecx'), edx: merge('edx') };
}

function sectionRegisters({ baseAddress, sizeBytes }: EpcSection): CpuidRegisters {
  const size = BigInt(sizeBytes);
  return {
    eax: low(baseAddress | BigInt(SECTION_TYPE_EPC)),
    ebx: high(baseAddress),
    ecx: low(size | BigInt(SECTION_PROPERTY)),
    edx: high(size),
  };
}

const low = (value: bigint): number => Number(value & 0xffff_ffffn);
const high = (value: bigint): number => Number(value >> 32n);
