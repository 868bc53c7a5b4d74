import { createHash, randomBytes } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HashRing } from '../../src/attach/hash-ring.ts';

const ring = new HashRing();
let worker: Worker;
const expected = (...parts: Uint8Array[]) => new Uint8Array(createHash('sha256').update(Buffer.concat(parts)).digest());

beforeAll(async () => {
  worker = new Worker(new URL('../../src/attach/hash.worker.ts', import.meta.url), { workerData: ring.memory });
  while (!ring.isServed) await new Promise((resolve) => setTimeout(resolve, 5));
});
afterAll(async () => {
  await worker.terminate();
});

describe('HashRing', () => {
  it('hashes what it is given, in order, whatever its length', () => {
    const parts = [0, 1, 64, 41_472, 48 * 1024, 48 * 1024 + 1, 200_000].map((length) => randomBytes(length));
    for (const part of parts) ring.update(1, part);
    expect(ring.digest(1)).toEqual(expected(...parts));
  });

  it('goes on after a digest', () => {
    ring.update(2, Uint8Array.of(1));
    expect(ring.digest(2)).toEqual(expected(Uint8Array.of(1)));
    ring.update(2, Uint8Array.of(2));
    expect(ring.digest(2)).toEqual(expected(Uint8Array.of(1, 2)));
  });

  it('keeps hashes apart, and takes many times what the ring holds', () => {
    const part = randomBytes(40_000);
    for (let round = 0; round < 300; round++) {
      ring.update(3, part);
      ring.update(4, part.subarray(round));
    }
    const all = Array.from({ length: 300 }, (_, round) => part.subarray(round));
    expect(ring.digest(4)).toEqual(expected(...all));
    expect(ring.digest(3)).toEqual(expected(...Array.from({ length: 300 }, () => part)));
  });

  it('takes the bytes as they are now', () => {
    const bytes = Uint8Array.of(7);
    ring.update(5, bytes);
    bytes[0] = 8;
    expect(ring.digest(5)).toEqual(expected(Uint8Array.of(7)));
  });

  it('forgets a hash that has ended', () => {
    ring.update(6, Uint8Array.of(1));
    ring.end(6);
    expect(ring.digest(6)).toEqual(expected());
  });
});
