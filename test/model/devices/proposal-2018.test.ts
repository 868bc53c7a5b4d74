import { describe, expect, it } from 'vitest';

import { EnclaveAddPage } from '../../../src/abi/sgx-uapi/drivers-2018.ts';
import { SGX_ENCLAVE_INODE } from '../../../src/abi/sgx-uapi/generation.ts';
import {
  proposalDeviceIoctls,
  proposalEnclaveIoctls,
  SgxInfo,
  SgxInfoFeatures,
} from '../../../src/abi/sgx-uapi/proposal-2018.ts';
import { Prot } from '../../../src/abi/linux.ts';
import type { ValuesOf } from '../../../src/lib/layout.ts';
import { userAddr } from '../../../src/lib/units.ts';
import type { VirtualMachineOptions } from '../../../src/virtual/machine.ts';
import { At, BASE, Enclave2018, FIXED, PAGE, SIZE } from '../../support/enclave-2018.ts';
import { NOWHERE } from './support.ts';

const opened = (options: VirtualMachineOptions = {}): Enclave2018 => new Enclave2018('proposal-2018', options);

describe('proposal-2018: CREATE gives a descriptor of the enclave', () => {
  it('a new one each time, close-on-exec, of an anonymous inode', () => {
    const all = opened();
    all.create();
    const first = all.fd;
    all.create({ baseAddr: BigInt(BASE + SIZE) });
    expect([first, all.fd]).toEqual([all.deviceFd + 1, all.deviceFd + 2]);
    expect(all.file.node).toBe(SGX_ENCLAVE_INODE);
    all.process.exec();
    expect(all.process.descriptors()).toEqual([all.deviceFd]);
    expect(all.machine.usedPages).toBe(0);
  });

  it('the flow of the mail: add, init, close both descriptors, and the mapping is an enclave still', () => {
    const all = Enclave2018.ready('proposal-2018');
    all.process.close(all.fd);
    all.process.close(all.deviceFd);
    expect(all.process.thread().run(At.TCS, function* () {})).toMatchObject({ kind: 'exit' });
    all.process.munmap(BASE, SIZE);
    expect(all.machine.usedPages).toBe(0);
  });

  it('a builder needs no device', () => {
    const all = opened();
    all.create();
    const builder = all.machine.process();
    const there = new Enclave2018('proposal-2018', {}, builder);
    builder.close(there.deviceFd);
    there.fd = all.process.passDescriptor(all.fd, builder);
    expect(there.add()).toBe(0);
    expect(builder.descriptors()).toEqual([there.fd]);
  });

  it('the device cannot be mapped: ENODEV; nor does it add pages: ENOTTY, and a person is told', () => {
    const all = opened();
    all.create();
    expect(all.answer(all.process.mmap(BASE, SIZE, 3, FIXED, all.deviceFd))).toBe('ENODEV: the file can be mapped');
    const { SGX_ENCLAVE_ADD_PAGE } = proposalEnclaveIoctls.numbers;
    expect(all.answer(all.call(all.deviceFd, SGX_ENCLAVE_ADD_PAGE, EnclaveAddPage, {}))).toBe(
      'ENOTTY: the command is known',
    );
    expect(all.process.lastWhy?.advice).toMatch(/^it was built for draft-2018 or v17-2018, this machine has proposal/);
  });

  it('ENOTTY: CREATE on an enclave', () => {
    const all = opened();
    all.create();
    const { SGX_ENCLAVE_CREATE } = proposalDeviceIoctls.numbers;
    expect(all.answer(all.process.ioctl(all.fd, SGX_ENCLAVE_CREATE, 0))).toBe('ENOTTY: the command is known');
  });

  it('EMFILE: no descriptor is left, and no enclave either', () => {
    const all = opened();
    while (all.process.dup(all.deviceFd) >= 0);
    expect(all.create()).toBe(-24);
    expect(all.machine.usage()).toMatchObject({ enclaves: 0 });
    expect(all.machine.usedPages).toBe(0);
  });
});

describe('SGX_GET_INFO', () => {
  const SIZE_BYTES = SgxInfo.sizeBytes;

  /** What is in the argument afterwards, beginning with `given` and followed by `behind`. */
  function ask(all: Enclave2018, given: ValuesOf<typeof SgxInfo>, behind: readonly number[] = []) {
    const bytes = new Uint8Array(SIZE_BYTES + 8);
    bytes.set(SgxInfo.encode(given));
    bytes.set(behind, SIZE_BYTES);
    const address = all.process.memory.put(bytes);
    const ret = all.process.ioctl(all.deviceFd, proposalDeviceIoctls.numbers.SGX_GET_INFO, address);
    all.process.memory.read(userAddr(address), bytes);
    return { ret, info: SgxInfo.decode(bytes), bytes };
  }

  it('0: version, features, sizes, EPC sections', () => {
    const all = new Enclave2018('proposal-2018', { epc: '2M,1M', cpu: 'icelake' });
    const { ret, info } = ask(all, { argSz: SIZE_BYTES });
    const { bit } = SgxInfoFeatures;
    expect([all.answer(ret), info]).toMatchObject([
      '0',
      {
        argSz: SIZE_BYTES,
        flags: 0,
        apiVersion: 1,
        features: bit.SGX1 | bit.SGX2 | bit.FLC | bit.KSS,
        sectionCount: 2,
        epcBytes: 3n * 2n ** 20n,
        sizeLog2_64: 56,
      },
    ]);
    const sections = Array.from({ length: 3 }, (_, i) => info.sections[i]);
    expect(sections).toEqual([
      { base: 0x8000_0000n, size: 2n ** 21n },
      { base: 0x8020_0000n, size: 2n ** 20n },
      { base: 0n, size: 0n },
    ]);
  });

  it('a shorter struct is filled as far as it goes, and learns how long it is now', () => {
    const all = opened();
    const { ret, info, bytes } = ask(all, { argSz: 16 });
    expect([ret, info.argSz, info.apiVersion]).toEqual([0, SIZE_BYTES, 1]);
    expect(bytes.subarray(16).every((byte) => byte === 0)).toBe(true);
  });

  it('a longer struct: what is behind stays as it is, and has to be zero', () => {
    const all = opened();
    expect(ask(all, { argSz: SIZE_BYTES + 8 })).toMatchObject({ ret: 0, info: { argSz: SIZE_BYTES } });
    const { ret } = ask(all, { argSz: SIZE_BYTES + 8 }, [0, 0, 1]);
    expect(all.answer(ret)).toBe('E2BIG: bytes that this kernel does not know are zero');
  });

  it.each([
    ['EINVAL: argsz', { argSz: 0 }],
    ['EINVAL: argsz', { argSz: 7 }],
    ['E2BIG: argsz', { argSz: 4097 }],
    ['EINVAL: flags', { argSz: SIZE_BYTES, flags: 1 }],
  ])('%s: %j', (refusal, given) => {
    const all = opened();
    expect(all.answer(ask(all, given).ret)).toBe(refusal);
  });

  it('EINVAL: a reserved byte is not zero', () => {
    const all = opened();
    const bytes = SgxInfo.encode({ argSz: SIZE_BYTES });
    bytes[SIZE_BYTES - 1] = 1;
    const ret = all.process.ioctl(
      all.deviceFd,
      proposalDeviceIoctls.numbers.SGX_GET_INFO,
      all.process.memory.put(bytes),
    );
    expect(all.answer(ret)).toBe('EINVAL: reserved bytes are zero');
  });

  it('EFAULT: the argument cannot be read, not to its end, not be written', () => {
    const all = opened();
    const { SGX_GET_INFO } = proposalDeviceIoctls.numbers;
    const { memory } = all.process;
    expect(all.answer(all.process.ioctl(all.deviceFd, SGX_GET_INFO, NOWHERE))).toBe(
      'EFAULT: argsz and flags can be read',
    );
    const end = memory.put(new Uint8Array(PAGE)) + PAGE - 8;
    memory.write(userAddr(end), SgxInfo.encode({ argSz: SIZE_BYTES }).subarray(0, 8));
    expect(all.answer(all.process.ioctl(all.deviceFd, SGX_GET_INFO, end))).toBe('EFAULT: the argument can be read');
    const readOnly = memory.put(SgxInfo.encode({ argSz: SIZE_BYTES }));
    memory.protect(readOnly, SIZE_BYTES, Prot.bit.PROT_READ);
    expect(all.answer(all.process.ioctl(all.deviceFd, SGX_GET_INFO, readOnly))).toBe(
      'EFAULT: the argument can be written',
    );
  });
});
