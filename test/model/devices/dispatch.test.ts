import type { SgxEnclaveMetrics } from '../../../src/devices/sgx-enclave/metrics.ts';
import { describe, expect, it } from 'vitest';

import { enclaveIoctls, sgxDevices } from '../../../src/abi/sgx-uapi.ts';
import type { TraceEvent } from '../../../src/trace/events.ts';
import { At, RW_REG } from '../../support/virtual-enclave.ts';
import { created, NOWHERE, opened, PAGE } from './support.ts';

describe('dispatch of /dev/sgx_enclave', () => {
  it('traces each ioctl with its decoded argument, result, duration and the check that refused', () => {
    const all = created();
    const events: TraceEvent[] = [];
    all.machine.machine.trace.listen({ event: (event) => events.push(event) });
    all.enclave.add(At.DATA, RW_REG, new Uint8Array(PAGE));
    all.enclave.add(At.DATA, RW_REG, new Uint8Array(PAGE));
    expect(events.map(({ kind, pid, name, result, durationUs }) => [kind, pid, name, result, durationUs])).toEqual([
      ['ioctl', all.process.pid, 'SGX_IOC_ENCLAVE_ADD_PAGES', '0', 1000],
      ['ioctl', all.process.pid, 'SGX_IOC_ENCLAVE_ADD_PAGES', 'EBUSY', 1000],
    ]);
    expect(events[0]).toMatchObject({
      args: { offset: '0x4000', length: '0x1000', flags: 'SGX_PAGE_MEASURE', count: '0x1000' },
      structs: { SECINFO: { flags: 'R|W|PT=REG' } },
    });
    expect(events[1]!.why?.check).toBe('no page was added at this address');
  });

  it('counts opens and ioctls by outcome', () => {
    const all = opened();
    all.process.ioctl(all.enclave.fd, enclaveIoctls.numbers.SGX_IOC_ENCLAVE_CREATE, NOWHERE);
    all.enclave.create();
    const { metrics } = all.machine.devices.device(sgxDevices.enclave.path)!;
    expect(metrics.opens).toBe(1);
    expect(metrics.ioctls.get('SGX_IOC_ENCLAVE_CREATE')).toEqual({ calls: 2, failures: new Map([['EFAULT', 1]]) });
    expect((metrics as SgxEnclaveMetrics).usage).toMatchObject({ enclaves: 1, freePages: 1022 });
  });
});

describe('a device file', () => {
  it.each(Object.values(sgxDevices).slice(0, 2))('$path is a character device of major 10', ({ path }) => {
    const { process } = opened();
    const file = process.file(process.open(path))!;
    expect(file.stat()).toMatchObject({ mode: 0o020666, major: 10 });
    expect(file.node).toBe(path);
  });

  it('ids of open files are unique', () => {
    const { process } = opened();
    const paths = [
      sgxDevices.enclave.path,
      sgxDevices.provision.path,
      sgxDevices.enclave.path,
      sgxDevices.provision.path,
    ];
    const ids = paths.map((path) => process.file(process.open(path))!.id);
    expect(new Set(ids).size).toBe(4);
  });
});
