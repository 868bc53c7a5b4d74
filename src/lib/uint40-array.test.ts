import { array, assert, constantFrom, integer, oneof, property } from 'fast-check';
import { expect, it } from 'vitest';

import { Uint40Array } from './uint40-array.ts';

it('keeps every number below 2^40, each at its place', () => {
  const number = oneof(integer({ min: 0, max: 2 ** 40 - 1 }), constantFrom(0, 2 ** 32 - 1, 2 ** 32, 2 ** 40 - 1));
  assert(
    property(array(number, { minLength: 1, maxLength: 20 }), (numbers) => {
      const stored = new Uint40Array(numbers.length);
      for (const [index, value] of numbers.entries()) stored.set(index, value);
      expect(numbers.map((_, index) => stored.get(index))).toEqual(numbers);
      stored.set(0, 5);
      expect(stored.get(0)).toBe(5);
    }),
  );
});
