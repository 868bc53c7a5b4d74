import { describe, expect, it } from 'vitest';

import { PageType } from '../../../src/abi/sgx-arch.ts';
import { pageOf } from '../../../src/lib/units.ts';
import { answer, created, opened, PAGE, ready, type Opened } from '../devices/support.ts';
import { At, FIXED, BASE, ENCLAVE_SIZE_BYTES, RW_REG, RX_REG } from '../../support/virtual-enclave.ts';
import { eaccept, write } from '../../../src/virtual/code.ts';

const NONE = 0;
const R = 1;
const RW = 3;
const RX = 5;
const RWX = 7;

const mapping = (all: Opened, address: number, length: number, prot: number, flags = FIXED) =>
  answer(all, Math.min(0, all.process.mmap(address, length, prot, flags, all.enclave.fd)));
const MAY_MAP = 'EACCES: the protection is within what each page was added with';

describe('mprotect of enclave mappings', () => {
  it('EACCES: the may-map rule on the exact sub-range', () => {
    const all = ready();
    expect(answer(all, all.process.mprotect(At.DATA, 2 * PAGE, RWX))).toBe(MAY_MAP);
    expect(all.process.mprotect(At.DATA, PAGE, R)).toBe(0);
    expect(all.process.mprotect(At.DATA, PAGE, NONE)).toBe(0);
    expect(all.process.mprotect(At.DATA, PAGE, RW)).toBe(0);
  });

  it('is nothing to do where no enclave is mapped', () => {
    const { process } = ready();
    expect(process.mm.mprotect(0x10, 0x20, RWX)).toEqual({ kind: 'ok', value: false });
    expect(process.mm.mprotect(pageOf(At.DATA), pageOf(At.DATA) + 1, R)).toEqual({ kind: 'ok', value: true });
  });

  it('RESTRICT does not lower the limit, a change to TCS does', () => {
    const all = ready();
    all.enclave.restrict(At.DATA, PAGE, R);
    expect(all.process.mprotect(At.DATA, PAGE, RW)).toBe(0);
    all.process.touch(At.HOLE, 'write', true);
    expect(all.process.mprotect(At.HOLE, PAGE, RWX)).toBe(0);
    accept(all, At.HOLE);
    all.enclave.modifyTypes(At.HOLE, PAGE, PageType.TCS);
    expect(answer(all, all.process.mprotect(At.HOLE, PAGE, RWX))).toBe(MAY_MAP);
  });
});

describe('effective protection', () => {
  it('a TCS has none, other pages what VMA and EPCM have in common', () => {
    const { process } = ready();
    const prots = [At.TCS, At.SSA, At.CODE, At.DATA].map((address) => process.nativeProt(address));
    expect(prots).toEqual([NONE, RW, RX, RW]);
  });

  it('none where the VMA has more than the page was added with, until mprotect', () => {
    const all = opened();
    mapping(all, BASE, ENCLAVE_SIZE_BYTES, RWX);
    all.enclave.create();
    all.enclave.addUsualPages();
    expect([At.TCS, At.SSA, At.CODE, At.HOLE].map((address) => all.process.nativeProt(address))).toEqual([
      NONE,
      NONE,
      NONE,
      RWX,
    ]);
    all.process.mprotect(At.CODE, PAGE, RX);
    expect(all.process.nativeProt(At.CODE)).toBe(RX);
  });

  it('follows RESTRICT, and comes back with mprotect only as far as the EPCM goes', () => {
    const all = ready();
    all.enclave.restrict(At.DATA, PAGE, R);
    expect(all.process.nativeProt(At.DATA)).toBe(R);
    all.process.mprotect(At.DATA, PAGE, NONE);
    expect(all.process.nativeProt(At.DATA)).toBe(NONE);
    all.process.mprotect(At.DATA, PAGE, RW);
    expect(all.process.nativeProt(At.DATA)).toBe(R);
  });

  it('updates are coalesced to runs, and told once', () => {
    const all = created({ epcPages: 2048 });
    all.enclave.add(At.HOLE, RW_REG, new Uint8Array(100 * PAGE));
    all.enclave.add(At.HOLE + 100 * PAGE, RX_REG, new Uint8Array(100 * PAGE));
    all.process.mmap(At.HOLE, 300 * PAGE, R, FIXED, all.enclave.fd);
    const child = all.machine.kernel.forkProcess(all.process.mm, all.process);
    const start = pageOf(At.HOLE);
    expect(child.takeUpdates()).toEqual([{ startPage: start, endPage: start + 200, prot: R }]);
    expect(child.takeUpdates()).toEqual([]);
  });

  it('a forked child is told everything anew', () => {
    const all = ready();
    all.enclave.restrict(At.DATA, PAGE, R);
    const child = all.process.fork();
    expect([At.TCS, At.DATA, At.DATA2, At.CODE].map((address) => child.nativeProt(address))).toEqual([NONE, R, RW, RX]);
    expect(child.mm.vmas()).toEqual(all.process.mm.vmas());
  });
});

/** The enclave accepts an EAUG'd page. */
function accept({ process, enclave }: Opened, address: number): void {
  process.thread().run(At.TCS, function* () {
    yield* write(At.DATA2, enclave.secInfoBytes(0x20b));
    yield* eaccept(At.DATA2, address);
  });
}
