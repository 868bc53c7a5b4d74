/** What each place does when its outcome is injected: what Linux does with such an answer, and what stays behind. */
import { describe, expect, it } from 'vitest';

import { PageType, SecInfoFlags } from '../../../src/abi/sgx-arch.ts';
import { At, BASE, ENCLAVE_SIZE_BYTES, RW_REG, VirtualEnclave } from '../../support/virtual-enclave.ts';
import { VirtualMachine } from '../../../src/virtual/machine.ts';
import { eaccept, enclu, read, write } from '../../../src/virtual/code.ts';
import { answer, opened, PAGE, ready, type Opened } from '../devices/support.ts';

const { TCS, TRIM } = PageType;
const { PENDING } = SecInfoFlags.bit;
const EINTR = -4;
const EIO = -5;
const EAGAIN = -11;
const ENOMEM = -12;
const EFAULT = -14;
const EBUSY = -16;
const EPERM = -1;
const pageNumber = (address: number): number => (address - BASE) / PAGE;
const readyWith = (...inject: string[]): Opened => ready({ inject });
const openedWith = (...inject: string[]): Opened => opened({ inject });

function accept({ process, enclave }: Opened, address: number, flags: number): unknown {
  return process.thread().run(At.TCS, function* () {
    yield* write(At.DATA, enclave.secInfoBytes(flags));
    return yield* eaccept(At.DATA, address);
  });
}

/** CREATE, then pages at DATA. */
function building(pages: number, ...inject: string[]) {
  const all = openedWith(...inject);
  expect(all.enclave.create()).toBe(0);
  return { ...all, added: all.enclave.add(At.DATA, RW_REG, new Uint8Array(pages * PAGE)) };
}

describe('building', () => {
  it('ECREATE: EIO, nothing remains, and the next attempt succeeds', () => {
    const all = openedWith('ecreate:#GP');
    expect(answer(all, all.enclave.create())).toBe('EIO: nothing is injected');
    expect(all.machine.usedPages).toBe(0);
    expect(all.enclave.create()).toBe(0);
  });

  it('EPA: EFAULT, nothing remains', () => {
    const all = openedWith('epa:#PF');
    expect(all.enclave.create()).toBe(EFAULT);
    expect(all.machine.usedPages).toBe(0);
    expect(all.enclave.create()).toBe(0);
  });

  it.each(['eadd:#PF', 'eextend:#GP'])('%s: EIO at the page, those before stay', (rule) => {
    const { machine, enclave, added } = building(3, `${rule}@page=${pageNumber(At.DATA) + 1}`);
    expect(added).toEqual({ ret: EIO, count: PAGE, result: 0 });
    expect(machine.usedPages).toBe(3);
    expect(enclave.add(At.DATA + PAGE, RW_REG, new Uint8Array(2 * PAGE)).ret).toBe(0);
  });

  it('EEXTEND is not met by a page that is not measured', () => {
    const all = openedWith('eextend:#GP');
    all.enclave.create();
    expect(all.enclave.add(At.DATA, RW_REG, new Uint8Array(PAGE), { measure: false }).ret).toBe(0);
    expect(all.enclave.add(At.DATA2, RW_REG, new Uint8Array(PAGE)).ret).toBe(EIO);
  });

  it('alloc:ENOMEM at the page, those before stay', () => {
    const { added, process } = building(3, `alloc:ENOMEM@page=${pageNumber(At.DATA) + 2}`);
    expect(added).toEqual({ ret: ENOMEM, count: 2 * PAGE, result: 0 });
    expect(process.lastWhy).toMatchObject({ found: '--inject alloc:ENOMEM@page=6' });
  });

  it('alloc: ENOMEM of CREATE, for the VA page or the SECS', () => {
    const all = openedWith('alloc:ENOMEM@nth=1', 'alloc:ENOMEM@nth=3');
    expect([all.enclave.create(), all.enclave.create(), all.enclave.create()]).toEqual([ENOMEM, ENOMEM, 0]);
  });

  it('signal: EINTR before the first page, success with what was done before a later one', () => {
    const first = building(3, `signal:EINTR@page=${pageNumber(At.DATA)}`);
    expect(first.added).toEqual({ ret: EINTR, count: 0, result: 0 });
    const later = building(3, `signal:EINTR@page=${pageNumber(At.DATA) + 2}`);
    expect(later.added).toEqual({ ret: 0, count: 2 * PAGE, result: 0 });
  });

  it('EINIT: EPERM for a code, EIO for a fault; SGX_UNMASKED_EVENT is tried again', () => {
    const initWith = (...inject: string[]) => {
      const all = openedWith(...inject);
      all.enclave.create();
      all.enclave.addUsualPages();
      const ret = all.enclave.init();
      return [ret, ret === 0 ? 0 : all.enclave.init()];
    };
    expect(initWith('einit:SGX_INVALID_MEASUREMENT')).toEqual([EPERM, 0]);
    expect(initWith('einit:#GP')).toEqual([EIO, 0]);
    expect(initWith('einit:SGX_UNMASKED_EVENT', 'einit:SGX_UNMASKED_EVENT@nth=2')).toEqual([0, 0]);
    expect(initWith('einit:SGX_UNMASKED_EVENT@every')).toEqual([EPERM, EPERM]);
  });
});

describe('pages of a running enclave', () => {
  const DATA2 = pageNumber(At.DATA2);

  it.each([
    ['emodpr:SGX_PAGE_NOT_MODIFIABLE', { ret: EFAULT, count: PAGE, result: 20 }],
    ['emodpr:SGX_EPC_PAGE_CONFLICT', { ret: EFAULT, count: PAGE, result: 7 }],
    ['emodpr:#PF', { ret: EFAULT, count: PAGE, result: 0 }],
    ['load:EBUSY', { ret: EAGAIN, count: PAGE, result: 0 }],
    ['load:EFAULT', { ret: EFAULT, count: PAGE, result: 0 }],
  ])('RESTRICT_PERMISSIONS, %s: the page is as it was, the one before is done', (rule, outputs) => {
    const { enclave } = readyWith(`${rule}@page=${DATA2}`);
    expect(enclave.restrict(At.DATA, 2 * PAGE, 1)).toEqual(outputs);
    expect([enclave.entry(At.DATA), enclave.entry(At.DATA2)]).toEqual([0x221, RW_REG]);
    expect(enclave.restrict(At.DATA2, PAGE, 1)).toEqual({ ret: 0, count: PAGE, result: 0 });
  });

  it.each([
    ['emodt:SGX_PAGE_NOT_MODIFIABLE', { ret: EFAULT, count: PAGE, result: 20 }],
    ['emodt:#GP', { ret: EFAULT, count: PAGE, result: 0 }],
    ['load:EBUSY', { ret: EAGAIN, count: PAGE, result: 0 }],
    ['unmark:EBUSY', { ret: EAGAIN, count: PAGE, result: 0 }],
  ])('MODIFY_TYPES to TCS, %s: the page is as it was, its limit too', (rule, outputs) => {
    const all = readyWith(`${rule}@page=${DATA2}`);
    expect(all.enclave.modifyTypes(At.DATA, 2 * PAGE, TCS)).toEqual(outputs);
    expect([all.enclave.entry(At.DATA), all.enclave.entry(At.DATA2)]).toEqual([0x110, RW_REG]);
    expect(all.enclave.modifyTypes(At.DATA2, PAGE, TCS)).toEqual({ ret: 0, count: PAGE, result: 0 });
  });

  it('ETRACK: once it is tried again; twice, EFAULT for a page that has changed all the same', () => {
    const once = readyWith('etrack:SGX_PREV_TRK_INCMPL');
    expect(once.enclave.restrict(At.DATA, PAGE, 1)).toEqual({ ret: 0, count: PAGE, result: 0 });
    const twice = readyWith('etrack:#PF@nth=3', 'etrack:#PF@nth=4', 'etrack:#PF@nth=2');
    expect(twice.enclave.restrict(At.DATA, 2 * PAGE, 1)).toEqual({ ret: EFAULT, count: PAGE, result: 0 });
    expect(twice.enclave.entry(At.DATA2)).toBe(0x221);
    expect(twice.process.nativeProt(At.DATA2)).toBe(1);
    // EACCEPT wants the tracking that failed; the next call brings it.
    expect(twice.enclave.restrict(At.DATA2, PAGE, 1)).toEqual({ ret: 0, count: PAGE, result: 0 });
    expect(accept(readyWith(), At.DATA2, RW_REG | PENDING)).toMatchObject({ value: 19 });
  });

  it('ETRACK twice in MODIFY_TYPES: the driver still takes the page for PT_REG, the processor does not', () => {
    const all = readyWith('etrack:#PF@every');
    expect(all.enclave.modifyTypes(At.DATA2, PAGE, TRIM)).toEqual({ ret: EFAULT, count: 0, result: 0 });
    expect(all.enclave.entry(At.DATA2)).toBe(0x410);
    expect(all.enclave.modifyTypes(At.DATA2, PAGE, TRIM)).toEqual({ ret: EFAULT, count: 0, result: 0 });
    expect(all.process.lastWhy?.check).toBe('EPCM.PT is PT_REG, or PT_TCS when it becomes PT_TRIM');
  });

  it.each([
    ['load:EBUSY', EAGAIN],
    ['unmark:EBUSY', EBUSY],
    ['emodpr:#GP', EPERM],
    ['emodpr:SGX_PAGE_NOT_MODIFIABLE', EPERM],
  ])('REMOVE_PAGES, %s: the page is still there', (rule, ret) => {
    // MODIFY_TYPES loads the page, too.
    const nth = rule.startsWith('load') ? 2 : 1;
    const all = readyWith(`${rule}@page=${DATA2},nth=${nth}`);
    all.enclave.modifyTypes(At.DATA2, PAGE, TRIM);
    expect(accept(all, At.DATA2, 0x410)).toEqual({ kind: 'exit', value: 0 });
    const { usedPages } = all.machine;
    expect(all.enclave.removePages(At.DATA2, PAGE)).toEqual({ ret, count: 0, result: 0 });
    expect(all.machine.usedPages).toBe(usedPages);
    expect(all.enclave.removePages(At.DATA2, PAGE)).toEqual({ ret: 0, count: PAGE, result: 0 });
  });

  it('EAUG, and alloc for it: SIGBUS, and the next touch brings the page', () => {
    for (const rule of ['eaug:#GP', 'alloc:ENOMEM']) {
      const all = readyWith(`${rule}@address=0x${At.HOLE.toString(16)}`);
      const { usedPages } = all.machine;
      expect(all.process.touch(At.HOLE, 'read', true)).toEqual({ kind: 'bus' });
      expect(all.machine.usedPages).toBe(usedPages);
      expect(accept(all, At.HOLE, RW_REG | PENDING)).toEqual({ kind: 'exit', value: 0 });
    }
  });

  it('ELDU: SIGBUS, for ever: the sealed bytes are gone', () => {
    const machine = new VirtualMachine({ epcPages: 256, inject: [`eldu:SGX_MAC_COMPARE_FAIL@page=${DATA2}`] });
    const enclave = VirtualEnclave.ready(machine.process());
    const { process } = enclave;
    const crowd = new VirtualEnclave(machine.process());
    expect(crowd.create()).toBe(0);
    expect(crowd.add(BASE, RW_REG, new Uint8Array(600 * PAGE)).ret).toBe(0);
    expect(enclave.entry(At.DATA2)).toBeUndefined();
    const look = () => process.touch(At.DATA2, 'read', true);
    expect([look(), look()]).toEqual([{ kind: 'bus' }, { kind: 'bus' }]);
    expect(process.thread().run(At.TCS, () => read(At.DATA, 1))).toMatchObject({ kind: 'exit' });
    expect(enclave.restrict(At.DATA2, PAGE, 1)).toEqual({ ret: EFAULT, count: 0, result: 0 });
    for (const one of machine.processes) one.exit();
    expect(machine.kernel.usage()).toMatchObject({ freePages: 256, backingPages: 0, enclaves: 0 });
  });
});

describe('leaves of the enclave', () => {
  it('EACCEPT: the code, and the page still waits', () => {
    const all = readyWith(`eaccept:SGX_NOT_TRACKED@page=${pageNumber(At.HOLE)}`);
    expect(accept(all, At.HOLE, RW_REG | PENDING)).toEqual({ kind: 'exit', value: 11 });
    expect(accept(all, At.HOLE, RW_REG | PENDING)).toEqual({ kind: 'exit', value: 0 });
  });

  it('#PF at the page, by the EPCM; #GP', () => {
    const all = readyWith('eaccept:#PF', 'emodpe:#GP');
    const page = { vector: 14, errorCode: 0x8005, address: At.HOLE };
    expect(accept(all, At.HOLE, RW_REG | PENDING)).toEqual({ kind: 'exception', ...page });
    const left = all.process.thread().run(At.TCS, () => enclu(6, At.DATA, At.DATA2));
    expect(left).toMatchObject({ kind: 'exception', vector: 13 });
  });

  it('a rule for no page of theirs is met by none', () => {
    const all = readyWith(`eaccept:#GP@page=${ENCLAVE_SIZE_BYTES / PAGE}`, 'egetkey:#GP@every=2');
    accept(all, At.HOLE, RW_REG | PENDING);
    expect(all.machine.machine.unusedInjections()).toEqual([
      '--inject eaccept:#GP@page=1024 did nothing: EACCEPT of that page was never met',
      '--inject egetkey:#GP@every=2 did nothing: EGETKEY was never met',
    ]);
  });
});

it('the trace says what was injected, and the refusal which rule it was', () => {
  const all = readyWith('emodt:20');
  const events: unknown[] = [];
  all.machine.machine.trace.listen({ event: (event) => events.push(event) });
  all.enclave.modifyTypes(At.DATA2, PAGE, TRIM);
  const why = { check: 'nothing is injected', expected: 'EMODT as it is', found: '--inject emodt:20' };
  expect(events).toMatchObject([
    { kind: 'inject', name: 'EMODT', outcome: 'code', result: 'SGX_PAGE_NOT_MODIFIABLE', why },
    { kind: 'ioctl', outcome: 'errno', result: 'EFAULT', why },
  ]);
});
