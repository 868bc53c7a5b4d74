import { describe, expect, it } from 'vitest';

import { eaug } from '../../../src/processor/encls/eaug.ts';
import { BASE, Flags, FREE, NOT_EPC, Offset, outcome, secInfo, SECS, SIZE, TestEnclave, VA } from './enclave.ts';

function augment(change: Partial<Parameters<typeof eaug>[1]> = {}, page = FREE, enclave = new TestEnclave()): string {
  return outcome(eaug(enclave.cpu, { linAddr: BASE + Offset.HOLE, secInfo: undefined, secs: SECS, ...change }, page));
}

describe('EAUG', () => {
  it('adds a PENDING PT_REG page with R and W', () => {
    const enclave = new TestEnclave();
    expect(augment({}, FREE, enclave)).toBe('ok');
    expect(enclave.entry(FREE)).toBe('R|W|PENDING|PT=REG');
    expect(enclave.cpu.epcm.page(FREE) * 4096).toBe(BASE + Offset.HOLE);
    expect(enclave.hasContents(Offset.HOLE)).toBe(false);
  });
  it('takes a SECINFO that says the same', () => {
    expect(augment({ secInfo: secInfo(Flags.REG_RW) })).toBe('ok');
  });
  it('#PF: the destination is in the EPC', () => {
    expect(augment({}, NOT_EPC)).toBe('#PF 0x3: the destination is in the EPC');
  });
  it('#PF: PAGEINFO.SECS is in the EPC', () => {
    expect(augment({ secs: NOT_EPC })).toBe('#PF 0x3: PAGEINFO.SECS is in the EPC');
  });
  it('#PF: EPCM.VALID is 0', () => {
    expect(augment({}, VA)).toBe('#PF 0x8003: EPCM.VALID is 0');
  });
  it('#PF: PAGEINFO.SECS is a valid PT_SECS', () => {
    expect(augment({ secs: VA })).toBe('#PF 0x8003: PAGEINFO.SECS is a valid PT_SECS');
  });
  it.each<[string, Parameters<typeof augment>[0]]>([
    ['PAGEINFO.LINADDR is page-aligned', { linAddr: BASE + 0x8800 }],
    ['SECINFO reserved fields are zero', { secInfo: secInfo(Flags.REG_RW).fill(1, 8, 9) }],
    ['SECINFO asks for PT_REG with R and W', { secInfo: secInfo(Flags.REG_RX) }],
    ['SECINFO asks for PT_REG with R and W', { secInfo: secInfo(Flags.TCS) }],
    ['PAGEINFO.LINADDR is in ELRANGE', { linAddr: BASE + SIZE }],
  ])('#GP: %s (%#)', (check, change) => {
    expect(augment(change)).toBe(`#GP: ${check}`);
  });
  it('#GP: SECS.ATTRIBUTES.INIT is 1', () => {
    expect(augment({}, FREE, new TestEnclave({ initialise: false }))).toBe('#GP: SECS.ATTRIBUTES.INIT is 1');
  });
  it('#GP: the leaf is supported', () => {
    expect(augment({}, FREE, new TestEnclave({ profileName: 'skylake' }))).toBe('#GP: the leaf is supported');
  });
});
