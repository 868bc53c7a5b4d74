import { describe, expect, it } from 'vitest';

import { PageType, SecInfo } from '../../../src/abi/sgx-arch.ts';
import { PageModp, PageModt, PageRemove, rfcIoctls } from '../../../src/abi/sgx-uapi/rfc-2021.ts';
import type { Layout, ValuesOf } from '../../../src/lib/layout.ts';
import { userAddr } from '../../../src/lib/units.ts';
import { eaccept, emodpe, load, store, write } from '../../../src/virtual/code.ts';
import { At, BASE, ENCLAVE_SIZE_BYTES, FIXED, RW_REG, VirtualEnclave } from '../../support/virtual-enclave.ts';
import { answer, NOWHERE, opened as anyOpened, PAGE, ready as anyReady, type Opened } from './support.ts';

const { numbers } = rfcIoctls;
const R = 1;
const RW = 3;
const RWX = 7;
const PR = 1 << 5;

const opened = (): Opened => anyOpened({ sgxUapi: 'rfc-2021' });
const ready = (): Opened => anyReady({ sgxUapi: 'rfc-2021' });

function call<L extends Layout>(
  { process, enclave }: Opened,
  name: keyof typeof numbers,
  layout: L,
  values: ValuesOf<L>,
) {
  const address = process.memory.put(layout.encode(values));
  const ret = process.ioctl(enclave.fd, numbers[name], address);
  const bytes = new Uint8Array(layout.sizeBytes);
  process.memory.read(userAddr(address), bytes);
  return { ret, ...(layout.decode(bytes) as { count: bigint; result?: bigint }) };
}

const range = (address: number, pages = 1) => ({ offset: BigInt(address - BASE), length: BigInt(pages * PAGE) });
const modp = (all: Opened, address: number, prot: number, more: ValuesOf<typeof PageModp> = {}) =>
  call(all, 'SGX_IOC_PAGE_MODP', PageModp, { ...range(address), prot: BigInt(prot), ...more });
const modt = (all: Opened, address: number, type: number, more: ValuesOf<typeof PageModt> = {}) =>
  call(all, 'SGX_IOC_PAGE_MODT', PageModt, { ...range(address), type: BigInt(type), ...more });
const remove = (all: Opened, address: number, more: ValuesOf<typeof PageRemove> = {}) =>
  call(all, 'SGX_IOC_PAGE_REMOVE', PageRemove, { ...range(address), ...more });

/** Runs in the enclave, with a SECINFO in the second data page. */
const inside = ({ process }: Opened, code: Parameters<ReturnType<typeof process.thread>['run']>[1]) =>
  process.thread().run(At.TCS, code);
const secInfoAt = At.DATA2 + 0x800;
const putSecInfo = (flags: number) => write(secInfoAt, SecInfo.encode({ flags: BigInt(flags) }));

describe('numbers', () => {
  it('are those that were merged, and mainline has none of the names', () => {
    expect([numbers.SGX_IOC_PAGE_MODP, numbers.SGX_IOC_PAGE_MODT, numbers.SGX_IOC_PAGE_REMOVE]).toEqual([
      0xc028_a405, 0xc028_a406, 0xc018_a407,
    ]);
  });
});

describe('SGX_IOC_PAGE_MODP', () => {
  it('page table entries follow: a write after the cut is SIGBUS, and a #PF without the SGX bit to the vDSO', () => {
    const all = ready();
    expect(modp(all, At.DATA, R)).toMatchObject({ ret: 0, count: 4096n, result: 0n });
    expect(all.process.touch(At.DATA, 'read', true)).toEqual({ kind: 'ok' });
    expect(all.process.mm.fault({ page: all.enclave.page(At.DATA), access: 'write', inside: true })).toMatchObject({
      kind: 'bus',
      errorCode: 0x7,
    });
  });

  it('EMODPE alone does not give W back; MODP does, and its EMODPR changes nothing but PR', () => {
    const all = ready();
    modp(all, At.DATA, R);
    const relaxed = inside(all, function* () {
      yield* putSecInfo(RW_REG);
      yield* emodpe(secInfoAt, At.DATA);
    });
    expect(relaxed).toMatchObject({ kind: 'exit' });
    expect(all.process.touch(At.DATA, 'write', true)).toEqual({ kind: 'bus' });
    expect(modp(all, At.DATA, RW)).toMatchObject({ ret: 0, count: 4096n, result: 0n });
    expect(all.enclave.entry(At.DATA)).toBe(RW_REG | PR);
    const left = inside(all, function* () {
      yield* store(At.DATA, 7n);
      yield* putSecInfo(RW_REG | PR);
      const accepted = yield* eaccept(secInfoAt, At.DATA);
      return [accepted, yield* load(At.DATA)];
    });
    expect(left).toMatchObject({ kind: 'exit', value: [0, 7n] });
  });

  it('new mappings are limited by it, in both directions', () => {
    const all = ready();
    modp(all, At.DATA, R);
    expect(answer(all, all.process.mprotect(At.DATA, PAGE, RW))).toMatch(/^EACCES: /);
    expect(answer(all, all.process.mmap(At.DATA, PAGE, RW, FIXED, all.enclave.fd))).toMatch(/^EACCES: /);
    modp(all, At.DATA, RW);
    expect(all.process.mprotect(At.DATA, PAGE, RW)).toBe(0);
  });

  it('EPERM: more than the page was added with', () => {
    const all = ready();
    const { ret, count } = modp(all, At.DATA, RWX);
    expect([answer(all, ret), count]).toEqual(['EPERM: the rights are within what the page was added with', 0n]);
    expect(all.process.touch(At.DATA, 'write', true)).toEqual({ kind: 'ok' });
  });

  it('fetching from a page that lost X: #PF without the SGX bit', () => {
    const all = ready();
    modp(all, At.CODE, R);
    expect(all.process.touch(At.CODE, 'exec', true)).toMatchObject({ kind: 'fault', errorCode: 0x15 });
  });

  it('EFAULT with the code of EMODPR: a page that is PENDING', () => {
    const all = ready();
    all.process.touch(At.HOLE, 'write', true);
    const { ret, count, result } = modp(all, At.HOLE, R);
    expect([answer(all, ret), count, result]).toEqual(['EFAULT: EPCM.PENDING and EPCM.MODIFIED are 0', 0n, 20n]);
  });

  it.each([
    ['prot is R, W and X', { prot: 8n }],
    ['prot has R where it has W', { prot: 2n }],
    ['result is an output and has to be 0', { result: 1n }],
    ['count is an output and has to be 0', { count: 1n }],
    ['offset is page-aligned', { offset: 8n }],
    ['length is a whole number of pages, not none', { length: 0n }],
    ['the range ends in the enclave', { length: BigInt(2 * ENCLAVE_SIZE_BYTES) }],
  ])('EINVAL: %s', (check, more) => {
    const all = ready();
    expect(answer(all, modp(all, At.DATA, R, more).ret)).toBe(`EINVAL: ${check}`);
  });

  it('EINVAL: a TCS', () => {
    const all = ready();
    expect(answer(all, modp(all, At.TCS, R).ret)).toBe('EINVAL: the page is PT_REG');
  });

  it('EFAULT, where mainline has EINVAL: a range that wraps passes the check and ends at its first page', () => {
    const all = ready();
    const { ret, count } = modp(all, At.DATA, R, { offset: 2n ** 64n - 4096n, length: 8192n });
    expect([answer(all, ret), count]).toEqual(['EFAULT: the page is in the enclave', 0n]);
  });

  it('ENODEV: a processor without SGX2; EINVAL: not initialized; EFAULT: no argument', () => {
    const sgx1 = anyOpened({ cpu: 'skylake', sgxUapi: 'rfc-2021' });
    expect(answer(sgx1, modp(sgx1, BASE, R).ret)).toBe('ENODEV: the processor has SGX2');
    const all = opened();
    expect(answer(all, modp(all, BASE, R).ret)).toBe('EINVAL: the enclave is initialized');
    const done = ready();
    expect(answer(done, done.process.ioctl(done.enclave.fd, numbers.SGX_IOC_PAGE_MODP, NOWHERE))).toMatch(/^EFAULT/);
  });
});

describe('a page that comes by a touch (EAUG)', () => {
  it('is RW and never executable: X is EPERM, a mapping with X EACCES', () => {
    const all = ready();
    const grown = inside(all, function* () {
      yield* putSecInfo(0x20b);
      return yield* eaccept(secInfoAt, At.HOLE);
    });
    expect(grown).toMatchObject({ kind: 'exit', value: 0 });
    expect(answer(all, modp(all, At.HOLE, 5).ret)).toMatch(/^EPERM: /);
    expect(answer(all, all.process.mprotect(At.HOLE, PAGE, RWX))).toMatch(/^EACCES: /);
  });
});

describe('SGX_IOC_PAGE_MODT and SGX_IOC_PAGE_REMOVE', () => {
  it('trim, EACCEPT, remove, and the address can grow anew', () => {
    const all = ready();
    expect(modt(all, At.DATA, PageType.TRIM)).toMatchObject({ ret: 0, count: 4096n });
    expect(answer(all, remove(all, At.DATA).ret)).toBe('EPERM: the enclave has accepted the trim');
    const left = inside(all, function* () {
      yield* putSecInfo(0x410);
      return yield* eaccept(secInfoAt, At.DATA);
    });
    expect(left).toMatchObject({ kind: 'exit', value: 0 });
    expect(remove(all, At.DATA)).toMatchObject({ ret: 0, count: 4096n });
    expect(all.process.touch(At.DATA, 'read', true)).toMatchObject({ kind: 'fault', errorCode: 0x8005 });
  });

  it('a page becomes a TCS, and its limit is RW again', () => {
    const all = ready();
    modp(all, At.DATA, RW);
    expect(modt(all, At.DATA, PageType.TCS)).toMatchObject({ ret: 0, count: 4096n });
    expect(all.process.mprotect(At.DATA, PAGE, RW)).toBe(0);
    expect(answer(all, modt(all, At.CODE, PageType.TCS).ret)).toMatch(/^EPERM: /);
  });

  it.each([
    ['type is a page type', { type: 0x100n }],
    ['result is an output and has to be 0', { result: 1n }],
    ['type', { type: 2n }],
    ['offset is page-aligned', { offset: 1n }],
  ])('MODT, EINVAL: %s', (check, more) => {
    const all = ready();
    expect(answer(all, modt(all, At.DATA, PageType.TRIM, more).ret)).toBe(`EINVAL: ${check}`);
  });

  it('REMOVE: EPERM: not trimmed; EFAULT: no page; EINVAL: count', () => {
    const all = ready();
    expect(answer(all, remove(all, At.DATA).ret)).toBe('EPERM: the page is PT_TRIM');
    expect(answer(all, remove(all, At.HOLE).ret)).toBe('EFAULT: the page is in the enclave');
    expect(answer(all, remove(all, At.DATA, { count: 1n }).ret)).toBe('EINVAL: count is an output and has to be 0');
  });
});

it('a program of mainline runs on it: the numbers are the same', () => {
  const all = ready();
  expect(all.enclave.restrict(At.DATA, PAGE, R)).toEqual({ ret: 0, count: 4096, result: 0 });
  expect(VirtualEnclave.ready(all.machine.process()).file.initialized).toBe(true);
});
