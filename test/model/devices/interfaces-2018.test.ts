/** What the three interfaces of 2018 have in common: the checks of the drivers of that time. */
import { describe, expect, it } from 'vitest';

import { Attributes, SgxCode, SigStruct } from '../../../src/abi/sgx-arch.ts';
import { SGX_2018_PROVISION } from '../../../src/abi/sgx-uapi/generation.ts';
import { MapType } from '../../../src/abi/linux.ts';
import { At, BASE, Enclave2018, PAGE, RW, RX, SIZE, TCS, uapis2018 } from '../../support/enclave-2018.ts';
import { load, store } from '../../../src/virtual/code.ts';
import { NOWHERE } from './support.ts';

describe.each(uapis2018)('%s', (uapi) => {
  const created = (): Enclave2018 => {
    const all = new Enclave2018(uapi);
    expect(all.create()).toBe(0);
    return all;
  };

  describe('SGX_IOC_ENCLAVE_CREATE', () => {
    it('0: makes the SECS and one VA page', () => {
      const all = created();
      expect(all.file).toMatchObject({ created: true, base: BASE, sizeBytes: SIZE });
      expect(all.machine.usedPages).toBe(2);
    });

    it.each([
      ['size is no power of two', { size: 0x3000n }],
      ['size is one page', { size: 0x1000n }],
      ['base is not aligned to size', { baseAddr: BigInt(BASE + PAGE) }],
      ['an attribute does not exist', { attributes: 1n << 40n }],
      ['XFRM lacks SSE', { xfrm: 1n }],
      ['the SSA frame is too small', { ssaFrameSize: 0 }],
    ])('EINVAL, where mainline has EIO: %s', (_, secs) => {
      const all = new Enclave2018(uapi);
      expect(all.answer(all.create(secs))).toMatch(/^EINVAL: /);
      expect(all.machine.usedPages).toBe(0);
      expect(all.create()).toBe(0);
    });
  });

  describe('SGX_IOC_ENCLAVE_ADD_PAGE', () => {
    it('0: adds one page', () => {
      const all = created();
      expect(all.add()).toBe(0);
      expect(all.machine.usedPages).toBe(3);
    });

    it('mrmask: bit i measures the i-th 256 bytes, and no other', () => {
      for (const mrMask of [0, 1, 0x8000, 0x00f0, 0xa5c3, 0xffff]) {
        const all = created();
        const bytes = Uint8Array.from({ length: PAGE }, (_, i) => i * 7 + (i >> 8));
        expect(all.add({ bytes, mrMask })).toBe(0);
        const { measurement } = all.machine.machine.processor.secs(all.file.secs!);
        expect(measurement!.current()).toEqual(all.measurement.current());
      }
    });

    it('the source needs no alignment', () => {
      const all = created();
      const src = all.process.memory.put(new Uint8Array(2 * PAGE)) + 5;
      expect(all.add({ src })).toBe(0);
    });

    it.each([
      ['addr is page-aligned', { addr: At.DATA + 8 }],
      ['the address is in the enclave', { addr: BASE + SIZE }],
      ['the address is in the enclave', { addr: BASE - PAGE }],
      ['SECINFO.FLAGS.PT', { kind: 0x003 }],
      ['SECINFO.FLAGS.R is set where W is', { kind: 0x202 }],
      ['SECINFO.FLAGS has only R, W, X and PT', { kind: RW | 0x10 }],
    ])('EINVAL: %s', (check, adding) => {
      const all = created();
      expect(all.answer(all.add(adding))).toBe(`EINVAL: ${check}`);
    });

    it.each([
      ['TCS.FLAGS is 0', { flags: 1n }],
      ['TCS.OSSA is that of a page in the enclave', { ossa: BigInt(SIZE) }],
      ['TCS.OFSBASE is that of a page in the enclave', { ofsBase: 8n }],
      ['TCS.OGSBASE is that of a page in the enclave', { ogsBase: BigInt(SIZE) }],
      ['TCS.FSLIMIT ends with a page', { fsLimit: 0 }],
      ['TCS.GSLIMIT ends with a page', { gsLimit: 0xff0 }],
    ])('EINVAL: %s', (check, values) => {
      const all = created();
      expect(all.answer(all.add({ kind: TCS, bytes: all.tcs(values) }))).toBe(`EINVAL: ${check}`);
    });

    it('0: a TCS with R and W in its SECINFO, which EADD clears', () => {
      const all = created();
      expect(all.add({ kind: TCS | 3, bytes: all.tcs() })).toBe(0);
    });

    it('EFAULT: the SECINFO, then the source, cannot be read', () => {
      const all = created();
      expect(all.answer(all.add({ secInfo: NOWHERE, src: NOWHERE }))).toBe('EFAULT: the SECINFO can be read');
      expect(all.answer(all.add({ src: NOWHERE, kind: 0 }))).toBe('EFAULT: the source page can be read');
    });

    it('EEXIST, where mainline has EBUSY: there is a page', () => {
      const all = created();
      all.add();
      expect(all.answer(all.add())).toBe('EEXIST: no page was added at this address');
      expect(all.machine.usedPages).toBe(3);
    });

    it('EINVAL: initialized', () => {
      const all = Enclave2018.ready(uapi);
      expect(all.answer(all.add({ addr: At.HOLE }))).toBe('EINVAL: the enclave is created and not initialized');
    });

    it('ENOMEM: no EPC', () => {
      const all = created();
      while (all.machine.kernel.epc.take() !== undefined);
      expect(all.answer(all.add())).toMatch(/^ENOMEM: /);
    });
  });

  describe('SGX_IOC_ENCLAVE_INIT', () => {
    it('0, and once more 0', () => {
      const all = Enclave2018.ready(uapi);
      expect(all.file.initialized).toBe(true);
      expect(all.init()).toBe(0);
    });

    it('the SGX code as its value, where mainline has EPERM; then again, rightly', () => {
      const all = created();
      all.addUsualPages();
      const wrong = all.sign({ enclaveHash: new Uint8Array(32) });
      expect(all.init(wrong)).toBe(SgxCode.SGX_INVALID_MEASUREMENT);
      expect(all.process.lastWhy?.check).toBe('SIGSTRUCT.ENCLAVEHASH is MRENCLAVE');
      const forged = all.sign();
      SigStruct.view(forged).isvProdId = 7;
      expect(all.init(forged)).toBe(SgxCode.SGX_INVALID_SIGNATURE);
      expect(all.init()).toBe(0);
    });

    it('EFAULT: the SIGSTRUCT cannot be read', () => {
      const all = created();
      expect(all.answer(all.initAt(NOWHERE))).toBe('EFAULT: the SIGSTRUCT can be read');
    });

    it('EACCES: PROVISIONKEY without permission; SET_ATTRIBUTE gives it', () => {
      const all = new Enclave2018(uapi);
      const attributes = Attributes.mask.MODE64BIT | Attributes.mask.PROVISIONKEY;
      expect(all.create({ attributes })).toBe(0);
      expect(all.answer(all.init(all.sign({ attributes })))).toBe('EACCES: the attributes are permitted');
      expect(all.setAttribute(all.process.open(SGX_2018_PROVISION))).toBe(0);
      expect(all.init(all.sign({ attributes }))).toBe(0);
    });
  });

  describe('SGX_IOC_ENCLAVE_SET_ATTRIBUTE', () => {
    it('EINVAL: not open, or no token', () => {
      const all = created();
      expect(all.answer(all.setAttribute(99))).toBe('EINVAL: the descriptor is of the provisioning token');
      expect(all.answer(all.setAttribute(all.deviceFd))).toBe('EINVAL: the descriptor is of the provisioning token');
    });
  });

  it('EFAULT: an argument that cannot be read', () => {
    const all = created();
    const table = all.machine.devices.nodes.flatMap(({ ioctls }) => ioctls.entries).filter(({ arg }) => arg);
    for (const { number, name } of table) {
      const fd = /CREATE|draft/.test(name) || uapi === 'draft-2018' ? all.deviceFd : all.fd;
      if (name.endsWith('CREATE') && uapi === 'v17-2018') continue;
      expect([name, all.answer(all.process.ioctl(fd, number, NOWHERE))]).toEqual([
        name,
        expect.stringMatching(/^EFAULT: .* can be read/),
      ]);
    }
  });

  it('any mapping is allowed: the EPCM alone decides, and says so in the error code', () => {
    const all = Enclave2018.ready(uapi);
    const left = all.process.thread().run(At.TCS, function* () {
      const before = yield* load(At.DATA);
      yield* store(At.DATA, 5n);
      return [before, yield* load(At.DATA)];
    });
    expect(left).toMatchObject({ kind: 'exit', value: [0x1111_1111_1111_1111n, 5n] });
    // RX in the EPCM, RWX by its mapping.
    expect(all.process.touch(At.CODE, 'write', true)).toMatchObject({ kind: 'fault', errorCode: 0x8007 });
    all.process.personalityImpliesExec = true;
    expect(all.map()).toBe(BASE);
    expect(all.process.mmap(BASE + SIZE, PAGE, 7, FIXED_SHARED, all.mappedFd)).toBe(BASE + SIZE);
  });

  it('MAP_PRIVATE: EINVAL', () => {
    const all = created();
    expect(all.answer(all.map(3, MapType.MAP_PRIVATE | 0x10))).toBe('EINVAL: the mapping is MAP_SHARED');
  });

  it('no SGX2: a hole is SIGBUS', () => {
    const all = Enclave2018.ready(uapi);
    expect(all.process.touch(At.HOLE, 'write', true)).toEqual({ kind: 'bus' });
  });

  it('nothing is left when the process ends', () => {
    const all = Enclave2018.ready(uapi);
    all.process.fork().exit();
    expect(all.machine.usage()).toMatchObject({ enclaves: 1 });
    all.process.exit();
    expect(all.machine.usage()).toMatchObject({ enclaves: 0 });
    expect(all.machine.usedPages).toBe(0);
  });

  it('the nodes of mainline are not there', () => {
    const { process } = new Enclave2018(uapi);
    expect(process.open('/dev/sgx_enclave')).toBe(-2);
    expect(process.lastWhy?.advice).toBe(
      `it was built for mainline or rfc-2021, this machine has ${uapi}; run it with --sgx-uapi and one of them (docs/generations.md)`,
    );
  });

  it('a page that was evicted comes back', () => {
    const all = Enclave2018.ready(uapi);
    const { kernel } = all.machine;
    while (kernel.epc.take() !== undefined);
    const other = new Enclave2018(uapi, {}, all.process);
    expect(other.create({ baseAddr: BigInt(BASE + SIZE) })).toBe(0);
    const left = all.process.thread().run(At.TCS, () => load(At.DATA));
    expect(left).toMatchObject({ kind: 'exit', value: 0x1111_1111_1111_1111n });
    expect(all.add({ addr: At.DATA, kind: RX })).toBeLessThan(0);
  });
});

const FIXED_SHARED = 0x11;
