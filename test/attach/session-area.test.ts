// The shared area from both sides: this test maps it a second time and acts as the stub.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  Op,
  RecordState,
  SESSION_RECORDS_OFFSET,
  SESSION_SIZE_BYTES,
  SessionFlags,
  SessionHeader,
  ThreadRecord,
} from '../../src/abi/stub.ts';
import { MappedRegion } from '../../src/attach/linux/memory.ts';
import { SessionArea } from '../../src/attach/session-area.ts';

const facts = {
  hostPid: 4711,
  flags: SessionFlags.TRACE,
  nodes: 3,
  sharedNodes: 1,
  alignedNodes: 0,
  memfdDevice: 1,
  cpuid7Ebx: 4,
  cpuid7Ecx: 1 << 30,
  cpuidSgx: [{ eax: 1, ebx: 0, ecx: 0, edx: 0x241f }],
};
const stub = new MappedRegion(SESSION_SIZE_BYTES);
const bytes = new Uint8Array(stub.buffer);
const words = new Int32Array(stub.buffer);
const header = SessionHeader.view(bytes);
const record = (index: number) => ThreadRecord.view(bytes, SESSION_RECORDS_OFFSET + index * ThreadRecord.sizeBytes);

let area: SessionArea;

/** What the stub does to ask. */
function ask(index: number, op: number, ...args: bigint[]): void {
  const mine = record(index);
  mine.tid = 1000 + index;
  mine.op = op;
  args.forEach((value, at) => mine.args.set(at, value));
  mine.state = RecordState.REQUEST;
  header.recordsUsed = Math.max(header.recordsUsed, index + 1);
  Atomics.or(words, SessionHeader.offsetOf('pending') / 4 + (index >> 5), 1 << (index & 31));
  Atomics.or(words, SessionHeader.offsetOf('summary') / 4 + (index >> 10), 1 << ((index >> 5) & 31));
}

beforeEach(() => {
  area = new SessionArea(facts);
  stub.attach(area.fd);
});
afterEach(() => {
  stub.detach();
  area.dispose();
});

describe('SessionArea', () => {
  it('tells the stub about the machine', () => {
    expect([header.hostPid, header.flags, header.cpuid7Ebx, header.cpuid7Ecx]).toEqual([4711, 1, 4, 2 ** 30]);
    expect(header.cpuidSgx.get(0).edx).toBe(0x241f);
  });

  it('finds every request once, from the first record to the last', () => {
    const indexes = [0, 31, 32, 63, 1023, 1024, 4095, 4096, 32_767];
    for (const index of indexes) ask(index, Op.IDENTIFY, BigInt(index));
    expect(area.hasRequests).toBe(true);
    const found = area.takeRequests();
    expect(found.map((box) => [box.index, box.tid, box.op, box.arg(0)])).toEqual(
      indexes.map((index) => [index, 1000 + index, Op.IDENTIFY, index]),
    );
    expect(area.hasRequests).toBe(false);
    expect(area.takeRequests()).toEqual([]);
  });

  it('does not believe a bit without a request', () => {
    words[SessionHeader.offsetOf('pending') / 4] = -1;
    words[SessionHeader.offsetOf('summary') / 4] = -1;
    expect(area.takeRequests()).toEqual([]);
  });

  it('answers with results, negative ones too', () => {
    ask(5, Op.IOCTL);
    area.takeRequests()[0]!.answer(-22, [1, 2n ** 63n], 1);
    const mine = record(5);
    expect([mine.state, mine.ret, mine.out.get(0), mine.out.get(1), mine.descriptors]).toEqual([
      RecordState.DONE,
      -22n,
      1n,
      2n ** 63n,
      1,
    ]);
  });

  it('reads 64-bit arguments exactly below 2^53, and as something above all addresses beyond', () => {
    ask(0, Op.FAULT, 0x7fff_ffff_efffn, 2n ** 64n - 1n);
    const box = area.box(0);
    expect(box.arg(0)).toBe(0x7fff_ffff_efff);
    expect(box.arg(1)).toBeGreaterThan(2 ** 63);
    expect(box.bigArg(1)).toBe(2n ** 64n - 1n);
  });

  it('passes protections in bytes', () => {
    area.box(1).putRuns([{ startPage: 0x7f0000000, endPage: 0x7f0000002, prot: 5 }], 3, true);
    const mine = record(1);
    expect([mine.runCount, mine.moreRuns, mine.runSequence]).toEqual([1, 1, 3]);
    expect(mine.runs.get(0)).toMatchObject({ start: 0x7f0000000000n, end: 0x7f0000002000n, prot: 5n });
  });

  it('looks at the records in use only, and believes no number beyond their count', () => {
    header.recordsUsed = 3;
    expect([...area.boxes()].map((box) => box.index)).toEqual([0, 1, 2]);
    header.recordsUsed = 0xffff_ffff;
    expect([...area.boxes()]).toHaveLength(32_768);
  });

  it('publishes an enclave, its generation last', () => {
    area.publishEnclave(2, { id: 9, base: 0x7f0000000000, sizeBytes: 0x10000, generation: 4_000_000_000 });
    expect(header.enclaves.get(2)).toMatchObject({
      id: 9,
      base: 0x7f0000000000n,
      size: 0x10000n,
      generation: 4_000_000_000,
    });
  });

  it('starts clean when a mapping is used again', () => {
    ask(7, Op.IOCTL);
    stub.detach();
    area.dispose();
    area = new SessionArea(facts);
    stub.attach(area.fd);
    expect(area.hasRequests).toBe(false);
    expect(area.box(7).tid).toBe(0);
  });
});
