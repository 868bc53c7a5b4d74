/** The whole life of pages and threads of SGX2, on virtual processes: examples/elastic-threads does it on real ones. */
import { expect, it } from 'vitest';

import { PageType, Tcs } from '../../../src/abi/sgx-arch.ts';
import { eaccept, eacceptcopy, load, store, write, type Code } from '../../../src/virtual/code.ts';
import { At, BASE, RW_REG } from '../../support/virtual-enclave.ts';
import { PAGE, ready, type Opened } from '../devices/support.ts';

const { TCS, TRIM } = PageType;
const NEW = 0x20b;
const TCS_MODIFIED = 0x110;
const TRIM_MODIFIED = 0x410;
const SECINFO = At.DATA;
const SECINFO_OF_COPY = At.DATA + 64;
const PATTERN = At.DATA2;
const COUNTER = At.DATA + 0x800;
const PAGES_PER_THREAD = 2;

const tcsOf = (slot: number): number => At.HOLE + slot * PAGES_PER_THREAD * PAGE;
const saveAreaOf = (slot: number): number => tcsOf(slot) + PAGE;

/** Enclave code by way of some thread; its value. */
function inside<T>({ process }: Opened, code: () => Code<T>, tcs: number = At.TCS): T {
  const left = process.thread().run(tcs, code);
  if (left.kind !== 'exit') throw new Error(JSON.stringify(left));
  return left.value;
}

function accept(all: Opened, flags: number, ...pages: readonly number[]): void {
  const codes = inside(all, function* () {
    const given = [];
    yield* write(SECINFO, all.enclave.secInfoBytes(flags));
    for (const page of pages) given.push(yield* eaccept(SECINFO, page));
    return given;
  });
  expect(codes).toEqual(pages.map(() => 0));
}

/** EAUG, EACCEPT; EAUG, EACCEPTCOPY; EMODT, EACCEPT. */
function addThread(all: Opened, slot: number): void {
  accept(all, NEW, saveAreaOf(slot));
  const fields = { ossa: BigInt(saveAreaOf(slot) - BASE), nssa: 1, oentry: BigInt(At.CODE - BASE) };
  const code = inside(all, function* () {
    yield* write(SECINFO_OF_COPY, all.enclave.secInfoBytes(RW_REG));
    yield* write(PATTERN, Tcs.encode({ ...fields, fsLimit: 0xffff_ffff, gsLimit: 0xffff_ffff }));
    return yield* eacceptcopy(SECINFO_OF_COPY, tcsOf(slot), PATTERN);
  });
  expect(code).toBe(0);
  expect(all.process.thread().run(tcsOf(slot), () => load(COUNTER)).kind).toBe('not-entered');
  expect(all.enclave.modifyTypes(tcsOf(slot), PAGE, TCS)).toEqual({ ret: 0, count: PAGE, result: 0 });
  expect(all.process.thread().run(tcsOf(slot), () => load(COUNTER)).kind).toBe('not-entered');
  accept(all, TCS_MODIFIED, tcsOf(slot));
}

/** EMODT, EACCEPT, EREMOVE. */
function removeThread(all: Opened, slot: number): void {
  const lengthBytes = PAGES_PER_THREAD * PAGE;
  expect(all.enclave.modifyTypes(tcsOf(slot), lengthBytes, TRIM)).toMatchObject({ ret: 0, count: lengthBytes });
  expect(all.process.thread().run(tcsOf(slot), () => load(COUNTER)).kind).toBe('not-entered');
  accept(all, TRIM_MODIFIED, tcsOf(slot), saveAreaOf(slot));
  expect(all.enclave.removePages(tcsOf(slot), lengthBytes)).toMatchObject({ ret: 0, count: lengthBytes });
}

it('1 to 64 to 1 threads, three times at the same addresses: each is entered, and EPC is back to what it was', () => {
  const all = ready();
  const slots = Array.from({ length: 63 }, (_, slot) => slot);
  // With X in the mapping the driver would answer SIGBUS for a TCS.
  expect(all.process.mprotect(At.HOLE, slots.length * PAGES_PER_THREAD * PAGE, 3)).toBe(0);
  const before = all.machine.usedPages;
  inside(all, () => store(COUNTER, 0n));
  for (let round = 1; round <= 3; round++) {
    for (const slot of slots) addThread(all, slot);
    expect(all.machine.usedPages).toBe(before + slots.length * PAGES_PER_THREAD);
    for (const slot of slots) {
      inside(
        all,
        function* () {
          yield* store(COUNTER, (yield* load(COUNTER)) + 1n);
        },
        tcsOf(slot),
      );
    }
    for (const slot of slots) removeThread(all, slot);
    expect(all.machine.usedPages).toBe(before);
    expect(inside(all, () => load(COUNTER))).toBe(BigInt(round * slots.length));
  }
});
