import { describe, expect, it } from 'vitest';

import { PageType } from '../../../src/abi/sgx-arch.ts';
import { SGX_NR_HIGH_PAGES, SGX_NR_LOW_PAGES } from '../../../src/kernel/epc.ts';
import { pageOf } from '../../../src/lib/units.ts';
import type { TraceEvent } from '../../../src/trace/events.ts';
import { created, PAGE, ready, type Opened } from '../devices/support.ts';
import { At, BASE, RW_REG, RX_REG, VirtualEnclave } from '../../support/virtual-enclave.ts';
import { eaccept, read, write } from '../../../src/virtual/code.ts';
import type { VirtualMachine } from '../../../src/virtual/machine.ts';

/** Evicts all that can be evicted, by asking for EPC until there is no more to get, and gives it back. */
function evictAll({ kernel }: VirtualMachine): void {
  const taken = [];
  for (;;) {
    const page = kernel.reclaimer.allocate(kernel.enclaves()[0]!, undefined);
    if (page.kind !== 'ok') break;
    taken.push(page.value);
  }
  for (const page of taken) kernel.epc.give(page);
  expect(kernel.epc.reclaimablePages).toBe(0);
}

/** Every page of an enclave of `pages` pages holds its own number. */
function numbered({ enclave }: Opened, pages: number): void {
  const bytes = new Uint8Array(pages * PAGE);
  for (let i = 0; i < pages; i++) new DataView(bytes.buffer).setUint32(i * PAGE + 8, i, true);
  expect(enclave.add(At.HOLE, RW_REG, bytes)).toEqual({ ret: 0, count: pages * PAGE, result: 0 });
}

describe('the reclaimer', () => {
  it('ADD_PAGES beyond the EPC evicts; every page comes back with its contents, twice over', () => {
    const all = created({ epcPages: 200 });
    const { enclave, process, machine } = all;
    enclave.addUsualPages();
    numbered(all, 700);
    expect(enclave.init()).toBe(0);
    enclave.mapUsualPages(3);
    expect(machine.kernel.backing.pages).toBeGreaterThan(500);
    const left = process.thread().run(At.TCS, function* () {
      let wrong = 0;
      for (const round of [0, 1]) {
        for (let i = 0; i < 700; i++) {
          const at = At.HOLE + i * PAGE;
          const [low, high, , , written] = yield* read(at + 8, 5);
          if (low! + high! * 256 !== i || written !== round) wrong++;
          yield* write(at + 12, Uint8Array.of(round + 1));
        }
      }
      return wrong;
    });
    expect(left).toEqual({ kind: 'exit', value: 0 });
    process.exit();
    expect(machine.kernel.usage()).toMatchObject({ freePages: 200, backingPages: 0, reclaimablePages: 0 });
  });

  it('ksgxd: below LOW free pages it evicts until HIGH are free', () => {
    const all = created({ epcPages: 400 });
    const { epc, backing } = all.machine.kernel;
    numbered(all, 400 - 2 - SGX_NR_LOW_PAGES);
    expect([epc.freePages, backing.pages]).toEqual([SGX_NR_LOW_PAGES, 0]);
    all.enclave.add(BASE, RW_REG, new Uint8Array(PAGE));
    expect(epc.freePages).toBeGreaterThanOrEqual(SGX_NR_HIGH_PAGES);
    expect(backing.pages).toBe(epc.freePages - SGX_NR_LOW_PAGES + 1);
  });

  it.each([
    ['PENDING', 0x20b, (all: Opened) => void all.process.touch(At.HOLE, 'write', true), At.HOLE],
    ['PR', 0x221, (all: Opened) => void all.enclave.restrict(At.DATA, PAGE, 1), At.DATA],
    ['MODIFIED TRIM', 0x410, (all: Opened) => void all.enclave.modifyTypes(At.DATA, PAGE, PageType.TRIM), At.DATA],
    ['MODIFIED TCS', 0x110, (all: Opened) => void all.enclave.modifyTypes(At.DATA, PAGE, PageType.TCS), At.DATA],
    ['TCS', 0x100, () => {}, At.TCS],
    ['RX', RX_REG, () => {}, At.CODE],
  ])('the EPCM state %s survives', (_, flags, change, address) => {
    const all = ready();
    change(all);
    expect(all.enclave.entry(address)).toBe(flags);
    evictAll(all.machine);
    expect(all.enclave.entry(address)).toBeUndefined();
    all.process.mprotect(address, PAGE, 1);
    all.process.touch(address, 'read', true);
    expect(all.enclave.entry(address)).toBe(flags);
  });

  it('a pending page can be accepted after it was evicted, a restricted one keeps its right', () => {
    const all = ready();
    all.enclave.restrict(At.DATA2, PAGE, 1);
    all.process.touch(At.HOLE, 'write', true);
    evictAll(all.machine);
    const left = all.process.thread().run(At.TCS, function* () {
      yield* write(At.DATA, all.enclave.secInfoBytes(0x20b));
      const code = yield* eaccept(At.DATA, At.HOLE);
      yield* write(At.HOLE, Uint8Array.of(1));
      yield* write(At.DATA2, Uint8Array.of(code));
    });
    expect(left).toEqual({ kind: 'exception', vector: 14, errorCode: 0x8007, address: At.DATA2 });
    expect(all.process.nativeProt(At.DATA2)).toBe(1);
  });

  it('the SECS of an initialized enclave goes with its last page and comes back first', () => {
    const all = ready();
    evictAll(all.machine);
    expect(all.enclave.file.secs).toBeUndefined();
    // VA pages stay: one here.
    expect(all.machine.usedPages).toBe(1);
    const left = all.process.thread().run(At.TCS, function* () {
      return [...(yield* read(At.DATA, 1))];
    });
    expect(left).toEqual({ kind: 'exit', value: [0x11] });
  });

  it('the SECS of an enclave that is being built stays, so that it can be finished', () => {
    const all = created();
    all.enclave.addUsualPages();
    const sigStruct = all.enclave.sign();
    evictAll(all.machine);
    expect(all.enclave.file.secs).toBeDefined();
    expect(all.enclave.init(sigStruct)).toBe(0);
  });

  it('changing pages loads them', () => {
    const all = ready();
    evictAll(all.machine);
    expect(all.enclave.restrict(At.DATA, 2 * PAGE, 1)).toEqual({ ret: 0, count: 2 * PAGE, result: 0 });
    evictAll(all.machine);
    expect(all.enclave.modifyTypes(At.DATA, 2 * PAGE, PageType.TRIM)).toEqual({ ret: 0, count: 2 * PAGE, result: 0 });
    evictAll(all.machine);
    expect(all.enclave.removePages(At.DATA, PAGE)).toMatchObject({ ret: -1, count: 0 });
  });

  it('a thread inside is interrupted when its pages go, its TCS and frame included, and goes on', () => {
    const all = ready();
    const left = all.process.thread().run(At.TCS, function* () {
      yield* write(At.DATA, Uint8Array.of(3));
      evictAll(all.machine);
      return [...(yield* read(At.DATA, 1))];
    });
    expect(left).toEqual({ kind: 'exit', value: [3] });
    expect(all.process.kicked.length).toBeGreaterThan(0);
  });

  it('a page evicted and removed by the end of its enclave leaves nothing', () => {
    const all = ready();
    evictAll(all.machine);
    expect(all.machine.kernel.backing.pages).toBe(7);
    all.process.exit();
    expect(all.machine.kernel.usage()).toMatchObject({ freePages: 1024, backingPages: 0, enclaves: 0 });
  });

  it('pages of one enclave make room for another', () => {
    const all = created({ epcPages: 150 });
    numbered(all, 140);
    const second = new VirtualEnclave(all.process);
    second.create();
    expect(second.add(At.HOLE, RW_REG, new Uint8Array(100 * PAGE)).ret).toBe(0);
    all.process.close(all.enclave.fd);
    all.process.close(second.fd);
    expect(all.machine.usedPages).toBe(0);
  });

  it('a page loaded for its owner is not evicted before pages that nobody asked for', () => {
    const all = created({ epcPages: 300 });
    numbered(all, 400);
    all.enclave.addUsualPages();
    all.enclave.init();
    all.enclave.mapUsualPages(3);
    const { process, enclave } = all;
    process.touch(At.HOLE, 'read', true);
    const before = enclave.file.pages.residentPage(pageOf(At.HOLE));
    for (let i = 100; i < 130; i++) process.touch(At.HOLE + i * PAGE, 'read', true);
    expect(enclave.file.pages.residentPage(pageOf(At.HOLE))).toBe(before);
  });

  it.each([20, 33, 50])('makes progress where EPC is never above the watermarks: %i pages', (epcPages) => {
    const all = created({ epcPages });
    all.enclave.addUsualPages();
    numbered(all, 100);
    expect(all.enclave.init()).toBe(0);
    all.enclave.mapUsualPages(3);
    const left = all.process.thread().run(At.TCS, function* () {
      let wrong = 0;
      for (let i = 0; i < 100; i++) if ((yield* read(At.HOLE + i * PAGE + 8, 1))[0] !== i) wrong++;
      return wrong;
    });
    expect(left).toEqual({ kind: 'exit', value: 0 });
  });

  it('tells the trace', () => {
    const all = ready();
    const events: TraceEvent[] = [];
    all.machine.machine.trace.listen({ event: (event) => events.push(event) });
    evictAll(all.machine);
    expect(events).toMatchObject([{ kind: 'reclaim', name: 'ksgxd', args: { evictedPages: 6 } }]);
  });
});
