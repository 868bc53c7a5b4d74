// EPC contents in a real memfd: what is filled is there after a flush, what is taken or dropped is a hole.
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { STUB_DEVICE_FILE_BYTES } from '../../src/abi/stub.ts';
import { MemfdContents } from '../../src/attach/contents.ts';
import { close, createMemfd, pread, Seal } from '../../src/attach/linux/files.ts';
import { epcIndex, linPage, PAGE_SIZE_BYTES } from '../../src/lib/units.ts';
import { fstatSync } from 'node:fs';

const SECS = epcIndex(7);
const OTHER_SECS = epcIndex(8);
/** High in user space, as enclaves are. */
const BASE = 0x7f00_0000_0000 / PAGE_SIZE_BYTES;
const page = (offset: number) => linPage(BASE + offset);
const pattern = (seed: number): Uint8Array =>
  Uint8Array.from({ length: PAGE_SIZE_BYTES }, (_, index) => (index * 7 + seed) & 0xff);

const fds = new Map<number, number>();
let contents: MemfdContents;

function inFile(secs: number, offset: number): Uint8Array {
  const bytes = new Uint8Array(PAGE_SIZE_BYTES);
  pread(fds.get(secs)!, bytes, (BASE + offset) * PAGE_SIZE_BYTES);
  return bytes;
}

const allocatedPages = (secs: number): number => (fstatSync(fds.get(secs)!).blocks * 512) / PAGE_SIZE_BYTES;

beforeEach(() => {
  for (const fd of fds.values()) close(fd);
  for (const secs of [SECS, OTHER_SECS])
    fds.set(secs, createMemfd('test', STUB_DEVICE_FILE_BYTES, Seal.GROW | Seal.SHRINK));
  contents = new MemfdContents((secs) => fds.get(secs)!);
});
afterAll(() => {
  for (const fd of fds.values()) close(fd);
});

describe('MemfdContents', () => {
  it('makes filled pages visible at a flush, in order, beyond the size of its stage', () => {
    for (let index = 0; index < 600; index++) contents.fill(SECS, page(index), pattern(index));
    contents.flush();
    for (const index of [0, 1, 255, 256, 599]) expect(inFile(SECS, index)).toEqual(pattern(index));
    expect(allocatedPages(SECS)).toBe(600);
  });

  it('takes the caller’s buffer as it is now: it may be reused at once', () => {
    const buffer = pattern(1);
    contents.fill(SECS, page(0), buffer);
    buffer.fill(0);
    contents.flush();
    expect(inFile(SECS, 0)).toEqual(pattern(1));
  });

  it('writes lent pages where they are, whatever comes between: other fills, reads, takes, gaps', () => {
    const lent = contents.lend(8);
    const lentPage = (index: number) => lent.subarray(index * PAGE_SIZE_BYTES, (index + 1) * PAGE_SIZE_BYTES);
    for (let index = 0; index < 8; index++) lentPage(index).set(pattern(index));
    const bytes = new Uint8Array(PAGE_SIZE_BYTES);
    contents.fill(SECS, page(0), lentPage(0));
    contents.fill(SECS, page(1), lentPage(1));
    contents.read(SECS, page(1), 0, bytes);
    expect(bytes).toEqual(pattern(1));
    contents.fill(SECS, page(2), pattern(99));
    contents.fill(SECS, page(3), lentPage(3));
    expect(contents.take(SECS, page(3))).toEqual(pattern(3));
    // A page left out in the buffer, then one left out in the file, then the same page for another enclave.
    contents.fill(SECS, page(4), lentPage(5));
    contents.fill(SECS, page(6), lentPage(6));
    contents.fill(SECS, page(7), lentPage(7));
    contents.fill(OTHER_SECS, page(7), lentPage(7));
    contents.flush();
    const expected = { 0: 0, 1: 1, 2: 99, 4: 5, 6: 6, 7: 7 };
    for (const [index, seed] of Object.entries(expected)) expect(inFile(SECS, Number(index))).toEqual(pattern(seed));
    expect(allocatedPages(SECS)).toBe(6);
    expect(inFile(OTHER_SECS, 7)).toEqual(pattern(7));
  });

  it('lends no more than it can write at once, and writes what was lent before', () => {
    contents.fill(SECS, page(0), contents.lend(1).fill(3));
    expect(contents.lend(100_000).length).toBe(256 * PAGE_SIZE_BYTES);
    expect(inFile(SECS, 0)[5]).toBe(3);
  });

  it('reads what is not written yet', () => {
    contents.fill(SECS, page(3), pattern(3));
    const bytes = new Uint8Array(16);
    contents.read(SECS, page(3), 100, bytes);
    expect(bytes).toEqual(pattern(3).subarray(100, 116));
    expect(allocatedPages(SECS)).toBe(0);
  });

  it('keeps enclaves apart', () => {
    contents.fill(SECS, page(0), pattern(1));
    contents.fill(OTHER_SECS, page(1), pattern(2));
    contents.flush();
    expect([allocatedPages(SECS), allocatedPages(OTHER_SECS)]).toEqual([1, 1]);
    expect(inFile(OTHER_SECS, 1)).toEqual(pattern(2));
  });

  it('writes into a page', () => {
    contents.fillZero(SECS, page(0));
    contents.write(SECS, page(0), 8, Uint8Array.of(1, 2, 3));
    expect(inFile(SECS, 0).subarray(7, 12)).toEqual(Uint8Array.of(0, 1, 2, 3, 0));
  });

  it('takes the final bytes and leaves a hole', () => {
    contents.fill(SECS, page(0), pattern(9));
    contents.fill(SECS, page(1), pattern(10));
    expect(contents.take(SECS, page(0))).toEqual(pattern(9));
    expect(allocatedPages(SECS)).toBe(1);
    expect(inFile(SECS, 1)).toEqual(pattern(10));
  });

  it('drops pages, also those it has not written yet', () => {
    for (let index = 0; index < 8; index++) contents.fill(SECS, page(index), pattern(index));
    for (let index = 2; index < 6; index++) contents.drop(SECS, page(index));
    contents.flush();
    expect(allocatedPages(SECS)).toBe(4);
    expect(inFile(SECS, 6)).toEqual(pattern(6));
  });

  it('fills again what was dropped just before', () => {
    contents.fill(SECS, page(0), pattern(1));
    contents.drop(SECS, page(0));
    contents.fill(SECS, page(0), pattern(2));
    contents.flush();
    expect(inFile(SECS, 0)).toEqual(pattern(2));
  });

  it('drops a whole enclave', () => {
    for (let index = 0; index < 5; index++) contents.fill(SECS, page(index * 1000), pattern(index));
    contents.dropAll(SECS);
    expect(allocatedPages(SECS)).toBe(0);
  });
});
