import { describe, expect, it } from 'vitest';

import { SecInfo } from '../../../src/abi/sgx-arch.ts';
import { EnclaveAddPages, enclaveIoctls } from '../../../src/abi/sgx-uapi.ts';
import { userAddr } from '../../../src/lib/units.ts';
import { At, BASE, ENCLAVE_SIZE_BYTES, PT_TCS, RW_REG, RX_REG } from '../../support/virtual-enclave.ts';
import { answer, created, NOWHERE, opened, PAGE, ready, type Opened } from './support.ts';

const ADD_PAGES = enclaveIoctls.numbers.SGX_IOC_ENCLAVE_ADD_PAGES;
const page = (fill = 0) => new Uint8Array(PAGE).fill(fill);
/** The answer to adding one page with something changed. */
function adding(all: Opened, overrides: Parameters<typeof EnclaveAddPages.encode>[0], secInfoFlags = RW_REG): string {
  return answer(all, all.enclave.add(At.DATA, secInfoFlags, page(), overrides).ret);
}

describe('SGX_IOC_ENCLAVE_ADD_PAGES', () => {
  it('EINVAL: not created; EINVAL: initialized; both before the argument is read', () => {
    for (const all of [opened(), ready()]) {
      expect(answer(all, all.process.ioctl(all.enclave.fd, ADD_PAGES, NOWHERE))).toBe(
        'EINVAL: the enclave is created and not initialized',
      );
    }
  });

  it('EFAULT: the argument cannot be read', () => {
    const all = created();
    expect(answer(all, all.process.ioctl(all.enclave.fd, ADD_PAGES, NOWHERE))).toMatch(
      /^EFAULT: sgx_enclave_add_pages/,
    );
  });

  it.each([
    ['src is not page-aligned', { src: 0x1000_0008n }, /^EINVAL: src/],
    ['offset is not page-aligned', { offset: 0x800n }, /^EINVAL: offset is/],
    ['length is 0', { length: 0n }, /^EINVAL: length/],
    ['length is not page-aligned', { length: 0x1001n }, /^EINVAL: length/],
    ['offset + length wraps', { offset: 0xffff_ffff_ffff_f000n, length: 0x2000n }, /^EINVAL: offset \+ length/],
    ['the range ends beyond the enclave', { offset: BigInt(ENCLAVE_SIZE_BYTES) }, /^EINVAL: the range ends/],
    ['the SECINFO cannot be read', { secInfo: BigInt(NOWHERE) }, /^EFAULT: the SECINFO/],
  ])('in this order: %s', (_, overrides, expected) => {
    const all = created();
    expect(adding(all, overrides)).toMatch(expected);
    // What comes later is not looked at.
    expect(adding(all, { secInfo: BigInt(NOWHERE), ...overrides }, 0)).toMatch(expected);
  });

  it.each([
    ['PT is PT_SECS', 0x003, /PT$/],
    ['PT is PT_VA', 0x303, /PT$/],
    ['W without R', 0x202, /R is set/],
    ['a TCS with R', 0x101, /TCS/],
    ['PENDING', 0x20b, /only R, W, X and PT/],
    ['a bit that does not exist', 0x1_0203, /only R, W, X and PT/],
  ])('EINVAL: SECINFO: %s', (_, flags, expected) => {
    const all = created();
    const refused = adding(all, {}, flags);
    expect(refused).toMatch(/^EINVAL: SECINFO/);
    expect(refused).toMatch(expected);
  });

  it('EINVAL: SECINFO has a reserved byte that is not zero', () => {
    const all = created();
    const bytes = SecInfo.encode({ flags: BigInt(RW_REG) });
    bytes[63] = 1;
    expect(adding(all, { secInfo: BigInt(all.process.memory.put(bytes)) })).toBe(
      'EINVAL: SECINFO reserved bytes are zero',
    );
  });

  it('the struct comes back with count only from the loop on', () => {
    const { enclave } = created();
    expect(enclave.add(At.DATA, RW_REG, page(), { length: 0n, count: 77n })).toMatchObject({ count: 77 });
    expect(enclave.add(At.DATA, RW_REG, page(), { count: 77n })).toEqual({ ret: 0, count: PAGE, result: 0 });
  });

  it('ERESTARTSYS: a signal before the first page', () => {
    const all = created();
    all.process.pendingSignals = () => true;
    expect(adding(all, {})).toMatch(/^ERESTARTSYS/);
  });

  it('0 with a part done: a signal after the first page', () => {
    const { process, enclave } = created();
    let asked = 0;
    process.pendingSignals = () => ++asked > 3;
    expect(enclave.add(At.DATA, RW_REG, new Uint8Array(8 * PAGE))).toEqual({ ret: 0, count: 3 * PAGE, result: 0 });
  });

  it('ENOMEM: no EPC and nothing to evict', () => {
    const all = created({ epcPages: 2 });
    expect(adding(all, {})).toMatch(/^ENOMEM/);
  });

  it('ERESTARTSYS: a signal while pages are evicted, with the count so far', () => {
    const { process, enclave } = created({ epcPages: 5 });
    let asked = 0;
    // Three pages fit; the fourth asks once before the page and once before evicting.
    process.pendingSignals = () => ++asked > 4;
    expect(enclave.add(At.DATA, RW_REG, new Uint8Array(8 * PAGE))).toEqual({ ret: -512, count: 3 * PAGE, result: 0 });
  });

  it('EBUSY: there is a page already, before the source is looked at', () => {
    const all = created();
    expect(adding(all, {})).toBe('0');
    expect(adding(all, { src: BigInt(NOWHERE) })).toBe('EBUSY: no page was added at this address');
  });

  it('EFAULT: nothing is mapped at the source or above', () => {
    expect(adding(created(), { src: BigInt(NOWHERE) })).toBe('EFAULT: something is mapped at the source or above');
  });

  it('EACCES: the source, or the mapping above a gap, is not to be executed', () => {
    const all = created();
    const noexec = all.process.memory.allocate(PAGE, { mayExec: false });
    expect(adding(all, { src: BigInt(noexec) })).toBe('EACCES: the source may be executable');
    expect(adding(all, { src: BigInt(noexec - PAGE) })).toBe('EACCES: the source may be executable');
  });

  it('EFAULT: the source is in a gap, or cannot be read', () => {
    const all = created();
    const src = all.process.memory.allocate(PAGE, { gapPages: 2 });
    all.process.memory.allocate(PAGE);
    expect(adding(all, { src: BigInt(src + PAGE) })).toBe('EFAULT: the source page can be read');
    all.process.memory.protect(src, { readable: false });
    expect(adding(all, { src: BigInt(src) })).toBe('EFAULT: the source page can be read');
  });

  it('EFAULT: the source is enclave memory', () => {
    const all = created();
    const src = all.process.memory.put(page(1));
    all.process.mmap(all.enclave.fd, src, PAGE, 1);
    expect(adding(all, { src: BigInt(src) })).toBe('EFAULT: the source is ordinary memory');
  });

  it('a page that cannot be read in the middle: EFAULT, with the pages before it added', () => {
    const all = created();
    const src = all.process.memory.allocate(3 * PAGE);
    all.process.memory.protect(src + 2 * PAGE, { readable: false });
    const bytes = new Uint8Array(3 * PAGE);
    expect(all.enclave.add(At.DATA, RW_REG, bytes, { src: BigInt(src) })).toEqual({
      ret: -14,
      count: 2 * PAGE,
      result: 0,
    });
    expect(all.enclave.entry(At.DATA + PAGE)).toBe(RW_REG);
    expect(all.enclave.entry(At.DATA + 2 * PAGE)).toBeUndefined();
  });

  it('EIO: EADD faults on a TCS with reserved bits', () => {
    const all = created();
    expect(answer(all, all.enclave.add(At.TCS, PT_TCS, page(0xff)).ret)).toMatch(/^EIO: TCS reserved/);
    expect(all.enclave.file.pages.count).toBe(0);
  });

  it('EFAULT: the struct cannot be written back, although the pages were added', () => {
    const all = created();
    const { memory } = all.process;
    const argument = EnclaveAddPages.encode({
      src: BigInt(memory.allocate(PAGE)),
      offset: BigInt(At.DATA - BASE),
      length: BigInt(PAGE),
      secInfo: BigInt(memory.put(SecInfo.encode({ flags: BigInt(RW_REG) }))),
    });
    const address = memory.put(argument);
    memory.protect(address, { writable: false });
    expect(answer(all, all.process.ioctl(all.enclave.fd, ADD_PAGES, address))).toMatch(/^EFAULT: .*written back/);
    expect(all.enclave.entry(At.DATA)).toBe(RW_REG);
  });

  it('unknown flag bits are ignored; only bit 0 measures', () => {
    const measured = (flags: bigint) => {
      const { machine, enclave } = created();
      enclave.add(At.DATA, RW_REG, page(3), { flags });
      return machine.machine.processor.secs(enclave.file.secs!).measurement!.current();
    };
    expect(measured(0xfen)).toEqual(measured(0n));
    expect(measured(1n)).not.toEqual(measured(0n));
    expect(measured(0xffn)).toEqual(measured(1n));
  });

  it('the same source serves many pages, and the order of pages is free', () => {
    const { process, enclave } = created();
    const src = BigInt(process.memory.put(page(9)));
    expect(enclave.add(At.DATA2, RW_REG, page(), { src }).ret).toBe(0);
    expect(enclave.add(At.CODE, RX_REG, page(), { src }).ret).toBe(0);
    expect(process.machine.contents.has(enclave.file.secs!, enclave.page(At.CODE))).toBe(true);
  });

  it('513 pages need a second VA page: the SECS counts too', () => {
    const { machine, enclave } = created({ epcPages: 2048 });
    enclave.add(At.HOLE, RW_REG, new Uint8Array(511 * PAGE));
    expect(machine.usedPages).toBe(1 + 1 + 511);
    enclave.add(BASE, RW_REG, page());
    expect(machine.usedPages).toBe(1 + 2 + 512);
  });

  it('runs in slices, and ends cleanly when its caller is gone in between', () => {
    const { process, enclave } = created();
    const { memory } = process;
    const argument = memory.put(
      EnclaveAddPages.encode({
        src: BigInt(memory.allocate(200 * PAGE)),
        length: BigInt(200 * PAGE),
        secInfo: BigInt(memory.put(SecInfo.encode({ flags: BigInt(RW_REG) }))),
      }),
    );
    const steps = process.ioctlSteps(enclave.fd, ADD_PAGES, argument);
    expect(steps.next().done).toBe(false);
    const added = enclave.file.pages.count;
    expect(added).toBeGreaterThan(0);
    expect(added).toBeLessThan(200);
    expect(process.ioctl(enclave.fd, ADD_PAGES, argument)).toBe(-16);
    steps.return({ ret: 0 });
    expect(enclave.file.busy).toBe(false);
    const before = new Uint8Array(8);
    memory.read(userAddr(argument + 40), before);
    expect([...before]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });
});
