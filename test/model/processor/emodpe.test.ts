import { describe, expect, it } from 'vitest';

import { eaug } from '../../../src/processor/encls/eaug.ts';
import { eblock } from '../../../src/processor/encls/eblock.ts';
import { emodpr } from '../../../src/processor/encls/emodpr.ts';
import { emodt } from '../../../src/processor/encls/emodt.ts';
import { emodpe } from '../../../src/processor/enclu/emodpe.ts';
import { BASE, Flags, FREE, Offset, outcome, secInfo, SECS, SIZE, TestEnclave } from './enclave.ts';

function extend(enclave: TestEnclave, flags: number, offset: number = Offset.DATA2): string {
  return outcome(emodpe(enclave.cpu, enclave.access, enclave.secInfoAt(flags), BASE + offset));
}

describe('EMODPE', () => {
  it('adds rights, takes none away, and looks at nothing but RWX', () => {
    const enclave = new TestEnclave();
    expect(extend(enclave, Flags.X | Flags.TRIM | Flags.PENDING)).toBe('ok');
    expect(enclave.entry(enclave.at(Offset.DATA2))).toBe('R|W|X|PT=REG');
  });
  it('leaves PR as it is', () => {
    const enclave = new TestEnclave();
    emodpr(enclave.cpu, secInfo(Flags.R), enclave.at(Offset.DATA2));
    expect(extend(enclave, Flags.R | Flags.W)).toBe('ok');
    expect(enclave.entry(enclave.at(Offset.DATA2))).toBe('R|W|PR|PT=REG');
  });
  it('#GP: RBX is 64-byte aligned', () => {
    const { cpu, access } = new TestEnclave();
    expect(outcome(emodpe(cpu, access, BASE + 32, BASE))).toBe('#GP: RBX is 64-byte aligned');
  });
  it('#GP: RCX is 4096-byte aligned', () => {
    expect(extend(new TestEnclave(), Flags.R, Offset.DATA2 + 64)).toBe('#GP: RCX is 4096-byte aligned');
  });
  it('#GP: RBX is in ELRANGE', () => {
    const { cpu, access } = new TestEnclave();
    expect(outcome(emodpe(cpu, access, BASE + SIZE, BASE))).toBe('#GP: RBX is in ELRANGE');
  });
  it('#GP: RCX is in ELRANGE', () => {
    expect(extend(new TestEnclave(), Flags.R, -4096)).toBe('#GP: RCX is in ELRANGE');
  });
  it('#PF: RBX is in the EPC and mapped', () => {
    const { cpu, access } = new TestEnclave();
    const result = outcome(emodpe(cpu, access, BASE + Offset.HOLE, BASE + Offset.DATA));
    expect(result).toBe('#PF 0x4 @0x7f0000008000: RBX is in the EPC and mapped');
  });
  it('#PF: RCX is in the EPC and mapped', () => {
    expect(extend(new TestEnclave(), Flags.R, Offset.HOLE)).toBe(
      '#PF 0x4 @0x7f0000008000: RCX is in the EPC and mapped',
    );
  });
  it('#PF: EPCM lets the enclave use RBX', () => {
    const { cpu, access } = new TestEnclave();
    expect(outcome(emodpe(cpu, access, BASE + Offset.TCS, BASE + Offset.DATA))).toMatch(
      /^#PF 0x8005 @0x7f0000000000: EPCM lets/,
    );
  });
  it('#GP: SECINFO reserved fields are zero', () => {
    expect(extend(new TestEnclave(), 1 << 7)).toBe('#GP: SECINFO reserved fields are zero');
  });
  it.each<[string, (enclave: TestEnclave) => void]>([
    ['a TCS', (enclave) => enclave.pages.set(Offset.DATA2, enclave.at(Offset.TCS))],
    ['MODIFIED', (enclave) => void emodt(enclave.cpu, secInfo(Flags.TCS), enclave.at(Offset.DATA2))],
    ['BLOCKED', (enclave) => void eblock(enclave.cpu, enclave.at(Offset.DATA2))],
    ['another address', (enclave) => enclave.pages.set(Offset.DATA2, enclave.at(Offset.CODE))],
    [
      'PENDING',
      (enclave) => {
        eaug(enclave.cpu, { linAddr: BASE + Offset.HOLE, secInfo: undefined, secs: SECS }, FREE);
        enclave.pages.set(Offset.DATA2, FREE);
      },
    ],
  ])('#PF: RCX is an accepted page of this enclave (%s)', (_what, spoil) => {
    const enclave = new TestEnclave();
    spoil(enclave);
    expect(extend(enclave, Flags.R)).toBe('#PF 0x8005 @0x7f0000005000: RCX is an accepted page of this enclave');
  });
  it('#GP: the page is readable when it is writable', () => {
    const enclave = new TestEnclave();
    emodpr(enclave.cpu, secInfo(0), enclave.at(Offset.DATA2));
    expect(extend(enclave, Flags.W)).toBe('#GP: the page is readable when it is writable');
    expect(enclave.entry(enclave.at(Offset.DATA2))).toBe('PR|PT=REG');
  });
  it('#GP: the leaf is supported', () => {
    expect(extend(new TestEnclave({ profileName: 'skylake' }), Flags.R)).toBe('#GP: the leaf is supported');
  });
});
