import { describe, expect, it } from 'vitest';

import { Attributes } from '../../../src/abi/sgx-arch.ts';
import { readU64 } from '../../../src/lib/bytes.ts';
import { eaug } from '../../../src/processor/encls/eaug.ts';
import { edbgrd } from '../../../src/processor/encls/edbgrd.ts';
import { emodpr } from '../../../src/processor/encls/emodpr.ts';
import { emodt } from '../../../src/processor/encls/emodt.ts';
import { BASE, Flags, FREE, NOT_EPC, Offset, outcome, pattern, secInfo, SECS, TestEnclave, VA } from './enclave.ts';

const { MODE64BIT, DEBUG } = Attributes.mask;
const debugged = (profileName = 'sapphire-rapids') =>
  new TestEnclave({ profileName, secs: { attributes: MODE64BIT | DEBUG } });
const NOT_DEBUGGABLE = 'SGX_PAGE_NOT_DEBUGGABLE: EPCM.PENDING and EPCM.MODIFIED are 0';

describe('EDBGRD', () => {
  it('reads 8 bytes of a regular page', () => {
    const enclave = debugged();
    const result = edbgrd(enclave.cpu, enclave.at(Offset.DATA), 0xff8);
    expect(result).toEqual({ kind: 'ok', value: readU64(pattern(2), 0xff8) });
  });
  it('ignores the rights in the EPCM', () => {
    const enclave = debugged();
    emodpr(enclave.cpu, secInfo(0), enclave.at(Offset.DATA));
    expect(edbgrd(enclave.cpu, enclave.at(Offset.DATA), 0)).toMatchObject({ value: readU64(pattern(2), 0) });
  });
  it('reads an enclave that is not initialized', () => {
    const enclave = new TestEnclave({ initialise: false, secs: { attributes: MODE64BIT | DEBUG } });
    expect(edbgrd(enclave.cpu, enclave.at(Offset.DATA), 8)).toMatchObject({ value: readU64(pattern(2), 8) });
  });
  it('reads the fields of a TCS', () => {
    const enclave = debugged();
    expect(edbgrd(enclave.cpu, enclave.at(Offset.TCS), 16)).toMatchObject({ value: BigInt(Offset.SSA) });
    expect(outcome(edbgrd(enclave.cpu, enclave.at(Offset.TCS), 64))).toBe('ok');
  });
  it('tells of a version array only which slots are in use, of any enclave', () => {
    const enclave = new TestEnclave();
    enclave.cpu.versionArray(VA)[3] = 7n;
    expect(edbgrd(enclave.cpu, VA, 24)).toEqual({ kind: 'ok', value: 0xffff_ffff_ffff_ffffn });
    expect(edbgrd(enclave.cpu, VA, 32)).toEqual({ kind: 'ok', value: 0n });
  });

  it.each([4, 4096, -8])('#GP: RCX is 8-byte aligned (offset %i)', (offset) => {
    const enclave = debugged();
    expect(outcome(edbgrd(enclave.cpu, enclave.at(Offset.DATA), offset))).toBe('#GP: RCX is 8-byte aligned');
  });
  it('#PF: RCX is in the EPC', () => {
    expect(outcome(edbgrd(debugged().cpu, NOT_EPC, 0))).toBe('#PF 0x3: RCX is in the EPC');
  });
  it('#PF: RCX is a page that debuggers may see (not valid, SECS, TRIM), #GP on a processor with SGX1 only', () => {
    const enclave = debugged();
    const check = 'RCX is a page that debuggers may see';
    expect(outcome(edbgrd(enclave.cpu, FREE, 0))).toBe(`#PF 0x8003: ${check}`);
    expect(outcome(edbgrd(enclave.cpu, SECS, 0))).toBe(`#PF 0x8003: ${check}`);
    enclave.cpu.epcm.setSecInfoFlags(enclave.at(Offset.DATA2), Flags.TRIM);
    expect(outcome(edbgrd(enclave.cpu, enclave.at(Offset.DATA2), 0))).toBe(`#PF 0x8003: ${check}`);
    expect(outcome(edbgrd(debugged('skylake').cpu, SECS, 0))).toBe(`#GP: ${check}`);
  });
  it(`${NOT_DEBUGGABLE} (PENDING, MODIFIED)`, () => {
    const enclave = debugged();
    eaug(enclave.cpu, { linAddr: BASE + Offset.HOLE, secInfo: undefined, secs: SECS }, FREE);
    expect(outcome(edbgrd(enclave.cpu, FREE, 0))).toBe(NOT_DEBUGGABLE);
    emodt(enclave.cpu, secInfo(Flags.TCS), enclave.at(Offset.DATA2));
    expect(outcome(edbgrd(enclave.cpu, enclave.at(Offset.DATA2), 0))).toBe(NOT_DEBUGGABLE);
  });
  it.each([72, 0xff8])('#GP: RCX is within the fields of the TCS (offset %i)', (offset) => {
    const enclave = debugged();
    expect(outcome(edbgrd(enclave.cpu, enclave.at(Offset.TCS), offset))).toBe(
      '#GP: RCX is within the fields of the TCS',
    );
  });
  it('#GP: SECS.ATTRIBUTES.DEBUG is 1', () => {
    const enclave = new TestEnclave();
    expect(outcome(edbgrd(enclave.cpu, enclave.at(Offset.DATA), 0))).toBe('#GP: SECS.ATTRIBUTES.DEBUG is 1');
    expect(outcome(edbgrd(enclave.cpu, enclave.at(Offset.TCS), 0))).toBe('#GP: SECS.ATTRIBUTES.DEBUG is 1');
  });
});
