import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  equalBytes,
  fromHex,
  isAligned,
  isPowerOfTwo,
  isZero,
  readU32,
  readU64,
  roundDown,
  roundUp,
  toHex,
  writeU32,
  writeU64,
} from './bytes.ts';
import { Errno, errnoName } from './errno.ts';

test('fromHex undoes toHex', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (data) => {
      expect(fromHex(toHex(data))).toEqual(data);
    }),
  );
});

test.each(['0', 'xy', '0x00'])('%s is not hexadecimal', (text) => {
  expect(() => fromHex(text)).toThrow(RangeError);
});

test('integers are little-endian, also in a part of a buffer', () => {
  const data = new Uint8Array(20).subarray(3);
  writeU32(data, 1, 0x0403_0201);
  writeU64(data, 5, 0x0c0b_0a09_0807_0605n);
  expect(toHex(data.subarray(0, 14))).toBe('000102030405060708090a0b0c00');
  expect([readU32(data, 1), readU64(data, 5)]).toEqual([0x0403_0201, 0x0c0b_0a09_0807_0605n]);
});

test('rounding is exact above 2^32', () => {
  expect([roundDown(0x7fff_1234_5678, 4096), roundUp(0x7fff_1234_5678, 4096)]).toEqual([
    0x7fff_1234_5000, 0x7fff_1234_6000,
  ]);
  expect([roundUp(4096, 4096), roundDown(4096, 4096)]).toEqual([4096, 4096]);
  expect([isAligned(8192, 4096), isAligned(8192n, 4096), isAligned(8193n, 4096)]).toEqual([true, true, false]);
});

test('zero is no power of two', () => {
  expect([0n, 1n, 2n, 3n, 1n << 63n].map(isPowerOfTwo)).toEqual([false, true, true, false, true]);
});

test('isZero looks at every byte; equalBytes at the length too', () => {
  expect([isZero(new Uint8Array(3)), isZero(Uint8Array.of(0, 0, 1))]).toEqual([true, false]);
  expect([equalBytes(Uint8Array.of(1), Uint8Array.of(1, 0)), equalBytes(Uint8Array.of(1), Uint8Array.of(1))]).toEqual([
    false,
    true,
  ]);
});

test('errnos by name', () => {
  expect([errnoName(22), errnoName(Errno.ERESTARTSYS), errnoName(4711)]).toEqual([
    'EINVAL',
    'ERESTARTSYS',
    'errno 4711',
  ]);
});
