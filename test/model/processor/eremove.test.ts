import { describe, expect, it } from 'vitest';

import { eaug } from '../../../src/processor/encls/eaug.ts';
import { emodt } from '../../../src/processor/encls/emodt.ts';
import { eremove } from '../../../src/processor/encls/eremove.ts';
import { etrack } from '../../../src/processor/encls/etrack.ts';
import { eaccept } from '../../../src/processor/enclu/eaccept.ts';
import { BASE, Flags, FREE, NOT_EPC, Offset, outcome, secInfo, SECS, TestEnclave, VA } from './enclave.ts';

describe('EREMOVE', () => {
  it('frees a page and its contents', () => {
    const enclave = new TestEnclave();
    expect(outcome(eremove(enclave.cpu, enclave.at(Offset.DATA)))).toBe('ok');
    expect(enclave.entry(enclave.at(Offset.DATA))).toBe('not valid');
    expect(enclave.hasContents(Offset.DATA)).toBe(false);
  });
  it('of an unused page is no error', () => {
    expect(outcome(eremove(new TestEnclave().cpu, FREE))).toBe('ok');
  });
  it('frees a version array', () => {
    const enclave = new TestEnclave();
    expect(outcome(eremove(enclave.cpu, VA))).toBe('ok');
    expect(enclave.cpu.versionArrays.size).toBe(0);
  });
  it('frees a PENDING page, which has no contents', () => {
    const enclave = new TestEnclave();
    eaug(enclave.cpu, { linAddr: BASE + Offset.HOLE, secInfo: undefined, secs: SECS }, FREE);
    expect(outcome(eremove(enclave.cpu, FREE))).toBe('ok');
  });
  it('#PF: RCX is in the EPC', () => {
    expect(outcome(eremove(new TestEnclave().cpu, NOT_EPC))).toBe('#PF 0x3: RCX is in the EPC');
  });
  it('SGX_CHILD_PRESENT: the SECS has no pages in EPC', () => {
    const enclave = new TestEnclave();
    const { cpu } = enclave;
    expect(outcome(eremove(cpu, SECS))).toBe('SGX_CHILD_PRESENT: the SECS has no pages in EPC');
    for (const page of enclave.pages.values()) eremove(cpu, page);
    expect(outcome(eremove(cpu, SECS))).toBe('ok');
    expect(cpu.secsPages.size).toBe(0);
  });
  it('SGX_ENCLAVE_ACT: no thread is inside the enclave', () => {
    const enclave = new TestEnclave();
    enclave.threads.entered.push({ secs: SECS, epoch: 1 });
    expect(outcome(eremove(enclave.cpu, enclave.at(Offset.DATA)))).toBe(
      'SGX_ENCLAVE_ACT: no thread is inside the enclave',
    );
  });
  it('of an accepted PT_TRIM page does not care for threads inside; of one not accepted it does', () => {
    const enclave = new TestEnclave();
    const { cpu, access } = enclave;
    const page = enclave.at(Offset.DATA2);
    emodt(cpu, secInfo(Flags.TRIM), page);
    etrack(cpu, SECS);
    enclave.threads.entered.push({ secs: SECS, epoch: cpu.secs(SECS).epoch });
    expect(outcome(eremove(cpu, page))).toMatch(/^SGX_ENCLAVE_ACT/);
    expect(outcome(eaccept(cpu, access, enclave.secInfoAt(Flags.TRIM | Flags.MODIFIED), BASE + Offset.DATA2))).toBe(
      'ok',
    );
    expect(outcome(eremove(cpu, page))).toBe('ok');
  });
});
