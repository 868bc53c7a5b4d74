import { describe, expect, it } from 'vitest';

import { Attributes, Tcs } from '../../../src/abi/sgx-arch.ts';
import { writeU64 } from '../../../src/lib/bytes.ts';
import { eaug } from '../../../src/processor/encls/eaug.ts';
import { edbgwr } from '../../../src/processor/encls/edbgwr.ts';
import { emodt } from '../../../src/processor/encls/emodt.ts';
import { BASE, Flags, FREE, NOT_EPC, Offset, outcome, pattern, secInfo, SECS, TestEnclave, VA } from './enclave.ts';

const { MODE64BIT, DEBUG } = Attributes.mask;
const debugged = (profileName = 'sapphire-rapids') =>
  new TestEnclave({ profileName, secs: { attributes: MODE64BIT | DEBUG } });
const NOT_DEBUGGABLE = 'SGX_PAGE_NOT_DEBUGGABLE: EPCM.PENDING and EPCM.MODIFIED are 0';

describe('EDBGWR', () => {
  it('writes 8 bytes of a regular page, whatever the rights in the EPCM', () => {
    const enclave = debugged();
    expect(outcome(edbgwr(enclave.cpu, enclave.at(Offset.CODE), 16, 0x1122_3344_5566_7788n))).toBe('ok');
    const expected = pattern(1);
    writeU64(expected, 16, 0x1122_3344_5566_7788n);
    expect(enclave.read(Offset.CODE)).toEqual(expected);
  });
  it('writes the FLAGS of a TCS', () => {
    const enclave = debugged();
    const before = Tcs.decode(enclave.read(Offset.TCS));
    expect(outcome(edbgwr(enclave.cpu, enclave.at(Offset.TCS), 8, 1n))).toBe('ok');
    expect(Tcs.decode(enclave.read(Offset.TCS))).toEqual({ ...before, flags: 1n });
  });

  it.each([4, 4096, -8])('#GP: RCX is 8-byte aligned (offset %i)', (offset) => {
    const enclave = debugged();
    expect(outcome(edbgwr(enclave.cpu, enclave.at(Offset.DATA), offset, 0n))).toBe('#GP: RCX is 8-byte aligned');
  });
  it('#PF: RCX is in the EPC', () => {
    expect(outcome(edbgwr(debugged().cpu, NOT_EPC, 0, 0n))).toBe('#PF 0x3: RCX is in the EPC');
  });
  it.each([SECS, VA, FREE])('#PF: RCX is a page that debuggers may see (EPC page %i), #GP with SGX1 only', (page) => {
    const check = 'RCX is a page that debuggers may see';
    expect(outcome(edbgwr(debugged().cpu, page, 0, 0n))).toBe(`#PF 0x8003: ${check}`);
    expect(outcome(edbgwr(debugged('skylake').cpu, page, 0, 0n))).toBe(`#GP: ${check}`);
  });
  it(`${NOT_DEBUGGABLE} (PENDING, MODIFIED)`, () => {
    const enclave = debugged();
    eaug(enclave.cpu, { linAddr: BASE + Offset.HOLE, secInfo: undefined, secs: SECS }, FREE);
    expect(outcome(edbgwr(enclave.cpu, FREE, 0, 0n))).toBe(NOT_DEBUGGABLE);
    emodt(enclave.cpu, secInfo(Flags.TCS), enclave.at(Offset.DATA2));
    expect(outcome(edbgwr(enclave.cpu, enclave.at(Offset.DATA2), 8, 0n))).toBe(NOT_DEBUGGABLE);
  });
  it.each([0, 16, 24, 40, 72, 0xff8])('#GP: RCX is the FLAGS of the TCS (offset %i)', (offset) => {
    const enclave = debugged();
    const before = enclave.read(Offset.TCS);
    expect(outcome(edbgwr(enclave.cpu, enclave.at(Offset.TCS), offset, 1n))).toBe('#GP: RCX is the FLAGS of the TCS');
    expect(enclave.read(Offset.TCS)).toEqual(before);
  });
  it('#GP: SECS.ATTRIBUTES.DEBUG is 1', () => {
    const enclave = new TestEnclave();
    expect(outcome(edbgwr(enclave.cpu, enclave.at(Offset.DATA), 0, 0n))).toBe('#GP: SECS.ATTRIBUTES.DEBUG is 1');
    expect(enclave.read(Offset.DATA)).toEqual(pattern(2));
  });
});
