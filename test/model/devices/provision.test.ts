import { describe, expect, it } from 'vitest';

import { Attributes } from '../../../src/abi/sgx-arch.ts';
import { enclaveIoctls, sgxDevices } from '../../../src/abi/sgx-uapi.ts';
import { answer, created, NOWHERE, opened, ready } from './support.ts';

const PROVISION = enclaveIoctls.numbers.SGX_IOC_ENCLAVE_PROVISION;
const WANTS_KEY = { attributes: Attributes.mask.MODE64BIT | Attributes.mask.PROVISIONKEY };

describe('SGX_IOC_ENCLAVE_PROVISION', () => {
  it('EFAULT: the argument cannot be read', () => {
    const all = opened();
    expect(answer(all, all.process.ioctl(all.enclave.fd, PROVISION, NOWHERE))).toMatch(/^EFAULT/);
  });

  it('EINVAL: the descriptor is not open', () => {
    const all = created();
    expect(answer(all, all.enclave.provision(99))).toBe('EINVAL: the descriptor is of /dev/sgx_provision');
    expect(all.process.lastWhy?.found).toBe('99: not open');
  });

  it('EINVAL: the descriptor is of another file', () => {
    const all = created();
    expect(answer(all, all.enclave.provision(all.enclave.fd))).toMatch(/^EINVAL/);
    expect(all.process.lastWhy?.found).toContain(sgxDevices.enclave.path);
  });

  it('0: INIT lets PROVISIONKEY pass; the upper half of fd is not looked at', () => {
    const all = opened();
    all.enclave.create(WANTS_KEY);
    const token = all.process.open(sgxDevices.provision.path);
    expect(all.enclave.provision(token + 2 ** 40)).toBe(0);
    expect(all.enclave.provision(token)).toBe(0);
    expect(all.enclave.init()).toBe(0);
  });

  it('before CREATE it is lost', () => {
    const all = opened();
    expect(all.enclave.provision(all.process.open(sgxDevices.provision.path))).toBe(0);
    all.enclave.create(WANTS_KEY);
    expect(answer(all, all.enclave.init())).toMatch(/^EACCES/);
  });

  it('after INIT it does nothing', () => {
    const all = ready();
    expect(all.enclave.provision(all.process.open(sgxDevices.provision.path))).toBe(0);
  });
});

describe('/dev/sgx_provision', () => {
  it('ENOTTY: every command', () => {
    const all = opened();
    const fd = all.process.open(sgxDevices.provision.path);
    for (const command of [...enclaveIoctls.entries.map(({ number }) => number), 0]) {
      expect(answer(all, all.process.ioctl(fd, command, 0))).toBe('ENOTTY: the command is known');
    }
  });

  it('ENODEV: it cannot be mapped', () => {
    const all = opened();
    const fd = all.process.open(sgxDevices.provision.path);
    expect(answer(all, all.process.mmap(fd, 0x10000, 0x1000, 1))).toBe('ENODEV: the device can be mapped');
  });

  it('ENOENT: other names are no devices of this machine', () => {
    const all = opened();
    expect(answer(all, all.process.open('/dev/isgx'))).toBe('ENOENT: the device exists');
  });
});
