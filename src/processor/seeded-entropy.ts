/** Randomness of virtual machines: the same bytes for the same seed. */
import type { Entropy } from './ports.ts';

/** xorshift32. */
export function seededEntropy(seed = 1): Entropy {
  let state = seed >>> 0 || 1;
  return {
    fill(bytes) {
      for (let i = 0; i < bytes.length; i++) {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        bytes[i] = state;
      }
    },
  };
}
