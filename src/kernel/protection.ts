/**
 * What a process may do to an enclave page through a mapping: the VMA, the driver's limit and the EPCM together.
 */
import { PageType } from '../abi/sgx-arch.ts';
import { PROT_NONE } from '../abi/linux.ts';
import { maxProtOf } from './page-table.ts';

/** PROT_READ, PROT_WRITE and PROT_EXEC; they are R, W and X of SECINFO too. */
export const RWX = 7;

/** The driver brings a page only to mappings that ask for no more than the page was added with. */
export function exceedsMaxProt(vmaProt: number, entryFlags: number): boolean {
  return (vmaProt & RWX & ~maxProtOf(entryFlags)) !== 0;
}

/**
 * The protection to apply for a page with contents.
 * @param entryFlags of the enclave's page table
 * @param secInfoFlags of the EPCM
 */
export function effectiveProt(vmaProt: number, entryFlags: number, secInfoFlags: number): number {
  if (exceedsMaxProt(vmaProt, entryFlags) || secInfoFlags >>> 8 !== PageType.REG) return PROT_NONE;
  return vmaProt & secInfoFlags & RWX;
}
