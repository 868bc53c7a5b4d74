import { describe, expect, it } from 'vitest';
import { inProcess } from '../../bench/batch-program.ts';
import { barHolds, measureCase, median, type BenchCase } from '../../bench/case.ts';

/** A measure that answers with these figures in turn; the first is the warm-up. */
function figures(...values: number[]) {
  return inProcess(() => values.shift() ?? Number.NaN);
}

const base: Omit<BenchCase, 'subject' | 'yardstick'> = {
  name: 'case',
  summary: '',
  unit: 'us',
  rounds: 3,
  bar: { of: 'ratio', is: '<=', limit: 1.25 },
  convert: (nanoseconds) => nanoseconds / 1000,
};

describe('median', () => {
  it.each([
    [[3], 3],
    [[9, 1, 5], 5],
    [[4, 1, 3, 2], 2.5],
  ])('of %j is %d', (values, expected) => {
    expect(median(values)).toBe(expected);
  });
});

describe('measureCase', () => {
  it('compares medians and leaves the warm-up round out', async () => {
    const result = await measureCase({
      ...base,
      subject: () => figures(90_000, 2000, 2400, 9000),
      yardstick: () => figures(90_000, 1000, 2000, 8000),
    });
    expect(result).toEqual({
      name: 'case',
      value: 2.4,
      unit: 'us',
      yardstick: 2,
      ratio: 1.2,
      bar: 'ratio <= 1.25',
      holds: true,
    });
  });

  it('reports what is added where the case asks for it', async () => {
    const result = await measureCase({
      ...base,
      added: true,
      bar: { of: 'value', is: '<=', limit: 0.5 },
      subject: () => figures(0, 3000, 3000, 3000),
      yardstick: () => figures(0, 2000, 2000, 2000),
    });
    expect(result).toMatchObject({ value: 1, yardstick: 2, ratio: 1.5, holds: false });
  });

  it('does not let a figure that is no number hold a bar', () => {
    expect(barHolds(base.bar, 1, Number.NaN)).toBe(false);
  });
});
