/**
 * Branded numbers that must not be mixed up. Linear and user addresses are `number`s: a canonical user address is
 * below 2^47 and therefore exact in a double. Values read from 64-bit fields are `bigint` until `toUserAddr` has
 * looked at them.
 */
declare const brand: unique symbol;

/** An address in a program's address space, in bytes. */
export type UserAddr = number & { readonly [brand]: 'UserAddr' };
/** A linear page number: address / 4096. */
export type LinPage = number & { readonly [brand]: 'LinPage' };
/** The index of a page in the EPC (all sections, counted through). */
export type EpcIndex = number & { readonly [brand]: 'EpcIndex' };

export const PAGE_SIZE_BYTES = 4096;
/** Where user addresses end on x86-64 with four-level paging (TASK_SIZE_MAX). */
export const USER_ADDRESS_END = 0x7fff_ffff_f000;

export const userAddr = (value: number): UserAddr => value as UserAddr;
export const linPage = (value: number): LinPage => value as LinPage;
export const epcIndex = (value: number): EpcIndex => value as EpcIndex;

export const pageOf = (address: number): LinPage => Math.floor(address / PAGE_SIZE_BYTES) as LinPage;
export const addressOf = (page: LinPage): UserAddr => (page * PAGE_SIZE_BYTES) as UserAddr;
export const isPageAligned = (value: number): boolean => value % PAGE_SIZE_BYTES === 0;

/** The user address in a 64-bit value, or undefined when it lies outside user space. */
export function toUserAddr(value: bigint): UserAddr | undefined {
  return value < BigInt(USER_ADDRESS_END) ? (Number(value) as UserAddr) : undefined;
}
