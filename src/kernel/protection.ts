/**
 * What a process may do to an enclave page through a mapping: the VMA, the driver's limit and the EPCM together.
 */
import { PageType } from '../abi/sgx-arch.ts';
import type { SgxRules } from '../abi/sgx-uapi/generation.ts';
import { PROT_NONE } from '../abi/linux.ts';
import type { EnclaveFile } from './enclave.ts';
import { maxProtOf } from './page-table.ts';

/** PROT_READ, PROT_WRITE and PROT_EXEC; they are R, W and X of SECINFO too. */
export const RWX = 7;

/** The driver brings a page only to mappings that ask for no more than the page was added with, where it vets that. */
export function exceedsLimit({ kernel }: EnclaveFile, vmaProt: number, entryFlags: number): boolean {
  return kernel.rules.limit === 'vetted' && (vmaProt & RWX & ~maxProtOf(entryFlags)) !== 0;
}

/**
 * The protection to apply for a page with contents.
 * @param limit of the page, by the driver
 * @param secInfoFlags of the EPCM
 */
export function effectiveProt({ limit: rule }: SgxRules, vmaProt: number, limit: number, secInfoFlags: number): number {
  if (rule === 'vetted' && (vmaProt & RWX & ~limit) !== 0) return PROT_NONE;
  if (secInfoFlags >>> 8 !== PageType.REG) return PROT_NONE;
  return vmaProt & secInfoFlags & RWX & (rule === 'running' ? limit : RWX);
}
