import { describe, expect, it } from 'vitest';

import { eaug } from '../../../src/processor/encls/eaug.ts';
import { emodpr } from '../../../src/processor/encls/emodpr.ts';
import { emodt } from '../../../src/processor/encls/emodt.ts';
import { BASE, Flags, FREE, NOT_EPC, Offset, outcome, secInfo, SECS, TestEnclave, VA } from './enclave.ts';

const modify = (enclave: TestEnclave, flags: number, page = enclave.at(Offset.DATA)) =>
  outcome(emodt(enclave.cpu, secInfo(flags), page));

describe('EMODT', () => {
  it('makes PT_REG a PT_TCS that is MODIFIED, without rights, with its contents', () => {
    const enclave = new TestEnclave();
    expect(modify(enclave, Flags.TCS)).toBe('ok');
    expect(enclave.entry(enclave.at(Offset.DATA))).toBe('MODIFIED|PT=TCS');
    expect(enclave.hasContents(Offset.DATA)).toBe(true);
  });
  it('makes PT_REG a PT_TRIM, which has no contents', () => {
    const enclave = new TestEnclave();
    expect(modify(enclave, Flags.TRIM)).toBe('ok');
    expect(enclave.entry(enclave.at(Offset.DATA))).toBe('MODIFIED|PT=TRIM');
    expect(enclave.hasContents(Offset.DATA)).toBe(false);
  });
  it('makes PT_TCS a PT_TRIM', () => {
    const enclave = new TestEnclave();
    expect(modify(enclave, Flags.TRIM, enclave.at(Offset.TCS))).toBe('ok');
  });
  it('clears PR', () => {
    const enclave = new TestEnclave();
    emodpr(enclave.cpu, secInfo(Flags.R), enclave.at(Offset.DATA));
    expect(modify(enclave, Flags.TRIM)).toBe('ok');
    expect(enclave.entry(enclave.at(Offset.DATA))).toBe('MODIFIED|PT=TRIM');
  });
  it('#PF: RCX is in the EPC', () => {
    expect(modify(new TestEnclave(), Flags.TRIM, NOT_EPC)).toBe('#PF 0x3: RCX is in the EPC');
  });
  it('#GP: SECINFO reserved fields are zero', () => {
    expect(modify(new TestEnclave(), Flags.TRIM | (1 << 7))).toBe('#GP: SECINFO reserved fields are zero');
  });
  it.each([0, Flags.REG, 0x300, 0x500])('#GP: SECINFO.FLAGS.PT is PT_TCS or PT_TRIM (0x%s)', (flags) => {
    expect(modify(new TestEnclave(), flags)).toBe('#GP: SECINFO.FLAGS.PT is PT_TCS or PT_TRIM');
  });
  it('#PF: EPCM.VALID is 1', () => {
    expect(modify(new TestEnclave(), Flags.TRIM, FREE)).toBe('#PF 0x8003: EPCM.VALID is 1');
  });
  it.each([SECS, VA])('#PF: EPCM.PT is PT_REG, or PT_TCS when it becomes PT_TRIM (EPC page %i)', (page) => {
    expect(modify(new TestEnclave(), Flags.TRIM, page)).toBe(
      '#PF 0x8003: EPCM.PT is PT_REG, or PT_TCS when it becomes PT_TRIM',
    );
  });
  it('#PF: EPCM.PT is PT_REG, or PT_TCS when it becomes PT_TRIM (TCS to TCS)', () => {
    const enclave = new TestEnclave();
    const result = modify(enclave, Flags.TCS, enclave.at(Offset.TCS));
    expect(result).toBe('#PF 0x8003: EPCM.PT is PT_REG, or PT_TCS when it becomes PT_TRIM');
  });
  it('SGX_PAGE_NOT_MODIFIABLE: EPCM.PENDING and EPCM.MODIFIED are 0 (PENDING)', () => {
    const enclave = new TestEnclave();
    eaug(enclave.cpu, { linAddr: BASE + Offset.HOLE, secInfo: undefined, secs: SECS }, FREE);
    expect(modify(enclave, Flags.TRIM, FREE)).toBe('SGX_PAGE_NOT_MODIFIABLE: EPCM.PENDING and EPCM.MODIFIED are 0');
  });
  it('SGX_PAGE_NOT_MODIFIABLE: EPCM.PENDING and EPCM.MODIFIED are 0 (MODIFIED)', () => {
    const enclave = new TestEnclave();
    modify(enclave, Flags.TCS);
    expect(modify(enclave, Flags.TRIM)).toBe('SGX_PAGE_NOT_MODIFIABLE: EPCM.PENDING and EPCM.MODIFIED are 0');
  });
  it('#GP: SECS.ATTRIBUTES.INIT is 1', () => {
    expect(modify(new TestEnclave({ initialise: false }), Flags.TRIM)).toBe('#GP: SECS.ATTRIBUTES.INIT is 1');
  });
  it('#GP: the leaf is supported', () => {
    expect(modify(new TestEnclave({ profileName: 'skylake' }), Flags.TRIM)).toBe('#GP: the leaf is supported');
  });
});
