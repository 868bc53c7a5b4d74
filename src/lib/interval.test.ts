import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IntervalMap, type Interval } from './interval.ts';

const SPAN = 24;
const range = fc.tuple(fc.nat(SPAN), fc.nat(SPAN)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
const operations = fc.array(fc.record({ range, value: fc.option(fc.nat(3)) }), { maxLength: 20 });
type Operation = { range: readonly [number, number]; value: number | null };

/** The same, one slot per position. */
function run(steps: readonly Operation[]): { map: IntervalMap<number>; slots: (number | undefined)[] } {
  const map = new IntervalMap<number>();
  const slots: (number | undefined)[] = Array.from({ length: SPAN }, () => undefined);
  for (const {
    range: [start, end],
    value,
  } of steps) {
    if (value === null) map.delete(start, end);
    else map.set(start, end, value);
    slots.fill(value ?? undefined, start, end);
  }
  return { map, slots };
}

describe('after any sets and deletes', () => {
  test('every position holds what an array of positions holds', () => {
    fc.assert(
      fc.property(operations, (steps) => {
        const { map, slots } = run(steps);
        expect(slots.map((_, position) => map.get(position))).toEqual(slots);
      }),
    );
  });

  test('ranges are sorted, not empty, and never overlap', () => {
    fc.assert(
      fc.property(operations, (steps) => {
        let reached = 0;
        for (const { start, end } of run(steps).map) {
          expect(start).toBeGreaterThanOrEqual(reached);
          expect(end).toBeGreaterThan(start);
          reached = end;
        }
      }),
    );
  });

  test('overlapping, clipped, covers and findFrom agree with the positions', () => {
    fc.assert(
      fc.property(operations, range, (steps, [start, end]) => {
        const { map, slots } = run(steps);
        const touching = [...map].filter((interval) => start < end && interval.start < end && interval.end > start);
        expect(map.overlapping(start, end)).toEqual(touching);
        const held = map.clipped(start, end).reduce((sum, interval) => sum + interval.end - interval.start, 0);
        expect(held).toBe(slots.slice(start, end).filter((value) => value !== undefined).length);
        expect(map.covers(start, end)).toBe(held === end - start);
        const next = slots.findIndex((value, position) => position >= start && value !== undefined);
        expect(map.findFrom(start)?.value).toBe(next < 0 ? undefined : slots[next]);
      }),
    );
  });
});

test('a range is split around what replaces its middle, the pieces share the value', () => {
  const value = { prot: 'rw' };
  const map = new IntervalMap([{ start: 0, end: 10, value }]);
  map.set(4, 6, { prot: 'r' });
  const pieces = [...map];
  expect(pieces.map(({ start, end }) => [start, end])).toEqual([
    [0, 4],
    [4, 6],
    [6, 10],
  ]);
  expect(pieces[0]!.value).toBe(pieces[2]!.value);
});

test('neighbours with equal values stay apart', () => {
  const map = new IntervalMap<string>();
  map.set(0, 2, 'a');
  map.set(2, 4, 'a');
  expect(map.size).toBe(2);
});

test('the map may be changed while it is walked', () => {
  const map = new IntervalMap<number>([
    { start: 0, end: 2, value: 1 },
    { start: 2, end: 4, value: 2 },
  ]);
  const seen: Interval<number>[] = [];
  for (const interval of map.overlapping(0, 4)) {
    seen.push(interval);
    map.delete(0, 4);
  }
  expect([seen.length, map.size]).toEqual([2, 0]);
});
