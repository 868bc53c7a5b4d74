import { cmac } from '@noble/ciphers/aes.js';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { fromHex, toHex } from '../lib/bytes.ts';
import { AesCmac } from './aes-cmac.ts';

describe('AES-128-CMAC', () => {
  const key = fromHex('2b7e151628aed2a6abf7158809cf4f3c');
  const message = fromHex(
    '6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710',
  );

  it('agrees with @noble/ciphers', () => {
    const keys = fc.uint8Array({ minLength: 16, maxLength: 16 });
    fc.assert(
      fc.property(keys, fc.uint8Array({ maxLength: 100 }), (anyKey, anyMessage) => {
        expect(toHex(new AesCmac(anyKey).mac(anyMessage))).toBe(toHex(cmac(anyMessage, anyKey)));
      }),
    );
  });

  it.each([
    [0, 'bb1d6929e95937287fa37d129b756746'],
    [16, '070a16b46b4d4144f79bdd9dd04a287c'],
    [40, 'dfa66747de9ae63030ca32611497c827'],
    [64, '51f0bebf7e3b9d92fc49741779363cfe'],
  ])('gives the value of RFC 4493, "Test Vectors", for %i bytes', (lengthBytes, mac) => {
    expect(toHex(new AesCmac(key).mac(message.subarray(0, lengthBytes)))).toBe(mac);
  });
});
