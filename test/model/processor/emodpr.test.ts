import { describe, expect, it } from 'vitest';

import { eaug } from '../../../src/processor/encls/eaug.ts';
import { emodpr } from '../../../src/processor/encls/emodpr.ts';
import { emodt } from '../../../src/processor/encls/emodt.ts';
import { BASE, Flags, FREE, NOT_EPC, Offset, outcome, secInfo, SECS, TestEnclave, VA } from './enclave.ts';

const restrict = (enclave: TestEnclave, flags: number, page = enclave.at(Offset.DATA)) =>
  outcome(emodpr(enclave.cpu, secInfo(flags), page));

describe('EMODPR', () => {
  it('leaves the rights that both have, sets PR and keeps the contents', () => {
    const enclave = new TestEnclave();
    expect(restrict(enclave, Flags.R | Flags.X)).toBe('ok');
    expect(enclave.entry(enclave.at(Offset.DATA))).toBe('R|PR|PT=REG');
    expect(enclave.hasContents(Offset.DATA)).toBe(true);
  });
  it('sets PR also when nothing is taken away, and may be repeated', () => {
    const enclave = new TestEnclave();
    expect(restrict(enclave, Flags.R | Flags.W | Flags.X)).toBe('ok');
    expect(restrict(enclave, 0)).toBe('ok');
    expect(enclave.entry(enclave.at(Offset.DATA))).toBe('PR|PT=REG');
  });
  it('#PF: RCX is in the EPC', () => {
    expect(restrict(new TestEnclave(), Flags.R, NOT_EPC)).toBe('#PF 0x3: RCX is in the EPC');
  });
  it('#GP: SECINFO reserved fields are zero', () => {
    expect(restrict(new TestEnclave(), 1 << 16)).toBe('#GP: SECINFO reserved fields are zero');
  });
  it('#GP: SECINFO.FLAGS.R is 1 when W is 1', () => {
    expect(restrict(new TestEnclave(), Flags.W)).toBe('#GP: SECINFO.FLAGS.R is 1 when W is 1');
  });
  it('#PF: EPCM.VALID is 1', () => {
    expect(restrict(new TestEnclave(), Flags.R, FREE)).toBe('#PF 0x8003: EPCM.VALID is 1');
  });
  it('SGX_PAGE_NOT_MODIFIABLE: EPCM.PENDING and EPCM.MODIFIED are 0 (PENDING)', () => {
    const enclave = new TestEnclave();
    eaug(enclave.cpu, { linAddr: BASE + Offset.HOLE, secInfo: undefined, secs: SECS }, FREE);
    expect(restrict(enclave, Flags.R, FREE)).toBe('SGX_PAGE_NOT_MODIFIABLE: EPCM.PENDING and EPCM.MODIFIED are 0');
  });
  it('SGX_PAGE_NOT_MODIFIABLE: EPCM.PENDING and EPCM.MODIFIED are 0 (MODIFIED, looked at before the type)', () => {
    const enclave = new TestEnclave();
    emodt(enclave.cpu, secInfo(Flags.TRIM), enclave.at(Offset.DATA));
    expect(restrict(enclave, Flags.R)).toBe('SGX_PAGE_NOT_MODIFIABLE: EPCM.PENDING and EPCM.MODIFIED are 0');
  });
  it.each([SECS, VA])('#PF: RCX is a valid PT_REG (EPC page %i)', (page) => {
    expect(restrict(new TestEnclave(), Flags.R, page)).toBe('#PF 0x8003: RCX is a valid PT_REG');
  });
  it('#PF: RCX is a valid PT_REG (a TCS)', () => {
    const enclave = new TestEnclave();
    expect(restrict(enclave, Flags.R, enclave.at(Offset.TCS))).toBe('#PF 0x8003: RCX is a valid PT_REG');
  });
  it('#GP: SECS.ATTRIBUTES.INIT is 1', () => {
    expect(restrict(new TestEnclave({ initialise: false }), Flags.R)).toBe('#GP: SECS.ATTRIBUTES.INIT is 1');
  });
  it('#GP: the leaf is supported', () => {
    expect(restrict(new TestEnclave({ profileName: 'skylake' }), Flags.R)).toBe('#GP: the leaf is supported');
  });
});
