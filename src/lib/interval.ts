/**
 * A sorted map of ranges that never overlap, e.g. the VMAs of an address space by page number. Setting or deleting
 * a range splits what it cuts; neighbours with equal values stay apart, as VMAs of an enclave do.
 */

/** `[start, end)` and what it holds. */
export interface Interval<V> {
  readonly start: number;
  readonly end: number;
  readonly value: V;
}

export class IntervalMap<V> implements Iterable<Interval<V>> {
  #intervals: Interval<V>[] = [];

  constructor(intervals: Iterable<Interval<V>> = []) {
    for (const { start, end, value } of intervals) this.set(start, end, value);
  }

  /** Number of ranges. */
  get size(): number {
    return this.#intervals.length;
  }

  /** Puts `value` on `[start, end)`, replacing what was there. The pieces of a split range share its value. */
  set(start: number, end: number, value: V): void {
    if (start < end) this.#replace(start, end, [{ start, end, value }]);
  }

  delete(start: number, end: number): void {
    if (start < end) this.#replace(start, end, []);
  }

  get(position: number): V | undefined {
    return this.find(position)?.value;
  }

  /** The range that covers `position`. */
  find(position: number): Interval<V> | undefined {
    const interval = this.#intervals[this.#firstEndingAfter(position)];
    return interval !== undefined && interval.start <= position ? interval : undefined;
  }

  /** The range that covers `position`, else the next one above it (the kernel's find_vma). */
  findFrom(position: number): Interval<V> | undefined {
    return this.#intervals[this.#firstEndingAfter(position)];
  }

  /** Ranges that touch `[start, end)`, whole, in order; a snapshot, so the map may be changed while walking it. */
  overlapping(start: number, end: number): readonly Interval<V>[] {
    const [first, last] = this.#indexRange(start, end);
    return this.#intervals.slice(first, last);
  }

  /** The same ranges cut to `[start, end)`. */
  clipped(start: number, end: number): readonly Interval<V>[] {
    return this.overlapping(start, end).map((interval) => ({
      start: Math.max(start, interval.start),
      end: Math.min(end, interval.end),
      value: interval.value,
    }));
  }

  /** True when every position of `[start, end)` is in some range. */
  covers(start: number, end: number): boolean {
    let reached = start;
    for (const interval of this.overlapping(start, end)) {
      if (interval.start > reached) return false;
      reached = interval.end;
    }
    return reached >= end;
  }

  clear(): void {
    this.#intervals = [];
  }

  [Symbol.iterator](): Iterator<Interval<V>> {
    return this.#intervals.slice()[Symbol.iterator]();
  }

  #replace(start: number, end: number, middle: readonly Interval<V>[]): void {
    const [first, last] = this.#indexRange(start, end);
    const pieces = [...middle];
    if (first < last) {
      const left = this.#intervals[first]!;
      const right = this.#intervals[last - 1]!;
      if (left.start < start) pieces.unshift({ start: left.start, end: start, value: left.value });
      if (right.end > end) pieces.push({ start: end, end: right.end, value: right.value });
    }
    this.#intervals.splice(first, last - first, ...pieces);
  }

  #indexRange(start: number, end: number): readonly [first: number, last: number] {
    const first = this.#firstEndingAfter(start);
    let last = first;
    if (start < end) while (last < this.#intervals.length && this.#intervals[last]!.start < end) last++;
    return [first, last];
  }

  #firstEndingAfter(position: number): number {
    let low = 0;
    let high = this.#intervals.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#intervals[middle]!.end > position) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
