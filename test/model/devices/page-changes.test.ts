import { describe, expect, it } from 'vitest';

import { PageType } from '../../../src/abi/sgx-arch.ts';
import {
  EnclaveModifyTypes,
  EnclaveRemovePages,
  EnclaveRestrictPermissions,
  enclaveIoctls,
} from '../../../src/abi/sgx-uapi.ts';
import { At, BASE, ENCLAVE_SIZE_BYTES, RW_REG, RX_REG } from '../../support/virtual-enclave.ts';
import { eaccept, write } from '../../support/virtual-runner.ts';
import { answer, created, NOWHERE, opened, PAGE, ready, type Opened } from './support.ts';

const { numbers } = enclaveIoctls;
const { TCS, REG, TRIM } = PageType;
const PAGE_NOT_MODIFIABLE = 20;
const offset = BigInt(At.DATA - BASE);

/** The enclave accepts a change of a page other than DATA. */
function accept({ process, enclave }: Opened, address: number, flags: number): unknown {
  return process.thread().run(At.TCS, function* () {
    yield* write(At.DATA, enclave.secInfoBytes(flags));
    return yield* eaccept(At.DATA, address);
  });
}
const ACCEPTED = { kind: 'exit', value: 0 };

describe.each([
  ['SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS', EnclaveRestrictPermissions],
  ['SGX_IOC_ENCLAVE_MODIFY_TYPES', EnclaveModifyTypes],
  ['SGX_IOC_ENCLAVE_REMOVE_PAGES', EnclaveRemovePages],
] as const)('%s, common checks in order', (name, layout) => {
  it('ENODEV: the processor has no SGX2', () => {
    const all = opened({ cpu: 'skylake' });
    expect(answer(all, all.process.ioctl(all.enclave.fd, numbers[name], NOWHERE))).toBe(
      'ENODEV: the processor has SGX2',
    );
  });

  it('EINVAL: not initialized, also on a fresh file and with zeros', () => {
    for (const all of [opened(), created()]) {
      expect(answer(all, all.enclave.call(name, layout, {}).ret)).toBe('EINVAL: the enclave is initialized');
    }
  });

  it('EFAULT: the argument cannot be read', () => {
    const all = ready();
    expect(answer(all, all.process.ioctl(all.enclave.fd, numbers[name], NOWHERE))).toMatch(/^EFAULT/);
  });

  it.each([
    ['offset is not aligned', { offset: 1n, length: 0x1000n }],
    ['length is 0', { offset, length: 0n }],
    ['length is not aligned', { offset, length: 0x800n }],
    ['the sum wraps', { offset: 0xffff_ffff_ffff_f000n, length: 0x1000n }],
    ['the end is beyond the enclave', { offset: BigInt(ENCLAVE_SIZE_BYTES), length: 0x1000n }],
  ])('EINVAL: %s', (_, range) => {
    const all = ready();
    expect(answer(all, all.enclave.call(name, layout, { ...range, count: 1n }).ret)).toMatch(
      /^EINVAL: (offset|length|the range)/,
    );
  });

  it('EINVAL: count has to be 0', () => {
    const all = ready();
    const values = { offset, length: 0x1000n, count: 1n };
    expect(answer(all, all.enclave.call(name, layout, values).ret)).toBe('EINVAL: count is an output and has to be 0');
  });
});

describe('SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS', () => {
  it.each([
    ['a bit beyond R, W, X', 8, 'EINVAL: permissions are R, W and X'],
    ['W without R', 2, 'EINVAL: permissions have R where they have W'],
    ['W and X without R', 6, 'EINVAL: permissions have R where they have W'],
  ])('EINVAL: %s', (_, permissions, expected) => {
    const all = ready();
    expect(answer(all, all.enclave.restrict(At.DATA, PAGE, permissions).ret)).toBe(expected);
  });

  it('EINVAL: result has to be 0', () => {
    const all = ready();
    const values = { offset, length: 0x1000n, permissions: 1n, result: 1n };
    expect(
      answer(all, all.enclave.call('SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS', EnclaveRestrictPermissions, values).ret),
    ).toBe('EINVAL: result is an output and has to be 0');
  });

  it('0: EPCM gets the rights in common, and PR; none and X alone pass', () => {
    const { enclave } = ready();
    expect(enclave.restrict(At.DATA, 2 * PAGE, 1)).toEqual({ ret: 0, count: 2 * PAGE, result: 0 });
    expect([enclave.entry(At.DATA), enclave.entry(At.DATA2)]).toEqual([0x221, 0x221]);
    expect(enclave.restrict(At.CODE, PAGE, 7).ret).toBe(0);
    expect(enclave.entry(At.CODE)).toBe(0x225);
    expect(enclave.restrict(At.CODE, PAGE, 4).ret).toBe(0);
    expect(enclave.restrict(At.CODE, PAGE, 0).ret).toBe(0);
    expect(enclave.entry(At.CODE)).toBe(0x220);
  });

  it('EINVAL: a TCS, with result and count 0', () => {
    const { enclave } = ready();
    expect(enclave.restrict(At.TCS, PAGE, 1)).toEqual({ ret: -22, count: 0, result: 0 });
  });

  it('EFAULT: a page that is not there, after the ones before it', () => {
    const { enclave } = ready();
    expect(enclave.restrict(At.DATA, 3 * PAGE, 1)).toEqual({ ret: -14, count: 2 * PAGE, result: 0 });
  });

  it('EFAULT with result 20: the page is PENDING', () => {
    const all = ready();
    all.process.touch(At.HOLE, 'write', true);
    expect(all.enclave.restrict(At.HOLE, PAGE, 1)).toEqual({ ret: -14, count: 0, result: PAGE_NOT_MODIFIABLE });
  });

  it('no signal ends it', () => {
    const { process, enclave } = ready();
    process.pendingSignals = () => true;
    expect(enclave.restrict(At.DATA, 2 * PAGE, 1).ret).toBe(0);
  });

  it('EACCEPT never sees NOT_TRACKED after it, even with a thread inside', () => {
    const all = ready();
    const other = all.process.thread();
    other.enter(At.TCS);
    all.enclave.restrict(At.DATA2, PAGE, 1);
    expect(all.process.kicked).toEqual([all.enclave.file.id]);
    expect(accept(all, At.DATA2, 0x221)).toEqual(ACCEPTED);
  });
});

describe('SGX_IOC_ENCLAVE_MODIFY_TYPES', () => {
  it('EINVAL: page_type is no type', () => {
    const all = ready();
    expect(answer(all, all.enclave.modifyTypes(At.DATA, PAGE, 0x104).ret)).toBe('EINVAL: page_type is a page type');
  });

  it.each([0, REG, 3, 5, 255])('EINVAL: type %i is neither TCS nor TRIM', (type) => {
    const all = ready();
    expect(answer(all, all.enclave.modifyTypes(At.DATA, PAGE, type).ret)).toBe('EINVAL: page_type');
  });

  it('REG to TRIM: MODIFIED, no rights; then EINVAL for TRIM to TRIM', () => {
    const { enclave } = ready();
    expect(enclave.modifyTypes(At.DATA, PAGE, TRIM)).toEqual({ ret: 0, count: PAGE, result: 0 });
    expect(enclave.entry(At.DATA)).toBe(0x410);
    expect(enclave.modifyTypes(At.DATA, PAGE, TRIM)).toEqual({ ret: -22, count: 0, result: 0 });
  });

  it('TCS to TRIM, but not TCS to TCS', () => {
    const { enclave } = ready();
    expect(enclave.modifyTypes(At.TCS, PAGE, TCS)).toEqual({ ret: -22, count: 0, result: 0 });
    expect(enclave.modifyTypes(At.TCS, PAGE, TRIM)).toEqual({ ret: 0, count: PAGE, result: 0 });
  });

  it('REG to TCS: the limit of mappings becomes RW', () => {
    const all = ready();
    expect(all.enclave.modifyTypes(At.DATA2, PAGE, TCS)).toEqual({ ret: 0, count: PAGE, result: 0 });
    expect(all.enclave.entry(At.DATA2)).toBe(0x110);
    expect(all.process.mprotect(At.DATA2, PAGE, 7)).toBe(-13);
    expect(all.process.mprotect(At.DATA2, PAGE, 3)).toBe(0);
  });

  it('EPERM: REG to TCS of a page that was added without W', () => {
    const { enclave } = ready();
    expect(enclave.modifyTypes(At.CODE, PAGE, TCS)).toEqual({ ret: -1, count: 0, result: 0 });
    expect(enclave.entry(At.CODE)).toBe(RX_REG);
  });

  it('EFAULT with result 20, and the limit as before: the page is PENDING', () => {
    const all = ready();
    all.process.touch(At.HOLE, 'write', true);
    expect(all.enclave.modifyTypes(At.HOLE, PAGE, TCS)).toEqual({ ret: -14, count: 0, result: PAGE_NOT_MODIFIABLE });
    expect(all.process.mprotect(At.HOLE, PAGE, 7)).toBe(0);
  });

  it('EFAULT: a page that is not there, after the ones before it', () => {
    const { enclave } = ready();
    expect(enclave.modifyTypes(At.DATA, 3 * PAGE, TRIM)).toEqual({ ret: -14, count: 2 * PAGE, result: 0 });
  });
});

describe('SGX_IOC_ENCLAVE_REMOVE_PAGES', () => {
  it('EFAULT: a page that is not there', () => {
    const { enclave } = ready();
    expect(enclave.removePages(At.HOLE, PAGE)).toMatchObject({ ret: -14, count: 0 });
  });

  it('EPERM: not trimmed', () => {
    const all = ready();
    expect(answer(all, all.enclave.removePages(At.DATA, PAGE).ret)).toBe('EPERM: the page is PT_TRIM');
  });

  it('EPERM: trimmed and not accepted', () => {
    const all = ready();
    all.enclave.modifyTypes(At.DATA2, PAGE, TRIM);
    expect(answer(all, all.enclave.removePages(At.DATA2, PAGE).ret)).toBe('EPERM: the enclave has accepted the trim');
  });

  it('0 after EACCEPT: the page is gone, its EPC free, its address good for a new page', () => {
    const all = ready();
    all.enclave.modifyTypes(At.DATA2, PAGE, TRIM);
    expect(accept(all, At.DATA2, 0x410)).toEqual(ACCEPTED);
    const used = all.machine.usedPages;
    expect(all.enclave.removePages(At.DATA2, PAGE)).toMatchObject({ ret: 0, count: PAGE });
    expect(all.machine.usedPages).toBe(used - 1);
    expect(accept(all, At.DATA2, 0x20b)).toEqual(ACCEPTED);
    expect(all.enclave.entry(At.DATA2)).toBe(RW_REG);
  });

  it('an accepted trim can be removed while a thread is inside', () => {
    const all = ready();
    all.enclave.modifyTypes(At.DATA2, PAGE, TRIM);
    accept(all, At.DATA2, 0x410);
    all.process.thread().enter(At.TCS);
    expect(all.enclave.removePages(At.DATA2, PAGE)).toMatchObject({ ret: 0, count: PAGE });
  });
});
