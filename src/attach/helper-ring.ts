/**
 * The memory through which the machine's thread gives orders to its second one (helper.ts), seen from either side. Hashes
 * and writes are carried out each in their order.
 */
import { createHash, type Hash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { InvariantError } from '../lib/outcome.ts';
import { PAGE_SIZE_BYTES } from '../lib/units.ts';

const ORDERS = 128;
/** What is to be hashed, 8 measured pages at most each. */
const SLOTS = 64;
/** So many may be being filled, each for another enclave. */
const HELD_SLOTS = 32;
const SLOT_BYTES = 48 * 1024;
const DIGEST_BYTES = 32;
export const BUFFERS = 4;
/** One write of unmeasured pages; more would not stay in the cache until it is written. */
const BUFFER_BYTES = 128 * PAGE_SIZE_BYTES;
/** Open hashes from which on the machine's thread writes itself: the other has more to do than it. */
const BUSY_HASHES = 8;
/** How long the thread looks for the next order before it sleeps: longer than one takes to prepare. */
const LINGER_MS = 0.3;
/** One order takes less than a millisecond. */
const PATIENCE_MS = 30_000;
/** Orders to hash that are no data; else an order is the number of bytes in its slot. */
const Order = { DIGEST: -1, END: -2 } as const;
const NO_SLOT = -1;

/** Words of shared memory. */
const Word = {
  /** Orders given; the thread sleeps on it. */
  BELL: 0,
  /** Somebody carries out orders. */
  SERVED: 1,
  HASHES_GIVEN: 2,
  HASHES_DONE: 3,
  /** Who waits for hashes does so until no more are open. */
  HASHES_WAIT: 4,
  WRITES_GIVEN: 5,
  WRITES_DONE: 6,
  /** A write did not do all. */
  WRITE_FAILED: 7,
} as const;
const WORDS = 8;

export class HelperRing {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  /** Per order: which hash, what to do, which slot. */
  readonly #hashOrders: Int32Array;
  /** Per write: descriptor, start in the buffers, bytes, position in the file. */
  readonly #writeOrders: Float64Array;
  readonly #result: Uint8Array;
  readonly #slots: Uint8Array;
  readonly #buffers: Uint8Array;
  /** Slots that nobody uses, and up to which order they have come back. */
  readonly #freeSlots = Array.from({ length: SLOTS }, (_, slot) => slot);
  #reclaimed = 0;
  #heldSlots = 0;

  constructor(memory?: SharedArrayBuffer) {
    const hashOrdersAt = 4 * WORDS;
    const writeOrdersAt = hashOrdersAt + 12 * ORDERS;
    const resultAt = writeOrdersAt + 32 * BUFFERS;
    const slotsAt = resultAt + DIGEST_BYTES;
    const buffersAt = slotsAt + SLOTS * SLOT_BYTES;
    this.memory = memory ?? new SharedArrayBuffer(buffersAt + BUFFERS * BUFFER_BYTES);
    this.#words = new Int32Array(this.memory, 0, WORDS);
    this.#hashOrders = new Int32Array(this.memory, hashOrdersAt, 3 * ORDERS);
    this.#writeOrders = new Float64Array(this.memory, writeOrdersAt, 4 * BUFFERS);
    this.#result = new Uint8Array(this.memory, resultAt, DIGEST_BYTES);
    this.#slots = new Uint8Array(this.memory, slotsAt, SLOTS * SLOT_BYTES);
    this.#buffers = new Uint8Array(this.memory, buffersAt, BUFFERS * BUFFER_BYTES);
  }

  /** Somebody carries out what is ordered: giving orders makes sense. */
  get isServed(): boolean {
    return this.#load(Word.SERVED) === 1;
  }

  /** Whether the thread has as much to do as is good. */
  get isBusy(): boolean {
    return this.#openHashes() >= BUSY_HASHES;
  }

  // Hashes

  /** A slot to be filled and given to `update`, or back by `letGo`; undefined when too many are being filled already. */
  hold(): Uint8Array | undefined {
    if (this.#heldSlots === HELD_SLOTS) return undefined;
    this.#heldSlots++;
    const at = this.#freeSlot() * SLOT_BYTES;
    return this.#slots.subarray(at, at + SLOT_BYTES);
  }

  letGo(slot: Uint8Array): void {
    this.#heldSlots--;
    this.#freeSlots.push(this.#slotOf(slot));
  }

  /** @param bytes the beginning of a slot that was held, or anything else, which is copied */
  update(hash: number, bytes: Uint8Array): void {
    if (bytes.buffer === this.memory) {
      this.#heldSlots--;
      return this.#giveHash(hash, bytes.length, this.#slotOf(bytes));
    }
    for (let at = 0; at < bytes.length; at += SLOT_BYTES) {
      const part = bytes.subarray(at, at + SLOT_BYTES);
      const slot = this.#freeSlot();
      this.#slots.set(part, slot * SLOT_BYTES);
      this.#giveHash(hash, part.length, slot);
    }
  }

  digest(hash: number): Uint8Array {
    this.#giveHash(hash, Order.DIGEST, NO_SLOT);
    this.#waitForHashes(0);
    return this.#result.slice();
  }

  end(hash: number): void {
    this.#giveHash(hash, Order.END, NO_SLOT);
  }

  // Writes

  buffer(index: number): Uint8Array {
    return this.#buffers.subarray(index * BUFFER_BYTES, (index + 1) * BUFFER_BYTES);
  }

  /** @param bytes part of a buffer, which stays as it is until the order is carried out. Returns the order's number. */
  write(fd: number, bytes: Uint8Array, position: number): number {
    const given = this.#load(Word.WRITES_GIVEN);
    this.waitForWrite(given - BUFFERS + 1);
    const order = [fd, bytes.byteOffset - this.#buffers.byteOffset, bytes.length, position];
    this.#writeOrders.set(order, 4 * ((given >>> 0) % BUFFERS));
    Atomics.add(this.#words, Word.WRITES_GIVEN, 1);
    this.#ring();
    return (given + 1) | 0;
  }

  /** Waits until the write of this number, and all before it, are carried out. */
  waitForWrite(number: number): void {
    this.#wait(Word.WRITES_DONE, (done) => ((done - number) | 0) >= 0);
    if (this.#load(Word.WRITE_FAILED) !== 0) throw new InvariantError('a write of EPC contents was cut short');
  }

  // The other side

  /** Carries out orders for ever. */
  serve(): never {
    const hashes = new Map<number, Hash>();
    Atomics.store(this.#words, Word.SERVED, 1);
    for (;;) {
      const bell = this.#load(Word.BELL);
      // Somebody may wait for writes while hashes go on in the background.
      if (this.#openWrites() > 0) this.#carryOutWrite();
      else if (this.#openHashes() > 0) this.#carryOutHash(hashes);
      else this.#rest(bell);
    }
  }

  #rest(bell: number): void {
    const sleepAt = performance.now() + LINGER_MS;
    while (this.#load(Word.BELL) === bell) {
      if (performance.now() >= sleepAt) Atomics.wait(this.#words, Word.BELL, bell);
    }
  }

  #carryOutWrite(): void {
    const at = 4 * ((this.#load(Word.WRITES_DONE) >>> 0) % BUFFERS);
    const [fd, start, lengthBytes, position] = this.#writeOrders.subarray(at, at + 4);
    let done = 0;
    try {
      done = writeSync(fd!, this.#buffers, start, lengthBytes, position);
    } catch {
      // Told below.
    }
    if (done !== lengthBytes) Atomics.store(this.#words, Word.WRITE_FAILED, 1);
    Atomics.add(this.#words, Word.WRITES_DONE, 1);
    Atomics.notify(this.#words, Word.WRITES_DONE);
  }

  #carryOutHash(hashes: Map<number, Hash>): void {
    const at = 3 * ((this.#load(Word.HASHES_DONE) >>> 0) % ORDERS);
    const id = this.#hashOrders[at]!;
    const order = this.#hashOrders[at + 1]!;
    const start = this.#hashOrders[at + 2]! * SLOT_BYTES;
    let hash = hashes.get(id);
    if (hash === undefined) hashes.set(id, (hash = createHash('sha256')));
    if (order >= 0) hash.update(this.#slots.subarray(start, start + order));
    else if (order === Order.DIGEST) this.#result.set(hash.copy().digest());
    else hashes.delete(id);
    Atomics.add(this.#words, Word.HASHES_DONE, 1);
    if (this.#openHashes() <= this.#load(Word.HASHES_WAIT)) Atomics.notify(this.#words, Word.HASHES_DONE);
  }

  /** Once all are taken it waits for half of those in use: being woken for each one costs more than hashing it. */
  #freeSlot(): number {
    if (this.#freeSlots.length === 0) {
      this.#reclaim();
      if (this.#freeSlots.length === 0) {
        this.#waitForHashes((SLOTS - this.#heldSlots) / 2);
        this.#reclaim();
      }
    }
    return this.#freeSlots.pop()!;
  }

  /** Takes back the slots of orders that have been carried out. */
  #reclaim(): void {
    const done = this.#load(Word.HASHES_DONE);
    for (; this.#reclaimed !== done; this.#reclaimed = (this.#reclaimed + 1) | 0) {
      const slot = this.#hashOrders[3 * ((this.#reclaimed >>> 0) % ORDERS) + 2]!;
      if (slot !== NO_SLOT) this.#freeSlots.push(slot);
    }
  }

  #slotOf(bytes: Uint8Array): number {
    return (bytes.byteOffset - this.#slots.byteOffset) / SLOT_BYTES;
  }

  #giveHash(hash: number, order: number, slot: number): void {
    const given = this.#load(Word.HASHES_GIVEN);
    if (((given - this.#reclaimed) | 0) === ORDERS) {
      this.#waitForHashes(ORDERS / 2);
      this.#reclaim();
    }
    this.#hashOrders.set([hash, order, slot], 3 * ((given >>> 0) % ORDERS));
    Atomics.add(this.#words, Word.HASHES_GIVEN, 1);
    this.#ring();
  }

  /** Waits until no more than `count` are open. */
  #waitForHashes(count: number): void {
    Atomics.store(this.#words, Word.HASHES_WAIT, count);
    const given = this.#load(Word.HASHES_GIVEN);
    this.#wait(Word.HASHES_DONE, (done) => ((given - done) | 0) <= count);
  }

  #wait(word: number, isOver: (value: number) => boolean): void {
    for (;;) {
      const value = this.#load(word);
      if (isOver(value)) return;
      if (Atomics.wait(this.#words, word, value, PATIENCE_MS) === 'timed-out') {
        throw new InvariantError("the machine's second thread does not answer");
      }
    }
  }

  #ring(): void {
    Atomics.add(this.#words, Word.BELL, 1);
    Atomics.notify(this.#words, Word.BELL);
  }

  #openHashes(): number {
    return (this.#load(Word.HASHES_GIVEN) - this.#load(Word.HASHES_DONE)) | 0;
  }

  #openWrites(): number {
    return (this.#load(Word.WRITES_GIVEN) - this.#load(Word.WRITES_DONE)) | 0;
  }

  #load(word: number): number {
    return Atomics.load(this.#words, word);
  }
}
