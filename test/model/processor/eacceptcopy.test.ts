import { describe, expect, it } from 'vitest';

import { eaug } from '../../../src/processor/encls/eaug.ts';
import { eblock } from '../../../src/processor/encls/eblock.ts';
import { emodpr } from '../../../src/processor/encls/emodpr.ts';
import { emodt } from '../../../src/processor/encls/emodt.ts';
import { eaccept } from '../../../src/processor/enclu/eaccept.ts';
import { eacceptcopy } from '../../../src/processor/enclu/eacceptcopy.ts';
import { BASE, Flags, FREE, Offset, outcome, pattern, secInfo, SECS, SIZE, TestEnclave } from './enclave.ts';

const MISMATCH = 'SGX_PAGE_ATTRIBUTES_MISMATCH: RCX is an added page that is not yet accepted';
const TARGET = BASE + Offset.HOLE;
const SOURCE = BASE + Offset.DATA2;

/** An enclave with an EAUG'd page in the hole. */
function augmented(): TestEnclave {
  const enclave = new TestEnclave();
  eaug(enclave.cpu, { linAddr: TARGET, secInfo: undefined, secs: SECS }, FREE);
  enclave.pages.set(Offset.HOLE, FREE);
  return enclave;
}

interface Registers {
  readonly rbx?: number;
  readonly rcx?: number;
  readonly rdx?: number;
}

function copy(enclave: TestEnclave, flags: number, { rbx, rcx = TARGET, rdx = SOURCE }: Registers = {}): string {
  const address = enclave.secInfoAt(flags);
  return outcome(eacceptcopy(enclave.cpu, enclave.access, rbx ?? address, rcx, rdx));
}

describe('EACCEPTCOPY', () => {
  it.each([
    ['R|W|PT=REG', Flags.REG_RW],
    ['R|X|PT=REG', Flags.REG_RX],
    ['PT=REG', Flags.REG],
  ])('makes an added page a copy, with the rights %s', (rights, flags) => {
    const enclave = augmented();
    expect(copy(enclave, flags)).toBe('ok');
    expect(enclave.entry(FREE)).toBe(rights);
    expect(enclave.read(Offset.HOLE)).toEqual(pattern(3));
    expect(enclave.read(Offset.DATA2)).toEqual(pattern(3));
  });
  it('takes PENDING, MODIFIED and PR of the SECINFO for nothing', () => {
    const enclave = augmented();
    expect(copy(enclave, Flags.REG_RW | Flags.PENDING | Flags.MODIFIED | Flags.PR)).toBe('ok');
    expect(enclave.entry(FREE)).toBe('R|W|PT=REG');
  });

  it('#GP: RBX is 64-byte aligned', () => {
    expect(copy(augmented(), Flags.REG_RW, { rbx: BASE + Offset.DATA + 8 })).toBe('#GP: RBX is 64-byte aligned');
  });
  it('#GP: RCX is 4096-byte aligned', () => {
    expect(copy(augmented(), Flags.REG_RW, { rcx: TARGET + 64 })).toBe('#GP: RCX is 4096-byte aligned');
  });
  it('#GP: RDX is 4096-byte aligned', () => {
    expect(copy(augmented(), Flags.REG_RW, { rdx: SOURCE + 64 })).toBe('#GP: RDX is 4096-byte aligned');
  });
  it.each(['rbx', 'rcx', 'rdx'] as const)('#GP: %s is in ELRANGE', (register) => {
    const check = `#GP: ${register.toUpperCase()} is in ELRANGE`;
    expect(copy(augmented(), Flags.REG_RW, { [register]: BASE + SIZE })).toBe(check);
    expect(copy(augmented(), Flags.REG_RW, { [register]: BASE - 4096 })).toBe(check);
  });
  it.each([
    ['RBX', '0x4', { rbx: BASE + 0x9000 }],
    ['RCX', '0x6', { rcx: BASE + 0x9000 }],
    ['RDX', '0x4', { rdx: BASE + 0x9000 }],
  ])('#PF: %s is in the EPC and mapped (error code %s)', (register, errorCode, registers) => {
    const result = copy(augmented(), Flags.REG_RW, registers);
    expect(result).toBe(`#PF ${errorCode} @0x7f0000009000: ${register} is in the EPC and mapped`);
  });
  it('#PF: the mapping of RCX can be written', () => {
    const enclave = augmented();
    enclave.readOnly.add(Offset.HOLE);
    expect(copy(enclave, Flags.REG_RW)).toBe('#PF 0x7 @0x7f0000008000: the mapping of RCX can be written');
  });
  it('#PF: EPCM lets the enclave use RBX', () => {
    expect(copy(augmented(), Flags.REG_RW, { rbx: BASE + Offset.TCS })).toMatch(/^#PF 0x8005 @0x7f0000000000: EPCM/);
    expect(copy(augmented(), Flags.REG_RW, { rbx: TARGET })).toMatch(/^#PF 0x8005 @0x7f0000008000: EPCM/);
  });
  it('#GP: SECINFO reserved fields are zero', () => {
    expect(copy(augmented(), Flags.REG_RW | (1 << 16))).toBe('#GP: SECINFO reserved fields are zero');
  });
  it('#GP: SECINFO.FLAGS.R is 1 when W is 1', () => {
    expect(copy(augmented(), Flags.REG | Flags.W)).toBe('#GP: SECINFO.FLAGS.R is 1 when W is 1');
  });
  it.each([Flags.TCS, Flags.TRIM, Flags.R])('#GP: SECINFO.FLAGS.PT is PT_REG (flags %i)', (flags) => {
    expect(copy(augmented(), flags)).toBe('#GP: SECINFO.FLAGS.PT is PT_REG');
  });
  it.each<[string, (enclave: TestEnclave) => unknown]>([
    ['R', (enclave) => emodpr(enclave.cpu, secInfo(0), enclave.at(Offset.DATA2))],
    ['MODIFIED', (enclave) => emodt(enclave.cpu, secInfo(Flags.TRIM), enclave.at(Offset.DATA2))],
    ['BLOCKED', (enclave) => eblock(enclave.cpu, enclave.at(Offset.DATA2))],
    ['VALID', (enclave) => enclave.cpu.epcm.remove(enclave.at(Offset.DATA2))],
    ['ENCLAVEADDRESS', (enclave) => enclave.pages.set(Offset.DATA2, enclave.at(Offset.DATA))],
  ])('#PF: EPCM lets the enclave use RDX (%s)', (_field, spoil) => {
    const enclave = augmented();
    spoil(enclave);
    expect(copy(enclave, Flags.REG_RW)).toMatch(/^#PF 0x8005 @0x7f0000005000: EPCM lets/);
  });
  it('#PF: EPCM lets the enclave use RDX (PENDING: the page itself)', () => {
    expect(copy(augmented(), Flags.REG_RW, { rdx: TARGET })).toMatch(/^#PF 0x8005 @0x7f0000008000: EPCM lets/);
  });
  it.each<[string, (enclave: TestEnclave) => unknown]>([
    ['accepted already', (enclave) => eaccept(enclave.cpu, enclave.access, enclave.secInfoAt(0x20b), TARGET)],
    ['MODIFIED', (enclave) => enclave.cpu.epcm.setSecInfoFlags(FREE, Flags.REG_RW | Flags.PENDING | Flags.MODIFIED)],
    ['other rights', (enclave) => enclave.cpu.epcm.setSecInfoFlags(FREE, Flags.REG | Flags.R | Flags.PENDING)],
    ['another type', (enclave) => enclave.cpu.epcm.setSecInfoFlags(FREE, Flags.TRIM | Flags.PENDING)],
    ['BLOCKED', (enclave) => eblock(enclave.cpu, FREE)],
    ['not valid', (enclave) => enclave.cpu.epcm.remove(FREE)],
    ['a page of the measured enclave', (enclave) => enclave.pages.set(Offset.HOLE, enclave.at(Offset.CODE))],
    ['another enclave', (enclave) => enclave.cpu.epcm.add(FREE, 0x20b, FREE, enclave.cpu.epcm.page(FREE))],
  ])(`${MISMATCH} (%s)`, (_what, spoil) => {
    const enclave = augmented();
    spoil(enclave);
    expect(copy(enclave, Flags.REG_RW)).toBe(MISMATCH);
  });
  it('#GP: the leaf is supported', () => {
    const enclave = new TestEnclave({ profileName: 'skylake' });
    expect(copy(enclave, Flags.REG_RW)).toBe('#GP: the leaf is supported');
  });
});
