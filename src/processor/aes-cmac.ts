/**
 * AES-128-CMAC, which node:crypto does not have: a CBC-MAC whose last block is masked with a subkey.
 * Spec: RFC 4493.
 */
import { createCipheriv } from 'node:crypto';

const BLOCK_BYTES = 16;
const ZERO_BLOCK = new Uint8Array(BLOCK_BYTES);
/** The constant that reduces a doubled 128-bit value. */
const RB = 0x87;

/** 16 bytes. */
export function aesCmac(key: Uint8Array, message: Uint8Array): Uint8Array {
  const k1 = double(cbcLastBlock(key, ZERO_BLOCK));
  const complete = message.length > 0 && message.length % BLOCK_BYTES === 0;
  const padded = new Uint8Array(
    complete ? message.length : message.length + BLOCK_BYTES - (message.length % BLOCK_BYTES),
  );
  padded.set(message);
  if (!complete) padded[message.length] = 0x80;
  const mask = complete ? k1 : double(k1);
  const last = padded.subarray(padded.length - BLOCK_BYTES);
  mask.forEach((byte, i) => {
    last[i] = last[i]! ^ byte;
  });
  return cbcLastBlock(key, padded);
}

function cbcLastBlock(key: Uint8Array, message: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-128-cbc', key, ZERO_BLOCK).setAutoPadding(false);
  return cipher.update(message).subarray(-BLOCK_BYTES);
}

/** Times x in GF(2^128), big-endian. */
function double(block: Uint8Array): Uint8Array {
  const carry = block[0]! >>> 7;
  const shifted = block.map((byte, i) => (byte << 1) | ((block[i + 1] ?? 0) >>> 7));
  shifted[BLOCK_BYTES - 1] = shifted[BLOCK_BYTES - 1]! ^ (carry * RB);
  return shifted;
}
