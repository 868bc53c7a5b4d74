import { describe, expect, it } from 'vitest';

import { PageType } from '../../../src/abi/sgx-arch.ts';
import { At, RW_REG, RX_REG } from '../../support/virtual-enclave.ts';
import { eaccept, write } from '../../../src/virtual/code.ts';
import { created, PAGE, ready, type Opened } from './support.ts';

const { TCS, TRIM } = PageType;

/** The enclave accepts a change of a page other than DATA. */
function accept({ process, enclave }: Opened, address: number, flags: number): unknown {
  return process.thread().run(At.TCS, function* () {
    yield* write(At.DATA, enclave.secInfoBytes(flags));
    return yield* eaccept(At.DATA, address);
  });
}
const ACCEPTED = { kind: 'exit', value: 0 };

describe('SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS', () => {
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
  it('REG to TRIM: MODIFIED, no rights', () => {
    const { enclave } = ready();
    expect(enclave.modifyTypes(At.DATA, PAGE, TRIM)).toEqual({ ret: 0, count: PAGE, result: 0 });
    expect(enclave.entry(At.DATA)).toBe(0x410);
  });

  it('REG to TCS: MODIFIED, no rights', () => {
    const { enclave } = ready();
    expect(enclave.modifyTypes(At.DATA2, PAGE, TCS)).toEqual({ ret: 0, count: PAGE, result: 0 });
    expect(enclave.entry(At.DATA2)).toBe(0x110);
  });

  it('EPERM: REG to TCS of a page that was added without W', () => {
    const { enclave } = ready();
    expect(enclave.modifyTypes(At.CODE, PAGE, TCS)).toEqual({ ret: -1, count: 0, result: 0 });
    expect(enclave.entry(At.CODE)).toBe(RX_REG);
  });
});

describe('SGX_IOC_ENCLAVE_REMOVE_PAGES', () => {
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

  it('no VA page is given back, and passing a multiple of 512 pages again takes another, as sgx_encl_grow does', () => {
    const all = created();
    const { enclave, machine } = all;
    enclave.addUsualPages();
    // With the SECS and the usual pages 509.
    expect(enclave.add(At.DATA + 0x10 * PAGE, RW_REG, new Uint8Array(502 * PAGE)).ret).toBe(0);
    expect(enclave.init()).toBe(0);
    enclave.mapUsualPages(3);
    const hole = At.HOLE + 0x20_0000;
    const before = machine.usedPages;
    for (let round = 1; round <= 3; round++) {
      for (let page = 0; page < 8; page++) expect(accept(all, hole + page * PAGE, 0x20b)).toEqual(ACCEPTED);
      expect(machine.usedPages).toBe(before + 8 + round);
      enclave.modifyTypes(hole, 8 * PAGE, TRIM);
      for (let page = 0; page < 8; page++) expect(accept(all, hole + page * PAGE, 0x410)).toEqual(ACCEPTED);
      expect(enclave.removePages(hole, 8 * PAGE)).toMatchObject({ ret: 0 });
      expect(machine.usedPages).toBe(before + round);
    }
  });

  it('an accepted trim can be removed while a thread is inside', () => {
    const all = ready();
    all.enclave.modifyTypes(At.DATA2, PAGE, TRIM);
    accept(all, At.DATA2, 0x410);
    all.process.thread().enter(At.TCS);
    expect(all.enclave.removePages(At.DATA2, PAGE)).toMatchObject({ ret: 0, count: PAGE });
  });
});
