/**
 * A generated program is a list of moves, each a name and numbers by which the move chooses among what there is when its
 * turn comes. So most of what is chosen makes sense.
 */
import * as fc from 'fast-check';

export interface Move {
  readonly name: string;
  readonly numbers: readonly number[];
}

const NUMBERS = 16;

/** @param weights how often each move comes */
export function programs(weights: Readonly<Record<string, number>>, maxMoves: number): fc.Arbitrary<Move[]> {
  const numbers = fc.array(fc.nat(255), { minLength: NUMBERS, maxLength: NUMBERS });
  const moves = Object.entries(weights).map(([name, weight]) => {
    return { weight, arbitrary: fc.record({ name: fc.constant(name), numbers }) };
  });
  return fc.array(fc.oneof(...moves), { minLength: 1, maxLength: maxMoves, size: 'max' });
}

/** The numbers of a move, one after the other; zeros when they run out. Zero chooses the plainest. */
export class Choices {
  readonly #numbers: readonly number[];
  #next = 0;

  constructor(numbers: readonly number[]) {
    this.#numbers = numbers;
  }

  below(end: number): number {
    return (this.#numbers[this.#next++] ?? 0) % end;
  }

  /** One of them, the first if in doubt. Of an empty list undefined. */
  pick<T>(list: readonly [T, ...T[]]): T;
  pick<T>(list: readonly T[]): T | undefined;
  pick<T>(list: readonly T[]): T | undefined {
    return list[this.below(Math.max(1, list.length))];
  }

  /** True once in `times`. */
  rarely(times: number): boolean {
    return this.below(times) === times - 1;
  }

  /** The first most of the time, else one of the others. */
  usually<T>(usual: T, others: readonly T[], times = 4): T {
    return this.rarely(times) ? (this.pick(others) ?? usual) : usual;
  }
}
