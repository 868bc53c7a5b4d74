import { describe, expect, it } from 'vitest';

import { Attributes } from '../../../src/abi/sgx-arch.ts';
import { EnclaveCreate, SGX_ATTR_UNPRIV_MASK } from '../../../src/abi/sgx-uapi.ts';
import { BASE, ENCLAVE_SIZE_BYTES, VirtualEnclave } from '../../support/virtual-enclave.ts';
import { answer, created, NOWHERE, opened, PAGE } from './support.ts';

describe('SGX_IOC_ENCLAVE_CREATE', () => {
  it('0: makes the SECS and one VA page; base, size and attributes are those of the SECS', () => {
    const { machine, enclave } = created();
    expect(enclave.file).toMatchObject({
      created: true,
      initialized: false,
      base: BASE,
      sizeBytes: ENCLAVE_SIZE_BYTES,
    });
    expect(enclave.file.attributesMask).toBe(SGX_ATTR_UNPRIV_MASK);
    expect(machine.usedPages).toBe(2);
  });

  it('EINVAL: created before, even with an argument that cannot be read', () => {
    const all = created();
    expect(answer(all, all.process.ioctl(all.enclave.fd, 0x4008a400, NOWHERE))).toBe(
      'EINVAL: the enclave is not created yet',
    );
  });

  it('EFAULT: the argument cannot be read', () => {
    const all = opened();
    expect(answer(all, all.process.ioctl(all.enclave.fd, 0x4008a400, NOWHERE))).toMatch(/^EFAULT: sgx_enclave_create/);
  });

  it('EFAULT: the SECS cannot be read in full; it needs no alignment', () => {
    const all = opened();
    const { memory } = all.process;
    const page = memory.allocate(PAGE);
    const at = (src: number) => all.enclave.call('SGX_IOC_ENCLAVE_CREATE', EnclaveCreate, { src: BigInt(src) }).ret;
    expect(answer(all, at(page + 8))).toBe('EFAULT: the SECS can be read');
    expect(answer(all, at(NOWHERE))).toBe('EFAULT: the SECS can be read');
    // Read in full, and then refused for its size of 0.
    expect(answer(all, at(memory.allocate(2 * PAGE) + 24))).toMatch(/^EINVAL: SECS.SIZE/);
  });

  it.each([0n, 0x3000n, 0x1801n])('EINVAL: SECS.SIZE %s is no power of two', (size) => {
    const all = opened();
    expect(answer(all, all.enclave.create({ size }))).toBe('EINVAL: SECS.SIZE is a power of two');
  });

  it('EINVAL: a backing file of 2^63 bytes cannot be', () => {
    const all = opened();
    expect(answer(all, all.enclave.create({ size: 1n << 63n }))).toBe('EINVAL: the backing file is not too large');
    expect(all.machine.usedPages).toBe(0);
  });

  it.each([0, 1])('ENOMEM: no EPC for the VA page and the SECS, with %i pages', (epcPages) => {
    const all = opened({ epcPages });
    expect(answer(all, all.enclave.create())).toMatch(/^ENOMEM: a page of the EPC/);
    expect(all.machine.usedPages).toBe(0);
  });

  it('ERESTARTSYS: a signal is pending when pages have to be evicted', () => {
    const all = created();
    all.enclave.add(BASE, 0x203, new Uint8Array(2 * PAGE));
    const { epc } = all.machine.kernel;
    while (epc.take() !== undefined);
    all.process.pendingSignals = () => true;
    expect(answer(all, new VirtualEnclave(all.process).create())).toBe(
      'ERESTARTSYS: no signal is pending while pages are evicted',
    );
  });

  it.each([
    ['base is not aligned to size', { baseAddr: 0x1000n }],
    ['size is 4096', { size: 0x1000n }],
    ['size is beyond CPUID.12H', { size: 1n << 57n, baseAddr: 0n }],
    ['XFRM lacks SSE', { xfrm: 1n }],
    ['an attribute does not exist', { attributes: 1n << 40n }],
    ['INIT is set', { attributes: Attributes.mask.INIT }],
    ['MISCSELECT does not exist', { miscSelect: 2 }],
    ['the SSA frame is too small', { ssaFrameSize: 0 }],
  ])('EIO: ECREATE faults when %s', (_, secs) => {
    const all = opened();
    expect(answer(all, all.enclave.create(secs))).toMatch(/^EIO: SECS/);
    expect(all.machine.usedPages).toBe(0);
  });

  it('a failed CREATE can be tried again on the same file', () => {
    const { enclave } = opened();
    expect(enclave.create({ size: 0x1000n })).toBeLessThan(0);
    expect(enclave.create()).toBe(0);
  });

  it('base 0 is a base', () => {
    const { enclave } = opened();
    expect(enclave.create({ baseAddr: 0n })).toBe(0);
    expect(enclave.file.isInElrange(0)).toBe(true);
  });
});
