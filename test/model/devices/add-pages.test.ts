import { describe, expect, it } from 'vitest';

import { SecInfo } from '../../../src/abi/sgx-arch.ts';
import { EnclaveAddPages, enclaveIoctls } from '../../../src/abi/sgx-uapi.ts';
import { userAddr } from '../../../src/lib/units.ts';
import { At, BASE, PT_TCS, RW_REG } from '../../support/virtual-enclave.ts';
import { answer, created, PAGE, type Opened } from './support.ts';

const ADD_PAGES = enclaveIoctls.numbers.SGX_IOC_ENCLAVE_ADD_PAGES;
const page = (fill = 0) => new Uint8Array(PAGE).fill(fill);
const adding = (all: Opened): string => answer(all, all.enclave.add(At.DATA, RW_REG, page()).ret);

describe('SGX_IOC_ENCLAVE_ADD_PAGES', () => {
  it('ERESTARTSYS: a signal before the first page', () => {
    const all = created();
    all.process.pendingSignals = () => true;
    expect(adding(all)).toMatch(/^ERESTARTSYS/);
  });

  it('0 with a part done: a signal after the first page', () => {
    const { process, enclave } = created();
    let asked = 0;
    process.pendingSignals = () => ++asked > 3;
    expect(enclave.add(At.DATA, RW_REG, new Uint8Array(8 * PAGE))).toEqual({ ret: 0, count: 3 * PAGE, result: 0 });
  });

  it('ENOMEM: no EPC and nothing to evict', () => {
    const all = created({ epcPages: 2 });
    expect(adding(all)).toMatch(/^ENOMEM/);
  });

  it('ERESTARTSYS: a signal while pages are evicted, with the count so far', () => {
    const { process, enclave } = created({ epcPages: 5 });
    let asked = 0;
    // Three pages fit; the fourth asks once before the page and once before evicting.
    process.pendingSignals = () => ++asked > 4;
    expect(enclave.add(At.DATA, RW_REG, new Uint8Array(8 * PAGE))).toEqual({ ret: -512, count: 3 * PAGE, result: 0 });
  });

  it('EIO: EADD faults on a TCS with reserved bits', () => {
    const all = created();
    expect(answer(all, all.enclave.add(At.TCS, PT_TCS, page(0xff)).ret)).toMatch(/^EIO: TCS reserved/);
    expect(all.enclave.file.pages.count).toBe(0);
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
