import { describe, expect, it } from 'vitest';

import { Attributes } from '../../../src/abi/sgx-arch.ts';
import { SGX_ATTR_UNPRIV_MASK } from '../../../src/abi/sgx-uapi.ts';
import { BASE, ENCLAVE_SIZE_BYTES, VirtualEnclave } from '../../support/virtual-enclave.ts';
import { answer, created, opened, PAGE } from './support.ts';

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
});
