/** A machine in words, as the command line and machine files give it, turned into what the parts want. */
import { Attributes, MiscSelect, Xfrm } from '../abi/sgx-arch.ts';
import { sgxUapis, type SgxUapi } from '../abi/sgx-uapi/generations.ts';
import { CPUID_SGX_SUBLEAVES } from '../abi/stub.ts';
import type { BitField } from '../lib/bit-field.ts';
import { PAGE_SIZE_BYTES } from '../lib/units.ts';
import type { EpcSection } from '../processor/cpuid.ts';
import { illegalXfrm } from '../processor/xsave.ts';
import { processorProfiles, type ProcessorProfile } from './profiles.ts';

export const DEFAULT_CPU = 'sapphire-rapids';
export const DEFAULT_EPC = '128M';

/** What of a profile can be had otherwise. Bits are given by their names; what is left out is the profile's. */
export interface ProcessorFeatures {
  readonly sgx2?: boolean | undefined;
  readonly kss?: boolean | undefined;
  readonly aexNotify?: boolean | undefined;
  readonly miscSelect?: readonly string[] | undefined;
  readonly attributes?: readonly string[] | undefined;
  readonly xfrm?: readonly string[] | undefined;
  readonly maxEnclaveSizeLog2_64?: number | undefined;
  readonly maxEnclaveSizeLog2_32?: number | undefined;
}

/** A machine as plain data, so that it can be sent to another thread. */
export interface MachineDescription {
  /** A name of `processorProfiles`. */
  readonly cpu: string;
  readonly features: ProcessorFeatures;
  /** Bytes of each EPC section. */
  readonly epc: readonly number[];
  /** The generation of the SGX interface. */
  readonly sgxUapi: SgxUapi;
  /** Outcomes to come instead of what would be: docs/inject.md. */
  readonly inject: readonly string[];
}

/** A sentence for the user: what was wrong, and what would be right. */
export class DescriptionError extends Error {
  override name = 'DescriptionError';
}

/** Throws a DescriptionError. */
export function parseCpu(name: string): ProcessorProfile {
  const profile = Object.hasOwn(processorProfiles, name) ? processorProfiles[name] : undefined;
  if (profile !== undefined) return profile;
  const known = Object.keys(processorProfiles).join(', ');
  throw new DescriptionError(`There is no processor "${name}". Known: ${known}.`);
}

/** Throws a DescriptionError. */
export function parseSgxUapi(name: string): SgxUapi {
  const known = sgxUapis.find((one) => one === name);
  if (known !== undefined) return known;
  throw new DescriptionError(`There is no SGX interface "${name}". Known: ${sgxUapis.join(', ')}.`);
}

const { MODE64BIT, KSS, AEXNOTIFY } = Attributes.mask;
const ALL_XFRM = Xfrm.known;
const BASIC_XFRM = Xfrm.mask.X87 | Xfrm.mask.SSE;

/** The profile with its features changed. Throws a DescriptionError for a processor that cannot be. */
export function processorOf({ cpu, features }: Pick<MachineDescription, 'cpu' | 'features'>): ProcessorProfile {
  const base = parseCpu(cpu);
  const { miscSelect, attributes, xfrm, ...rest } = features;
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  const changed: ProcessorProfile = { ...base, ...given };
  const components = xfrm === undefined ? base.xfrm : maskOf(Xfrm, xfrm);
  const profile: ProcessorProfile = {
    ...changed,
    ...(miscSelect && { miscSelect: Number(maskOf(MiscSelect, miscSelect)) }),
    attributes: attributes === undefined ? impliedAttributes(changed) : maskOf(Attributes, attributes),
    xfrm: components,
    xcr0: components,
  };
  const contradiction = contradictionIn(profile);
  if (contradiction !== undefined) throw new DescriptionError(contradiction);
  return profile;
}

/** What the profile allows, with the bits that stand for features as the features are. */
function impliedAttributes({ attributes, kss, aexNotify }: ProcessorProfile): bigint {
  return (attributes & ~(KSS | AEXNOTIFY)) | (kss ? KSS : 0n) | (aexNotify ? AEXNOTIFY : 0n);
}

function contradictionIn(profile: ProcessorProfile): string | undefined {
  const { sgx2, kss, aexNotify, attributes, xfrm, maxEnclaveSizeLog2_32, maxEnclaveSizeLog2_64 } = profile;
  if (aexNotify && !sgx2)
    return 'aexNotify is true and sgx2 is false: AEX-Notify came after SGX2. Set both or neither.';
  if ((attributes & MODE64BIT) === 0n) return 'attributes lacks MODE64BIT: no program could build an enclave. Add it.';
  if (kss !== ((attributes & KSS) !== 0n))
    return `kss is ${kss} and attributes ${kss ? 'lacks' : 'has'} KSS: they are one feature. Make them agree.`;
  if (aexNotify !== ((attributes & AEXNOTIFY) !== 0n)) {
    const has = aexNotify ? 'lacks' : 'has';
    return `aexNotify is ${aexNotify} and attributes ${has} AEXNOTIFY: they are one feature. Make them agree.`;
  }
  if ((xfrm & BASIC_XFRM) !== BASIC_XFRM) return 'xfrm lacks X87 or SSE: every enclave has both. Add them.';
  const illegal = illegalXfrm(xfrm, ALL_XFRM);
  if (illegal !== undefined) return `xfrm ${illegal.found} cannot be: ${illegal.check}; expected ${illegal.expected}.`;
  if (maxEnclaveSizeLog2_64 < maxEnclaveSizeLog2_32) {
    return 'maxEnclaveSizeLog2_64 is below maxEnclaveSizeLog2_32: a 64-bit enclave can be as large as a 32-bit one.';
  }
  return undefined;
}

function maskOf(field: BitField, names: readonly string[]): bigint {
  return names.reduce((all, name) => all | field.mask[name]!, 0n);
}

/** Below this Linux's own watermarks leave no room for an enclave. */
const MIN_EPC_BYTES = 1024 * 1024;
/** Its bookkeeping alone takes half a gigabyte of the host. */
const MAX_EPC_BYTES = 64 * 1024 ** 3;
/** CPUID.12H has two sub-leaves before the first section. */
const MAX_EPC_SECTIONS = CPUID_SGX_SUBLEAVES - 2;

const UNIT_BYTES: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

/**
 * Bytes of each section of `64M`, `1G`, `8192K`, `67108864` or, with several sections, `64M,32M`. Whole pages, 1M to
 * 64G in all. Throws a DescriptionError.
 */
export function parseEpc(text: string): readonly number[] {
  const sections = text.split(',').map(parseSection);
  const sizeBytes = sections.reduce((sum, section) => sum + section, 0);
  if (sizeBytes < MIN_EPC_BYTES || sizeBytes > MAX_EPC_BYTES) {
    throw new DescriptionError(`An EPC of ${text} cannot be. It has 1M to 64G.`);
  }
  if (sections.includes(0) || sections.length > MAX_EPC_SECTIONS) {
    throw new DescriptionError(`An EPC of ${text} cannot be. It has 1 to ${MAX_EPC_SECTIONS} sections, none empty.`);
  }
  return sections;
}

function parseSection(text: string): number {
  const match = /^(\d+)([KMG]?)(?:i?B)?$/i.exec(text.trim());
  if (match === null) {
    throw new DescriptionError(`"${text}" is no size of EPC. Write a number with K, M or G, as in 64M.`);
  }
  const sizeBytes = Number(match[1]) * UNIT_BYTES[match[2]!.toUpperCase()]!;
  if (sizeBytes % PAGE_SIZE_BYTES !== 0) {
    throw new DescriptionError(`An EPC of ${text} is not a whole number of pages of 4K.`);
  }
  return sizeBytes;
}

/** Model: where the EPC pretends to be; no address of it is ever used. */
const EPC_BASE_ADDRESS = 0x8000_0000n;

/** Sections of these sizes, one after the other. */
export function epcSections(sizesBytes: readonly number[]): readonly EpcSection[] {
  let baseAddress = EPC_BASE_ADDRESS;
  return sizesBytes.map((sizeBytes) => {
    const section = { baseAddress, sizeBytes };
    baseAddress += BigInt(sizeBytes);
    return section;
  });
}
