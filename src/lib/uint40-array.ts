/** Whole numbers below 2^40, five bytes each: for tables in which eight would be too many. */
export class Uint40Array {
  readonly #low: Uint32Array;
  readonly #high: Uint8Array;

  constructor(length: number) {
    this.#low = new Uint32Array(length);
    this.#high = new Uint8Array(length);
  }

  get(index: number): number {
    return this.#high[index]! * 2 ** 32 + this.#low[index]!;
  }

  /** What is above 2^40 is cut off. */
  set(index: number, value: number): void {
    this.#low[index] = value;
    this.#high[index] = value / 2 ** 32;
  }
}
