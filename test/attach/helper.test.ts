import { createHash, randomBytes } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HelperRing } from '../../src/attach/helper-ring.ts';
import { close, createMemfd, pread } from '../../src/attach/linux/files.ts';

const ring = new HelperRing();
let worker: Worker;
const expected = (...parts: Uint8Array[]) => new Uint8Array(createHash('sha256').update(Buffer.concat(parts)).digest());

beforeAll(async () => {
  worker = new Worker(new URL('../../src/attach/helper.worker.ts', import.meta.url), { workerData: ring.memory });
  while (!ring.isServed) await new Promise((resolve) => setTimeout(resolve, 5));
});
afterAll(async () => {
  await worker.terminate();
});

describe('HelperRing', () => {
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

  it('takes slots that were filled in place, many at a time, and lends no more than half of them', () => {
    const held = Array.from({ length: 32 }, () => ring.hold()!);
    expect(ring.hold()).toBeUndefined();
    const part = randomBytes(40_000);
    for (let round = 0; round < 200; round++) ring.update(8, part);
    for (const [index, slot] of held.entries()) {
      if (index % 2 === 0) ring.letGo(slot);
      else ring.update(9, slot.fill(index).subarray(0, index));
    }
    const filled = held.map((_, index) => new Uint8Array(index).fill(index)).filter((_, index) => index % 2 === 1);
    expect(ring.digest(9)).toEqual(expected(...filled));
    expect(ring.digest(8)).toEqual(expected(...Array.from({ length: 200 }, () => part)));
    for (let round = 0; round < 1000; round++) ring.update(8, ring.hold()!.fill(1).subarray(0, 1));
    expect(ring.digest(8)).toEqual(expected(...Array.from({ length: 200 }, () => part), new Uint8Array(1000).fill(1)));
  });

  it('forgets a hash that has ended', () => {
    ring.update(6, Uint8Array.of(1));
    ring.end(6);
    expect(ring.digest(6)).toEqual(expected());
  });
});

describe('writing', () => {
  const fd = createMemfd('test', 8 * 1024 * 1024, 0);
  afterAll(() => close(fd));
  const at = (position: number, lengthBytes: number): Uint8Array => {
    const bytes = new Uint8Array(lengthBytes);
    pread(fd, bytes, position);
    return bytes;
  };

  it('puts buffers where they belong, more of them than there are, beside hashes', () => {
    let last = 0;
    for (let round = 0; round < 40; round++) {
      const buffer = ring.buffer(round % 4);
      ring.waitForWrite(last - 3);
      buffer.fill(round + 1);
      ring.update(7, Uint8Array.of(round));
      last = ring.write(fd, buffer.subarray(4096, 8192), round * 8192);
    }
    ring.waitForWrite(last);
    for (let round = 0; round < 40; round++)
      expect(at(round * 8192, 4096)).toEqual(new Uint8Array(4096).fill(round + 1));
    expect(ring.digest(7)).toEqual(expected(Uint8Array.from({ length: 40 }, (_, round) => round)));
  });

  it('says it when a write cannot be done', () => {
    const number = ring.write(1_000_000, ring.buffer(0), 0);
    expect(() => ring.waitForWrite(number)).toThrow('cut short');
  });
});
