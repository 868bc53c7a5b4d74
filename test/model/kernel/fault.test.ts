import { describe, expect, it } from 'vitest';

import { Enclu, PageType } from '../../../src/abi/sgx-arch.ts';
import { pageOf } from '../../../src/lib/units.ts';
import type { Access } from '../../../src/virtual/touched.ts';
import { created, opened, PAGE, ready, type Opened } from '../devices/support.ts';
import { At, FIXED, BASE, ENCLAVE_SIZE_BYTES, VirtualEnclave } from '../../support/virtual-enclave.ts';
import { VirtualMachine } from '../../../src/virtual/machine.ts';
import { eaccept, write } from '../../../src/virtual/code.ts';

const NONE = 0;
const R = 1;
const RW = 3;
const RWX = 7;

/** `ok`, `bus`, or the error code in hexadecimal. */
function touch({ process }: Opened, address: number, access: Access, inside = true): string {
  const touched = process.touch(address + 0x123, access, inside);
  if (touched.kind !== 'fault') return touched.kind;
  expect(touched).toMatchObject({ vector: 14, address });
  return `0x${touched.errorCode.toString(16)}`;
}

const accesses: readonly Access[] = ['read', 'write', 'exec'];
const touchAll = (all: Opened, address: number): string[] => accesses.map((access) => touch(all, address, access));

describe('faults of enclave code', () => {
  it('no mapping: not an enclave fault', () => {
    expect(touch(ready(), 0x1234_5000, 'read')).toBe('unmapped');
  });

  it('rights of the VMA, page present: P is set and the SGX bit is not', () => {
    const all = ready();
    all.process.mprotect(At.DATA, PAGE, R);
    expect(touchAll(all, At.DATA)).toEqual(['ok', '0x7', '0x15']);
  });

  it('PROT_NONE: P is clear, nothing is brought', () => {
    const all = ready();
    all.process.mprotect(At.DATA, PAGE, NONE);
    expect(touchAll(all, At.DATA)).toEqual(['0x4', '0x6', '0x14']);
    all.process.mprotect(At.HOLE, PAGE, NONE);
    const used = all.machine.usedPages;
    expect(touch(all, At.HOLE, 'read')).toBe('0x4');
    expect(all.machine.usedPages).toBe(used);
  });

  it('write to a mapping without W where no page is: P is clear, no EAUG', () => {
    const all = ready();
    all.process.mprotect(At.HOLE, PAGE, R);
    expect(touch(all, At.HOLE, 'write')).toBe('0x6');
    expect(all.enclave.entry(At.HOLE)).toBeUndefined();
  });

  it('EPCM rights: the SGX bit', () => {
    const all = ready();
    all.enclave.restrict(At.DATA, PAGE, R);
    expect(touchAll(all, At.DATA)).toEqual(['ok', '0x8007', '0x15']);
    all.enclave.restrict(At.DATA, PAGE, 0);
    expect(touchAll(all, At.DATA)).toEqual(['0x8005', '0x8007', '0x15']);
  });

  it('a TCS cannot be touched', () => {
    expect(touchAll(ready(), At.TCS)).toEqual(['0x8005', '0x8007', '0x15']);
  });

  it('EAUG for any access; PENDING faults with the SGX bit', () => {
    for (const [index, access] of accesses.entries()) {
      const all = ready();
      expect(touch(all, At.HOLE, access)).toBe(['0x8005', '0x8007', '0x8015'][index]);
      expect(all.enclave.entry(At.HOLE)).toBe(0x20b);
    }
  });

  it('an accepted page is all zero, and has no X', () => {
    const all = ready();
    accept(all, At.HOLE, 0x20b);
    expect(touchAll(all, At.HOLE)).toEqual(['ok', 'ok', '0x8015']);
    const bytes = new Uint8Array(PAGE).fill(1);
    all.machine.contents.read(all.enclave.file.secs!, pageOf(At.HOLE), 0, bytes);
    expect(bytes).toEqual(new Uint8Array(PAGE));
  });

  it('TRIM faults with the SGX bit, before and after EACCEPT', () => {
    const all = ready();
    all.enclave.modifyTypes(At.DATA2, PAGE, PageType.TRIM);
    expect(touch(all, At.DATA2, 'read')).toBe('0x8005');
    accept(all, At.DATA2, 0x410);
    expect(touchAll(all, At.DATA2)).toEqual(['0x8005', '0x8007', '0x15']);
  });

  it('bus: no page and no SGX2', () => {
    const machine = new VirtualMachine({ cpu: 'skylake' });
    const process = machine.process();
    const all = { machine, process, enclave: VirtualEnclave.ready(process) };
    expect(touch(all, At.HOLE, 'read')).toBe('bus');
    expect(touch(all, At.DATA, 'read')).toBe('ok');
  });

  it('bus: no page before INIT, nor before CREATE', () => {
    for (const all of [created(), opened()]) {
      all.process.mmap(BASE, PAGE, RW, FIXED, all.enclave.fd);
      expect(touch(all, BASE, 'write')).toBe('bus');
    }
  });

  it('bus: the VMA has more rights than the page was added with, for any access', () => {
    const all = opened();
    all.process.mmap(BASE, ENCLAVE_SIZE_BYTES, RWX, FIXED, all.enclave.fd);
    all.enclave.create();
    all.enclave.addUsualPages();
    all.enclave.init();
    expect(touchAll(all, At.DATA)).toEqual(['bus', 'bus', 'bus']);
    all.process.mprotect(At.DATA, PAGE, RW);
    expect(touch(all, At.DATA, 'read')).toBe('ok');
  });

  it('bus: outside ELRANGE, mapped before INIT', () => {
    const all = created();
    all.process.mmap(BASE - PAGE, PAGE, RW, FIXED, all.enclave.fd);
    all.enclave.addUsualPages();
    all.enclave.init();
    expect(touch(all, BASE - PAGE, 'write')).toBe('bus');
    expect(all.enclave.file.pages.count).toBe(6);
  });

  it('bus: no EPC at all for a new page', () => {
    const all = ready();
    const { epc } = all.machine.kernel;
    while (epc.takeVictim() !== undefined);
    while (epc.take() !== undefined);
    expect(touch(all, At.HOLE, 'write')).toBe('bus');
    expect(all.enclave.entry(At.HOLE)).toBeUndefined();
  });
});

describe('faults of code outside', () => {
  it('a present page is an abort page, whatever the EPCM says', () => {
    const all = ready();
    all.enclave.restrict(At.DATA, PAGE, 0);
    for (const address of [At.DATA, At.DATA2, At.TCS]) {
      expect([touch(all, address, 'read', false), touch(all, address, 'write', false)]).toEqual([
        'abort-page',
        'abort-page',
      ]);
    }
  });

  it('the rights of the VMA count, and EAUG happens too', () => {
    const all = ready();
    expect(touch(all, At.CODE, 'write', false)).toBe('0x7');
    expect(touch(all, At.HOLE, 'read', false)).toBe('abort-page');
    expect(all.enclave.entry(At.HOLE)).toBe(0x20b);
  });
});

describe('pages wanted by a leaf', () => {
  it('retry for a TCS; a fault for what has no contents', () => {
    const { process } = ready();
    const wanted = (address: number) =>
      process.mm.fault({ page: pageOf(address), access: 'read', inside: true, via: 'leaf' }).kind;
    expect(wanted(At.TCS)).toBe('retry');
    expect(wanted(At.SSA)).toBe('retry');
    expect(wanted(At.HOLE)).toBe('fault');
  });

  it('EACCEPT outside ELRANGE is #GP, of a hole without SGX2 rights a #PF with P clear', () => {
    const all = ready();
    const inside = { enclave: all.enclave.file, tcsAddress: At.TCS };
    const accepting = (page: number) =>
      all.process.mm.enclu(inside, Enclu.EACCEPT, { rbx: At.DATA, rcx: page, rdx: 0 });
    expect(accepting(0x1000)).toMatchObject({ kind: 'fault', vector: 13 });
    all.process.mprotect(At.HOLE, PAGE, NONE);
    all.process.thread().run(At.TCS, function* () {
      yield* write(At.DATA, all.enclave.secInfoBytes(0x20b));
    });
    expect(accepting(At.HOLE)).toMatchObject({
      kind: 'fault',
      vector: 14,
      errorCode: 4,
      address: At.HOLE,
    });
  });

  it('EENTER where no enclave is mapped is #PF', () => {
    const { process } = ready();
    expect(process.mm.checkEnter(0x1234_5000, 0n, 2, { checkState: false })).toMatchObject({
      kind: 'fault',
      vector: 14,
    });
  });

  it('EENTER with an SSA frame that is mapped read-only is #PF there, without the SGX bit', () => {
    const { process } = ready();
    process.mprotect(At.SSA, PAGE, R);
    const told = process.mm.checkEnter(At.TCS, 0n, 2, { checkState: false });
    expect(told).toMatchObject({ kind: 'fault', vector: 14, errorCode: 7, address: At.SSA });
  });

  it('EENTER is told what the stub needs, without looking at TCS.STATE', () => {
    const all = ready();
    all.process.thread().enter(At.TCS);
    const told = all.process.mm.checkEnter(At.TCS, 0n, 2, { checkState: false });
    expect(told).toMatchObject({ kind: 'ok', value: { base: BASE, oentry: 0x3000, ossa: 0x1000, nssa: 2 } });
    expect(all.process.mm.checkEnter(At.TCS, 0n, 2, { checkState: true })).toMatchObject({ kind: 'fault', vector: 13 });
  });
});

function accept({ process, enclave }: Opened, address: number, flags: number): void {
  const left = process.thread().run(At.TCS, function* () {
    yield* write(At.DATA, enclave.secInfoBytes(flags));
    return yield* eaccept(At.DATA, address);
  });
  expect(left).toEqual({ kind: 'exit', value: 0 });
}
