import { describe, expect, it } from 'vitest';

import { EnclaveInitAt, EnclaveSetAttributeAt } from '../../../src/abi/sgx-uapi/drivers-2018.ts';
import { SGX_2018_PROVISION } from '../../../src/abi/sgx-uapi/generation.ts';
import { v17Ioctls } from '../../../src/abi/sgx-uapi/v17-2018.ts';
import { At, BASE, Enclave2018, PAGE, SIZE } from '../../support/enclave-2018.ts';

const { numbers } = v17Ioctls;
const opened = (): Enclave2018 => new Enclave2018('v17-2018');

describe('v17-2018: open gives a unique enclave', () => {
  it('two opens are two enclaves, with the same addresses if they like', () => {
    const first = opened();
    const second = new Enclave2018('v17-2018', {}, first.process);
    expect([first.create(), second.create(), first.add(), second.add()]).toEqual([0, 0, 0, 0]);
    expect(first.file.id).not.toBe(second.file.id);
  });

  it('EINVAL: ADD_PAGE and INIT before CREATE, CREATE twice', () => {
    const all = opened();
    expect(all.answer(all.add())).toBe('EINVAL: the enclave is created and not initialized');
    expect(all.answer(all.init(new Uint8Array(1808)))).toBe('EINVAL: the enclave is created and not initialized');
    all.create();
    expect(all.answer(all.create())).toBe('EINVAL: the enclave is not created yet');
  });

  it('a child shares it and goes on building it', () => {
    const all = opened();
    all.create();
    const child = all.process.fork();
    const there = new Enclave2018('v17-2018', {}, child);
    there.fd = all.fd;
    expect(there.add()).toBe(0);
    expect(all.answer(all.add())).toBe('EEXIST: no page was added at this address');
  });

  it('a mapping keeps it, without any descriptor', () => {
    const all = Enclave2018.ready('v17-2018');
    all.process.close(all.fd);
    expect(all.process.thread().run(At.TCS, function* () {})).toMatchObject({ kind: 'exit' });
    all.process.munmap(BASE, SIZE);
    expect(all.machine.usedPages).toBe(0);
  });
});

describe('SGX_IOC_ENCLAVE_INIT_AT, as v17 has INIT', () => {
  it('0: any address in the enclave names it', () => {
    const all = opened();
    all.create();
    all.addUsualPages();
    const sigStruct = BigInt(all.process.memory.put(all.sign()));
    const addr = BigInt(BASE + SIZE - PAGE);
    expect(all.call(all.fd, numbers.SGX_IOC_ENCLAVE_INIT_AT, EnclaveInitAt, { addr, sigStruct })).toBe(0);
    expect(all.file.initialized).toBe(true);
  });

  it('EINVAL: the address is of no enclave of this file', () => {
    const all = opened();
    all.create();
    const sigStruct = BigInt(all.process.memory.put(all.sign()));
    const ret = all.call(all.fd, numbers.SGX_IOC_ENCLAVE_INIT_AT, EnclaveInitAt, {
      addr: BigInt(BASE + SIZE),
      sigStruct,
    });
    expect(all.answer(ret)).toBe('EINVAL: the address is in the enclave');
  });
});

describe('SGX_IOC_ENCLAVE_SET_ATTRIBUTE_AT, as v17 has SET_ATTRIBUTE', () => {
  it('0; EINVAL: the address is not in the enclave', () => {
    const all = opened();
    all.create();
    const attributeFd = BigInt(all.process.open(SGX_2018_PROVISION));
    const number = numbers.SGX_IOC_ENCLAVE_SET_ATTRIBUTE_AT;
    expect(all.call(all.fd, number, EnclaveSetAttributeAt, { addr: BigInt(BASE), attributeFd })).toBe(0);
    expect(all.answer(all.call(all.fd, number, EnclaveSetAttributeAt, { addr: 0n, attributeFd }))).toBe(
      'EINVAL: the address is in the enclave',
    );
  });
});
