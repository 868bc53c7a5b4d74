/**
 * SHA-256 in a thread of its own, so that pages are read, checked and stored while earlier ones are being hashed:
 * hashing is two thirds of the time of a measured ADD_PAGES. Orders go through a ring in shared memory, in order.
 */
import { createHash, type Hash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type { Sha256 } from '../processor/ports.ts';
import { InvariantError } from '../lib/outcome.ts';
import { localSha256 } from '../processor/measurement.ts';

const SLOTS = 64;
const SLOT_BYTES = 48 * 1024;
const DIGEST_BYTES = 32;
/** How long the hashing thread looks for the next order before it sleeps: longer than one takes to prepare. */
const LINGER_MS = 0.05;
/** One order takes less than a millisecond. */
const PATIENCE_MS = 30_000;
/** Orders that are no data; else an order is the number of bytes in its slot. */
const Order = { DIGEST: -1, END: -2 } as const;

export class HashRing {
  readonly memory: SharedArrayBuffer;
  /** [0] orders given, [1] orders done, [2] 1 = somebody does them, [3] who waits does so until no more are open. */
  readonly #counters: Int32Array;
  /** Per slot: which hash, what to do. */
  readonly #orders: Int32Array;
  readonly #result: Uint8Array;
  readonly #data: Uint8Array;

  constructor(memory?: SharedArrayBuffer) {
    const ordersAt = 16;
    const resultAt = ordersAt + 8 * SLOTS;
    const dataAt = resultAt + DIGEST_BYTES;
    this.memory = memory ?? new SharedArrayBuffer(dataAt + SLOTS * SLOT_BYTES);
    this.#counters = new Int32Array(this.memory, 0, 4);
    this.#orders = new Int32Array(this.memory, ordersAt, 2 * SLOTS);
    this.#result = new Uint8Array(this.memory, resultAt, DIGEST_BYTES);
    this.#data = new Uint8Array(this.memory, dataAt);
  }

  /** Somebody does what is ordered: giving orders makes sense. */
  get isServed(): boolean {
    return Atomics.load(this.#counters, 2) === 1;
  }

  update(hash: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += SLOT_BYTES) {
      const part = bytes.subarray(at, at + SLOT_BYTES);
      this.#data.set(part, this.#freeSlot() * SLOT_BYTES);
      this.#give(hash, part.length);
    }
  }

  digest(hash: number): Uint8Array {
    this.#freeSlot();
    this.#give(hash, Order.DIGEST);
    this.#waitUntilAtMost(0);
    return this.#result.slice();
  }

  end(hash: number): void {
    this.#freeSlot();
    this.#give(hash, Order.END);
  }

  /** The other side: does orders for ever. */
  serve(): never {
    const hashes = new Map<number, Hash>();
    Atomics.store(this.#counters, 2, 1);
    for (;;) {
      const done = Atomics.load(this.#counters, 1);
      const sleepAt = performance.now() + LINGER_MS;
      while (Atomics.load(this.#counters, 0) === done && performance.now() < sleepAt);
      // A loop: the wake-up for an order may come after it has been carried out.
      while (Atomics.load(this.#counters, 0) === done) Atomics.wait(this.#counters, 0, done);
      this.#carryOut(hashes, done);
      const open = Atomics.load(this.#counters, 0) - Atomics.add(this.#counters, 1, 1) - 1;
      if (open <= Atomics.load(this.#counters, 3)) Atomics.notify(this.#counters, 1);
    }
  }

  #carryOut(hashes: Map<number, Hash>, done: number): void {
    const slot = (done >>> 0) % SLOTS;
    const id = this.#orders[2 * slot]!;
    const order = this.#orders[2 * slot + 1]!;
    let hash = hashes.get(id);
    if (hash === undefined) hashes.set(id, (hash = createHash('sha256')));
    if (order >= 0) hash.update(this.#data.subarray(slot * SLOT_BYTES, slot * SLOT_BYTES + order));
    else if (order === Order.DIGEST) this.#result.set(hash.copy().digest());
    else hashes.delete(id);
  }

  /** Once all are taken it waits for half of them: being woken for each one costs more than hashing it. */
  #freeSlot(): number {
    if (Atomics.load(this.#counters, 0) - Atomics.load(this.#counters, 1) === SLOTS) this.#waitUntilAtMost(SLOTS / 2);
    return (Atomics.load(this.#counters, 0) >>> 0) % SLOTS;
  }

  #give(hash: number, order: number): void {
    const slot = (Atomics.load(this.#counters, 0) >>> 0) % SLOTS;
    this.#orders[2 * slot] = hash;
    this.#orders[2 * slot + 1] = order;
    Atomics.add(this.#counters, 0, 1);
    Atomics.notify(this.#counters, 0);
  }

  /** Waits until no more than `count` orders are open. */
  #waitUntilAtMost(count: number): void {
    Atomics.store(this.#counters, 3, count);
    for (;;) {
      const done = Atomics.load(this.#counters, 1);
      if (Atomics.load(this.#counters, 0) - done <= count) return;
      if (Atomics.wait(this.#counters, 1, done, PATIENCE_MS) === 'timed-out') {
        throw new InvariantError('the thread that measures pages does not answer');
      }
    }
  }
}

/** Hashes for the machine: in the helping thread once that is up, until then in the caller's. */
export class HashThread {
  readonly #ring = new HashRing();
  #nextHash = 1;

  constructor() {
    const worker = new Worker(new URL(`hash.worker${import.meta.url.slice(-3)}`, import.meta.url), {
      workerData: this.#ring.memory,
    });
    worker.unref();
  }

  readonly create = (): Sha256 => {
    if (!this.#ring.isServed) return localSha256();
    const ring = this.#ring;
    const hash = this.#nextHash++;
    return {
      update: (bytes) => ring.update(hash, bytes),
      digest: () => ring.digest(hash),
      end: () => ring.end(hash),
    };
  };
}
