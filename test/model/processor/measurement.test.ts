import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

import { toHex } from '../../../src/lib/bytes.ts';
import { Measurement } from '../../../src/processor/measurement.ts';
import { pattern } from './enclave.ts';

interface Vector {
  readonly sizeBytes: number;
  readonly ssaFrameSizePages: number;
  readonly steps: readonly {
    readonly offset: number;
    readonly secInfoFlags: number;
    readonly seed: number;
    readonly measured: boolean;
  }[];
  readonly mrEnclave: string;
  readonly blocks: number;
}

const file = path.join(import.meta.dirname, '..', '..', 'vectors', 'measurement.json');
const vector = JSON.parse(readFileSync(file, 'utf8')) as Vector;

/** The SDM's description taken literally: a list of 64-byte blocks, hashed in the end. */
class Blocks {
  readonly list: Buffer[] = [];

  add(tag: string, numbers: readonly [offset: number, value: bigint][]): void {
    const block = Buffer.alloc(64);
    block.write(tag, 'latin1');
    for (const [offset, value] of numbers) block.writeBigUInt64LE(value, offset);
    this.list.push(block);
  }

  data(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += 64) this.list.push(Buffer.from(bytes.subarray(at, at + 64)));
  }

  digest(): string {
    return createHash('sha256').update(Buffer.concat(this.list)).digest('hex');
  }
}

function literally({ sizeBytes, ssaFrameSizePages, steps }: Vector): Blocks {
  const blocks = new Blocks();
  // SSAFRAMESIZE is 32 bits at 8 and SIZE 64 bits at 12, so the two overlap as 64-bit numbers.
  blocks.add('ECREATE', [
    [8, BigInt(ssaFrameSizePages)],
    [12, BigInt(sizeBytes)],
  ]);
  for (const { offset, secInfoFlags, seed, measured } of steps) {
    blocks.add('EADD', [
      [8, BigInt(offset)],
      [16, BigInt(secInfoFlags)],
    ]);
    if (!measured) continue;
    for (let at = 0; at < 4096; at += 256) {
      blocks.add('EEXTEND', [[8, BigInt(offset + at)]]);
      blocks.data(pattern(seed).subarray(at, at + 256));
    }
  }
  return blocks;
}

function measure(
  { sizeBytes, ssaFrameSizePages, steps }: Vector,
  pageOf: (seed: number) => Uint8Array = pattern,
): Measurement {
  const measurement = new Measurement();
  measurement.create(ssaFrameSizePages, sizeBytes);
  for (const { offset, secInfoFlags, seed, measured } of steps) {
    measurement.add(offset, secInfoFlags);
    if (measured) measurement.extendPage(offset, pageOf(seed));
  }
  return measurement;
}

describe('MRENCLAVE', () => {
  it('is the one of test/vectors/measurement.json', () => {
    expect(literally(vector).list).toHaveLength(vector.blocks);
    expect(literally(vector).digest()).toBe(vector.mrEnclave);
    expect(toHex(measure(vector).current())).toBe(vector.mrEnclave);
  });

  it('does not depend on how a page lies in memory', () => {
    const odd = (seed: number) => {
      const bytes = new Uint8Array(4099);
      bytes.set(pattern(seed), 3);
      return bytes.subarray(3);
    };
    expect(toHex(measure(vector, odd).current())).toBe(vector.mrEnclave);
  });

  it('can be looked at between the steps', () => {
    const measurement = measure(vector);
    measurement.current();
    measurement.add(0x9000, 0x203);
    const more = {
      ...vector,
      steps: [...vector.steps, { offset: 0x9000, secInfoFlags: 0x203, seed: 0, measured: false }],
    };
    expect(toHex(measurement.current())).toBe(literally(more).digest());
  });

  it('holds for sizes and offsets beyond 4 GiB and more pages than one hash update takes', () => {
    const steps = Array.from({ length: 20 }, (_, i) => ({
      offset: 2 ** 33 + i * 4096,
      secInfoFlags: 0x203,
      seed: i,
      measured: true,
    }));
    const large = { ...vector, sizeBytes: 2 ** 34, steps };
    expect(toHex(measure(large).current())).toBe(literally(large).digest());
  });
});
