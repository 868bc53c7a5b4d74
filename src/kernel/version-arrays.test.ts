import { describe, expect, it } from 'vitest';

import { InvariantError } from '../lib/outcome.ts';
import { epcIndex } from '../lib/units.ts';
import { VA_SLOTS, VersionArrays } from './version-arrays.ts';

describe('VersionArrays', () => {
  it('gives every slot of every page once, lowest first, beginning with the page added last', () => {
    const arrays = new VersionArrays();
    arrays.add(epcIndex(7));
    arrays.add(epcIndex(9));
    const taken = Array.from({ length: 2 * VA_SLOTS }, () => arrays.takeSlot());
    expect(taken.slice(0, 3).map(({ page, slot }) => [page, slot])).toEqual([
      [9, 0],
      [9, 1],
      [9, 2],
    ]);
    expect(new Set(taken.map(({ id }) => id)).size).toBe(2 * VA_SLOTS);
    expect(taken.filter(({ page }) => page === 7).length).toBe(VA_SLOTS);
    expect(() => arrays.takeSlot()).toThrow(InvariantError);
  });

  it('a freed slot is the next to be used, and an id finds its slot again', () => {
    const arrays = new VersionArrays();
    arrays.add(epcIndex(1));
    arrays.add(epcIndex(2));
    const taken = Array.from({ length: VA_SLOTS + 40 }, () => arrays.takeSlot());
    const freed = taken[33]!;
    expect(arrays.find(freed.id)).toEqual(freed);
    arrays.freeSlot(freed);
    expect(arrays.takeSlot()).toEqual(freed);
  });

  it('takes back the last page only while it is empty', () => {
    const arrays = new VersionArrays();
    arrays.add(epcIndex(1));
    arrays.add(epcIndex(2));
    arrays.removeLast();
    expect(arrays.pages).toEqual([1]);
    arrays.takeSlot();
    expect(() => arrays.removeLast()).toThrow(InvariantError);
  });
});
