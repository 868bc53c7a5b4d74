/** Canonical addresses: bits 63 to 47 are equal, with the four-level paging that every profile has. */
const HALF = 1n << 47n;

export function isCanonical(address: bigint): boolean {
  return BigInt.asIntN(48, address) === BigInt.asIntN(64, address);
}

/** The same for an address that is a double: user addresses are below 2^47, kernel ones at the very end. */
export function isCanonicalNumber(address: number): boolean {
  return address < Number(HALF) || address >= 2 ** 64 - Number(HALF);
}
