/** Canonical addresses: bits 63 to 47 are equal, with the four-level paging that every profile has. */
export function isCanonical(address: bigint): boolean {
  return BigInt.asIntN(48, address) === BigInt.asIntN(64, address);
}
