import { describe, expect, it } from 'vitest';

import { Enclu, PageType } from '../../../src/abi/sgx-arch.ts';
import { sgxDevices } from '../../../src/abi/sgx-uapi.ts';
import { evictPage } from '../../../src/kernel/paging.ts';
import type { EpcIndex } from '../../../src/lib/units.ts';
import { eblock } from '../../../src/processor/encls/eblock.ts';
import type { VirtualMachine } from '../../../src/virtual/machine.ts';
import { PAGE, ready, type Opened } from '../devices/support.ts';
import { At, FIXED, RW_REG } from '../../support/virtual-enclave.ts';
import type { VirtualProcess } from '../../../src/virtual/process.ts';
import { eaccept, read, write } from '../../../src/virtual/code.ts';

const R = 1;
const RW = 3;

interface Shared extends Opened {
  readonly child: VirtualProcess;
  readonly generations: number[];
}

/** An enclave that two processes have mapped. */
function shared(): Shared {
  const all = ready();
  const generations: number[] = [];
  all.machine.kernel.onGeneration = (_, generation) => generations.push(generation);
  return { ...all, child: all.process.fork(), generations };
}

/** Evicts this page: EBLOCK, EWB. */
function evictNow({ kernel }: VirtualMachine, page: EpcIndex): void {
  expect(eblock(kernel.processor, page).kind).toBe('ok');
  evictPage(kernel, page);
}

describe('cutting rights', () => {
  /** One process, that has asked whether it may enter. */
  function alone(): Opened & { readonly generations: number[]; check: () => void } {
    const all = ready();
    const generations: number[] = [];
    all.machine.kernel.onGeneration = (_, generation) => generations.push(generation);
    const check = () => void all.process.mm.checkEnter(At.TCS, 0n, Enclu.EENTER, { checkState: false });
    check();
    return { ...all, generations, check };
  }

  it('in the only process is an update, and entries are still good', () => {
    const { enclave, process, generations } = alone();
    enclave.restrict(At.DATA, PAGE, R);
    expect(process.nativeProt(At.DATA)).toBe(R);
    expect(process.canReach(At.DATA, 'read')).toBe(true);
    enclave.modifyTypes(At.DATA2, PAGE, PageType.TCS);
    expect(generations).toEqual([]);
  });

  it('of a TCS or its save area, there too, is a new generation: an entry has to be checked again', () => {
    for (const page of [At.TCS, At.TCS + PAGE]) {
      const { enclave, generations, check } = alone();
      enclave.modifyTypes(page, PAGE, PageType.TRIM);
      expect(generations).toEqual([1]);
      expect(enclave.file.generation).toBe(1);
      // Nothing of before is used any more.
      enclave.restrict(At.DATA, PAGE, R);
      expect(generations).toEqual([1]);
      check();
    }
  });

  it('of a save area that only ERESUME uses, too', () => {
    const { enclave, generations, process } = alone();
    const thread = process.thread();
    thread.enter(At.TCS);
    thread.interrupt();
    process.mm.checkEnter(At.TCS, 0n, Enclu.ERESUME, { checkState: false });
    enclave.restrict(At.TCS + PAGE, PAGE, R);
    expect(generations).toEqual([1]);
  });

  it('a process with nobody inside learns it at its next entry; contents stay', () => {
    const { enclave, child } = shared();
    enclave.restrict(At.DATA, PAGE, R);
    expect(child.kicked).toEqual([]);
    expect(child.nativeProt(At.DATA)).toBe(RW);
    expect(child.canReach(At.DATA, 'read')).toBe(true);
    child.thread().enter(At.TCS);
    expect(child.nativeProt(At.DATA)).toBe(R);
  });

  it('a thread inside another process can use no old right, from the moment the ioctl returns', () => {
    const { enclave, process, child } = shared();
    child.answersKicks = false;
    // Entered by real hardware's rules: the tracking of virtual threads would interrupt it.
    const thread = child.thread();
    thread.enter(At.TCS);
    thread.thread.inside = { ...thread.thread.inside!, epoch: Infinity };
    enclave.restrict(At.DATA, PAGE, R);
    expect(child.kicked).toEqual([enclave.file.id]);
    for (const someone of [process, child]) {
      expect(someone.canReach(At.DATA, 'write')).toBe(false);
      expect(someone.canReach(At.DATA, 'read')).toBe(false);
    }
    // Other pages are not touched.
    expect(child.canReach(At.DATA2, 'write')).toBe(true);
    // Faults are retried until the kick is answered.
    expect(process.mm.fault({ page: enclave.page(At.DATA), access: 'read', inside: true })).toEqual({ kind: 'retry' });
    expect(process.canReach(At.DATA, 'read')).toBe(false);
    child.answerKick(enclave.file.id);
    expect(process.touch(At.DATA, 'read', true)).toEqual({ kind: 'ok' });
    expect(child.nativeProt(At.DATA)).toBe(R);
    expect(child.canReach(At.DATA, 'write')).toBe(false);
    expect(child.touch(At.DATA, 'write', true)).toMatchObject({ errorCode: 0x8007 });
  });

  it('the processor reads and writes a page that is held back, and it can be evicted', () => {
    const { enclave, process, child, machine } = shared();
    child.answersKicks = false;
    const thread = child.thread();
    thread.enter(At.TCS);
    thread.thread.inside = { ...thread.thread.inside!, epoch: Infinity };
    enclave.restrict(At.DATA2, PAGE, R);
    enclave.restrict(At.DATA2, PAGE, R);
    const bytes = new Uint8Array(2);
    machine.kernel.contents.read(enclave.file.secs!, enclave.page(At.DATA2), 0, bytes);
    expect([...bytes]).toEqual([0x11, 0x11]);
    child.exit();
    expect(process.touch(At.DATA2, 'read', true)).toEqual({ kind: 'ok' });
    expect(machine.contents.has(enclave.file.secs!, enclave.page(At.DATA2))).toBe(true);
  });

  it.each([
    ['evicted while it is held back', (evict: () => void, cut: () => void) => (cut(), evict())],
    ['evicted when the right is cut', (evict: () => void, cut: () => void) => (evict(), cut())],
  ])('a page that was %s comes back to nobody who has not let go of the right', (_, between) => {
    const { enclave, process, child, machine } = shared();
    child.answersKicks = false;
    const thread = child.thread();
    thread.enter(At.TCS);
    thread.thread.inside = { ...thread.thread.inside!, epoch: Infinity };
    const evict = () => evictNow(machine, enclave.file.pages.residentPage(enclave.page(At.DATA2))!);
    between(evict, () => enclave.file.cutRights(enclave.page(At.DATA2), enclave.page(At.DATA2) + 1, process.mm));
    expect(process.mm.fault({ page: enclave.page(At.DATA2), access: 'read', inside: true })).toEqual({ kind: 'retry' });
    expect(enclave.entry(At.DATA2)).toBe(RW_REG);
    expect([process, child].map((one) => one.canReach(At.DATA2, 'write'))).toEqual([false, false]);
    child.answerKick(enclave.file.id);
    for (const one of [process, child]) expect(one.touch(At.DATA2, 'write', true)).toEqual({ kind: 'ok' });
  });

  it('a process that ends need not answer', () => {
    const { enclave, process, child } = shared();
    child.answersKicks = false;
    const thread = child.thread();
    thread.enter(At.TCS);
    thread.thread.inside = { ...thread.thread.inside!, epoch: Infinity };
    enclave.restrict(At.DATA, PAGE, R);
    child.exit();
    expect(process.touch(At.DATA, 'read', true)).toEqual({ kind: 'ok' });
  });

  it('a trimmed page is gone for everybody at once', () => {
    const { enclave, process, child } = shared();
    enclave.modifyTypes(At.DATA, PAGE, PageType.TRIM);
    expect([process.canReach(At.DATA, 'read'), child.canReach(At.DATA, 'read')]).toEqual([false, false]);
    expect(child.touch(At.DATA, 'read', true)).toMatchObject({ errorCode: 0x8005 });
  });
});

describe('an enclave in several processes', () => {
  it('what one writes the other reads; both may be inside, on their own TCS', () => {
    const { process, child } = shared();
    process.thread().run(At.TCS, function* () {
      yield* write(At.DATA, Uint8Array.of(77));
    });
    const left = child.thread().run(At.TCS, function* () {
      return [...(yield* read(At.DATA, 1))];
    });
    expect(left).toEqual({ kind: 'exit', value: [77] });
  });

  it('a TCS that is in use in one is busy in the other', () => {
    const { process, child } = shared();
    expect(process.thread().enter(At.TCS).kind).toBe('ok');
    expect(child.thread().enter(At.TCS)).toMatchObject({ kind: 'fault', vector: 13 });
  });

  it('an accepted change is seen by both', () => {
    const { enclave, process, child } = shared();
    process.thread().run(At.TCS, function* () {
      yield* write(At.DATA, enclave.secInfoBytes(0x20b));
      yield* eaccept(At.DATA, At.HOLE);
      yield* write(At.HOLE, Uint8Array.of(5));
    });
    const left = child.thread().run(At.TCS, function* () {
      return [...(yield* read(At.HOLE, 1))];
    });
    expect(left).toEqual({ kind: 'exit', value: [5] });
  });

  it('lives until the last descriptor and the last mapping are gone', () => {
    const { machine, enclave, process, child } = shared();
    process.exit();
    child.close(enclave.fd);
    expect(machine.usedPages).toBeGreaterThan(0);
    expect(
      child.thread().run(At.TCS, function* () {
        return (yield* read(At.DATA, 1)).length;
      }),
    ).toEqual({ kind: 'exit', value: 1 });
    child.munmap(0x7f00_0000_0000, 0x40_0000);
    expect(machine.kernel.usage()).toMatchObject({ freePages: 1024, enclaves: 0 });
  });

  it('close with mappings keeps it, munmap with a descriptor keeps it', () => {
    const all = ready();
    all.process.munmap(0x7f00_0000_0000, 0x40_0000);
    expect(all.machine.usedPages).toBeGreaterThan(0);
    all.process.mmap(At.DATA, PAGE, RW, FIXED, all.enclave.fd);
    all.process.close(all.enclave.fd);
    expect(all.process.touch(At.DATA, 'read', true)).toEqual({ kind: 'ok' });
    all.process.exit();
    expect(all.machine.usedPages).toBe(0);
  });

  it('a process that dies while it builds leaves nothing', () => {
    const all = ready();
    const fd = all.process.open(sgxDevices.enclave.path);
    expect(all.process.descriptors().includes(fd)).toBe(true);
    all.process.exit();
    expect(all.machine.kernel.usage()).toMatchObject({ freePages: 1024, backingPages: 0, enclaves: 0 });
  });
});
