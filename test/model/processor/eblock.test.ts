import { describe, expect, it } from 'vitest';

import { eblock } from '../../../src/processor/encls/eblock.ts';
import { FREE, NOT_EPC, Offset, outcome, SECS, TestEnclave, VA } from './enclave.ts';

describe('EBLOCK', () => {
  it('sets BLOCKED', () => {
    const enclave = new TestEnclave();
    expect(outcome(eblock(enclave.cpu, enclave.at(Offset.DATA)))).toBe('ok');
    expect(enclave.entry(enclave.at(Offset.DATA))).toBe('R|W|PT=REG|BLOCKED');
  });
  it('takes a TCS', () => {
    const enclave = new TestEnclave();
    expect(outcome(eblock(enclave.cpu, enclave.at(Offset.TCS)))).toBe('ok');
  });
  it('#PF: RCX is in the EPC', () => {
    expect(outcome(eblock(new TestEnclave().cpu, NOT_EPC))).toBe('#PF 0x3: RCX is in the EPC');
  });
  it('SGX_PG_INVLD: EPCM.VALID is 1', () => {
    expect(outcome(eblock(new TestEnclave().cpu, FREE))).toBe('SGX_PG_INVLD: EPCM.VALID is 1');
  });
  it('SGX_PG_IS_SECS: EPCM.PT is PT_REG, PT_TCS or PT_TRIM', () => {
    expect(outcome(eblock(new TestEnclave().cpu, SECS))).toBe('SGX_PG_IS_SECS: EPCM.PT is PT_REG, PT_TCS or PT_TRIM');
  });
  it('SGX_NOTBLOCKABLE: EPCM.PT is PT_REG, PT_TCS or PT_TRIM', () => {
    expect(outcome(eblock(new TestEnclave().cpu, VA))).toBe('SGX_NOTBLOCKABLE: EPCM.PT is PT_REG, PT_TCS or PT_TRIM');
  });
  it('SGX_BLKSTATE: EPCM.BLOCKED is 0', () => {
    const enclave = new TestEnclave();
    eblock(enclave.cpu, enclave.at(Offset.DATA));
    expect(outcome(eblock(enclave.cpu, enclave.at(Offset.DATA)))).toBe('SGX_BLKSTATE: EPCM.BLOCKED is 0');
  });
});
