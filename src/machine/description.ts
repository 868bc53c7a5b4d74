/** A machine in words, as the command line gives it: `--cpu icelake --epc 64M`. */
import { PAGE_SIZE_BYTES } from '../lib/units.ts';
import { processorProfiles, type ProcessorProfile } from './profiles.ts';

export const DEFAULT_CPU = 'sapphire-rapids';
export const DEFAULT_EPC = '128M';

/** Below this Linux's own watermarks leave no room for an enclave. */
const MIN_EPC_BYTES = 1024 * 1024;
/** Its bookkeeping alone takes half a gigabyte of the host. */
const MAX_EPC_BYTES = 64 * 1024 ** 3;

/** A sentence for the user: what was wrong, and what would be right. */
export class DescriptionError extends Error {
  override name = 'DescriptionError';
}

/** Throws a DescriptionError. */
export function parseCpu(name: string): ProcessorProfile {
  const profile = processorProfiles[name];
  if (profile !== undefined) return profile;
  const known = Object.keys(processorProfiles).join(', ');
  throw new DescriptionError(`There is no processor "${name}". Known: ${known}.`);
}

const UNIT_BYTES: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

/** Bytes of `64M`, `1G`, `8192K` or `67108864`; 1M to 64G, whole pages. Throws a DescriptionError. */
export function parseEpcSize(text: string): number {
  const match = /^(\d+)([KMG]?)(?:i?B)?$/i.exec(text.trim());
  if (match === null) {
    throw new DescriptionError(`"${text}" is no size of EPC. Write a number with K, M or G, as in 64M.`);
  }
  const sizeBytes = Number(match[1]) * UNIT_BYTES[match[2]!.toUpperCase()]!;
  if (sizeBytes < MIN_EPC_BYTES || sizeBytes > MAX_EPC_BYTES) {
    throw new DescriptionError(`An EPC of ${text} cannot be. It has 1M to 64G.`);
  }
  if (sizeBytes % PAGE_SIZE_BYTES !== 0) {
    throw new DescriptionError(`An EPC of ${text} is not a whole number of pages of 4K.`);
  }
  return sizeBytes;
}
