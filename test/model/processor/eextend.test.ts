import { describe, expect, it } from 'vitest';

import { epcIndex } from '../../../src/lib/units.ts';
import { ecreate } from '../../../src/processor/encls/ecreate.ts';
import { eextend, eextendPage } from '../../../src/processor/encls/eextend.ts';
import { NOT_EPC, FREE, Offset, outcome, pattern, secInfo, SECS, secsBytes, TestEnclave, VA } from './enclave.ts';

const building = () => new TestEnclave({ initialise: false });
const current = (enclave: TestEnclave) => enclave.cpu.secs(SECS).measurement!.current();

describe('EEXTEND', () => {
  it('changes MRENCLAVE, differently for another chunk', () => {
    const enclave = building();
    const before = current(enclave);
    expect(outcome(eextend(enclave.cpu, SECS, enclave.at(Offset.CODE), 0))).toBe('ok');
    const first = current(enclave);
    expect(outcome(eextend(enclave.cpu, SECS, enclave.at(Offset.CODE), 256))).toBe('ok');
    expect(new Set([before, first, current(enclave)].map((digest) => digest.toString())).size).toBe(3);
  });

  it('of a whole page is sixteen of a chunk', () => {
    const [whole, chunks] = [building(), building()];
    expect(outcome(eextendPage(whole.cpu, SECS, whole.at(Offset.CODE)))).toBe('ok');
    for (let offset = 0; offset < 4096; offset += 256) eextend(chunks.cpu, SECS, chunks.at(Offset.CODE), offset);
    expect(current(whole)).toEqual(current(chunks));
  });

  it('measures a TCS as the EPC has it, even when the caller gives other bytes', () => {
    const [given, read] = [building(), building()];
    eextendPage(given.cpu, SECS, given.at(Offset.TCS), pattern(5));
    eextendPage(read.cpu, SECS, read.at(Offset.TCS));
    expect(current(given)).toEqual(current(read));
  });

  it('#PF: RBX is in the EPC', () => {
    const enclave = building();
    expect(outcome(eextend(enclave.cpu, NOT_EPC, enclave.at(Offset.CODE), 0))).toBe('#PF 0x3: RBX is in the EPC');
  });
  it.each([128, 4096, -256])('#GP: RCX is 256-byte aligned (%i)', (offset) => {
    const enclave = building();
    expect(outcome(eextend(enclave.cpu, SECS, enclave.at(Offset.CODE), offset))).toBe('#GP: RCX is 256-byte aligned');
  });
  it('#PF: RCX is in the EPC', () => {
    expect(outcome(eextend(building().cpu, SECS, NOT_EPC, 0))).toBe('#PF 0x3: RCX is in the EPC');
  });
  it('#PF: EPCM.VALID is 1', () => {
    expect(outcome(eextend(building().cpu, SECS, FREE, 0))).toBe('#PF 0x8003: EPCM.VALID is 1');
  });
  it.each([SECS, VA])('#PF: EPCM.PT is PT_REG or PT_TCS (EPC page %i)', (page) => {
    expect(outcome(eextend(building().cpu, SECS, page, 0))).toBe('#PF 0x8003: EPCM.PT is PT_REG or PT_TCS');
  });
  it("#GP: RBX is the page's SECS", () => {
    const enclave = building();
    const other = epcIndex(60);
    ecreate(enclave.cpu, { linAddr: 0n, srcPage: secsBytes(), secInfo: secInfo(0), secs: 0n }, other);
    expect(outcome(eextend(enclave.cpu, other, enclave.at(Offset.CODE), 0))).toBe("#GP: RBX is the page's SECS");
  });
  it('#GP: SECS.ATTRIBUTES.INIT is 0', () => {
    const enclave = new TestEnclave();
    expect(outcome(eextend(enclave.cpu, SECS, enclave.at(Offset.CODE), 0))).toBe('#GP: SECS.ATTRIBUTES.INIT is 0');
    expect(outcome(eextendPage(enclave.cpu, SECS, enclave.at(Offset.CODE)))).toBe('#GP: SECS.ATTRIBUTES.INIT is 0');
  });
});
