import { describe, expect, it } from 'vitest';

import { Attributes, Tcs, TcsFlags } from '../../../src/abi/sgx-arch.ts';
import { eadd } from '../../../src/processor/encls/eadd.ts';
import {
  BASE,
  Flags,
  FREE,
  NOT_EPC,
  Offset,
  outcome,
  pattern,
  secInfo,
  SECS,
  SIZE,
  TestEnclave,
  VA,
} from './enclave.ts';

const building = (secs = {}) => new TestEnclave({ initialise: false, secs });

function add(enclave: TestEnclave, change: Partial<Parameters<typeof eadd>[1]> = {}, page = FREE): string {
  const operands = {
    linAddr: BASE + Offset.HOLE,
    srcPage: pattern(9),
    secInfo: secInfo(Flags.REG_RW),
    secs: SECS,
    ...change,
  };
  return outcome(eadd(enclave.cpu, operands, page));
}

describe('EADD', () => {
  it('adds a page with the rights and type of its SECINFO', () => {
    const enclave = building();
    expect(add(enclave)).toBe('ok');
    expect(enclave.entry(FREE)).toBe('R|W|PT=REG');
    expect(enclave.cpu.epcm.secsOf(FREE)).toBe(SECS);
    expect(enclave.cpu.epcm.page(FREE) * 4096).toBe(BASE + Offset.HOLE);
    expect(enclave.read(Offset.HOLE)).toEqual(pattern(9));
  });

  it('makes PENDING, MODIFIED and PR 0 whatever SECINFO says', () => {
    const enclave = building();
    expect(add(enclave, { secInfo: secInfo(Flags.REG_RW | Flags.PENDING | Flags.MODIFIED | Flags.PR) })).toBe('ok');
    expect(enclave.entry(FREE)).toBe('R|W|PT=REG');
  });

  it('clears RWX, STATE, CSSA, AEP and DBGOPTIN of a TCS and keeps the rest', () => {
    const enclave = building();
    const srcPage = Tcs.encode({
      state: 1n,
      flags: TcsFlags.mask.DBGOPTIN | TcsFlags.mask.AEXNOTIFY,
      cssa: 3,
      aep: 5n,
      nssa: 4,
      ossa: 0x1000n,
    });
    expect(add(enclave, { srcPage, secInfo: secInfo(Flags.TCS | Flags.R | Flags.W) })).toBe('ok');
    expect(enclave.entry(FREE)).toBe('PT=TCS');
    expect(Tcs.decode(enclave.read(Offset.HOLE))).toMatchObject({
      state: 0n,
      flags: TcsFlags.mask.AEXNOTIFY,
      cssa: 0,
      aep: 0n,
      nssa: 4,
      ossa: 0x1000n,
    });
    expect(Tcs.view(srcPage).cssa).toBe(3);
  });

  it('#PF: the destination is in the EPC', () => {
    expect(add(building(), {}, NOT_EPC)).toBe('#PF 0x3: the destination is in the EPC');
  });
  it('#PF: PAGEINFO.SECS is in the EPC', () => {
    expect(add(building(), { secs: NOT_EPC })).toBe('#PF 0x3: PAGEINFO.SECS is in the EPC');
  });
  it('#PF: EPCM.VALID is 0', () => {
    expect(add(building(), {}, VA)).toBe('#PF 0x8003: EPCM.VALID is 0');
  });
  it('#PF: PAGEINFO.SECS is a valid PT_SECS', () => {
    expect(add(building(), { secs: VA })).toBe('#PF 0x8003: PAGEINFO.SECS is a valid PT_SECS');
  });
  it.each<[string, Parameters<typeof add>[1]]>([
    ['PAGEINFO.LINADDR is page-aligned', { linAddr: BASE + 1 }],
    ['SECINFO reserved fields are zero', { secInfo: secInfo(Flags.REG_RW).fill(1, 63, 64) }],
    ['SECINFO.FLAGS.PT is PT_REG or PT_TCS', { secInfo: secInfo(Flags.TRIM) }],
    ['SECINFO.FLAGS.PT is PT_REG or PT_TCS', { secInfo: secInfo(0) }],
    ['TCS reserved fields are zero', { secInfo: secInfo(Flags.TCS), srcPage: new Uint8Array(4096).fill(1, 4095) }],
    ['TCS reserved fields are zero', { secInfo: secInfo(Flags.TCS), srcPage: Tcs.encode({ ocetSsa: 0x1000n }) }],
    ['TCS reserved fields are zero', { secInfo: secInfo(Flags.TCS), srcPage: Tcs.encode({ prevSsp: 1n }) }],
    ['SECINFO.FLAGS.R is 1 when W is 1', { secInfo: secInfo(Flags.REG | Flags.W) }],
    ['PAGEINFO.LINADDR is in ELRANGE', { linAddr: BASE + SIZE }],
    ['PAGEINFO.LINADDR is in ELRANGE', { linAddr: BASE - 4096 }],
  ])('#GP: %s (%#)', (check, change) => {
    const enclave = building();
    expect(add(enclave, change)).toBe(`#GP: ${check}`);
    expect(enclave.entry(FREE)).toBe('not valid');
  });
  it('#GP: TCS.FSLIMIT and GSLIMIT of a 32-bit enclave end in FFFH', () => {
    const change = {
      secInfo: secInfo(Flags.TCS),
      srcPage: Tcs.encode({ fsLimit: 0xffe, gsLimit: 0xfff }),
      linAddr: 0x8000,
    };
    expect(add(building(), { ...change, linAddr: BASE + Offset.HOLE })).toBe('ok');
    const enclave = new TestEnclave({ initialise: false, secs: { attributes: Attributes.mask.MODE64BIT } });
    enclave.cpu.secs(SECS).fields.attributes = 0n;
    expect(add(enclave, { ...change, linAddr: BASE + Offset.HOLE })).toBe(
      '#GP: TCS.FSLIMIT and GSLIMIT of a 32-bit enclave end in FFFH',
    );
  });
  it('#GP: SECS.ATTRIBUTES.INIT is 0', () => {
    expect(add(new TestEnclave())).toBe('#GP: SECS.ATTRIBUTES.INIT is 0');
  });
});
