// What a case is, and how its figure and its yardstick are taken: in turns, so that a slow second hits both.

import type { Measure } from './batch-program.ts';

export interface BenchCase {
  readonly name: string;
  readonly summary: string;
  readonly unit: string;
  readonly rounds: number;
  /** Which figure the bar is about, its direction and its height. */
  readonly bar: { readonly of: 'ratio' | 'value'; readonly is: '<=' | '>='; readonly limit: number };
  /** From nanoseconds per operation to `unit`. */
  readonly convert: (nanoseconds: number) => number;
  /** What Vitrine adds, where that is the figure: the value is then the difference of the two medians. */
  readonly added?: true;
  readonly subject: () => Measure | Promise<Measure>;
  readonly yardstick: () => Measure;
}

export interface BenchResult {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly yardstick: number;
  readonly ratio: number;
  readonly bar: string;
  readonly holds: boolean;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const at = (index: number): number => sorted[index] ?? Number.NaN;
  return Number.isInteger(middle) ? (at(middle - 1) + at(middle)) / 2 : at(Math.floor(middle));
}

export function barHolds(bar: BenchCase['bar'], value: number, ratio: number): boolean {
  const figure = bar.of === 'ratio' ? ratio : value;
  return bar.is === '<=' ? figure <= bar.limit : figure >= bar.limit;
}

export async function measureCase(benchCase: BenchCase): Promise<BenchResult> {
  await using subject = await benchCase.subject();
  await using yardstick = benchCase.yardstick();
  const taken: { subject: number[]; yardstick: number[] } = { subject: [], yardstick: [] };
  await subject.round(); // the first round of each warms caches and is not counted
  await yardstick.round();
  for (let round = 0; round < benchCase.rounds; round++) {
    taken.yardstick.push(await yardstick.round());
    taken.subject.push(await subject.round());
  }
  const reference = benchCase.convert(median(taken.yardstick));
  const measured = benchCase.convert(median(taken.subject));
  const value = benchCase.added === true ? measured - reference : measured;
  const ratio = measured / reference;
  const { of, is, limit } = benchCase.bar;
  return {
    name: benchCase.name,
    value,
    unit: benchCase.unit,
    yardstick: reference,
    ratio,
    bar: `${of} ${is} ${limit}`,
    holds: barHolds(benchCase.bar, value, ratio),
  };
}
