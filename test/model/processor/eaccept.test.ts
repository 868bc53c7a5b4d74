import { describe, expect, it } from 'vitest';

import { Tcs, TcsFlags } from '../../../src/abi/sgx-arch.ts';
import { eaug } from '../../../src/processor/encls/eaug.ts';
import { eblock } from '../../../src/processor/encls/eblock.ts';
import { emodpr } from '../../../src/processor/encls/emodpr.ts';
import { emodt } from '../../../src/processor/encls/emodt.ts';
import { etrack } from '../../../src/processor/encls/etrack.ts';
import { eaccept } from '../../../src/processor/enclu/eaccept.ts';
import { BASE, Flags, FREE, Offset, outcome, secInfo, SECS, SIZE, TestEnclave } from './enclave.ts';

const PENDING_RW = Flags.REG_RW | Flags.PENDING;
const MISMATCH = 'SGX_PAGE_ATTRIBUTES_MISMATCH: the EPCM entry is what SECINFO expects (all but PR)';

/** An enclave with an EAUG'd page in the hole. */
function augmented(): TestEnclave {
  const enclave = new TestEnclave();
  eaug(enclave.cpu, { linAddr: BASE + Offset.HOLE, secInfo: undefined, secs: SECS }, FREE);
  enclave.pages.set(Offset.HOLE, FREE);
  return enclave;
}

function accept(enclave: TestEnclave, flags: number, offset: number = Offset.HOLE): string {
  return outcome(eaccept(enclave.cpu, enclave.access, enclave.secInfoAt(flags), BASE + offset));
}

/** DATA2 with bytes, made a TCS and tracked. */
function becomingTcs(bytes: Uint8Array): TestEnclave {
  const enclave = new TestEnclave();
  enclave.write(Offset.DATA2, bytes);
  emodt(enclave.cpu, secInfo(Flags.TCS), enclave.at(Offset.DATA2));
  etrack(enclave.cpu, SECS);
  return enclave;
}

describe('EACCEPT', () => {
  it("makes an EAUG'd page usable: zeros, R and W", () => {
    const enclave = augmented();
    expect(accept(enclave, PENDING_RW)).toBe('ok');
    expect(enclave.entry(FREE)).toBe('R|W|PT=REG');
    expect(enclave.read(Offset.HOLE)).toEqual(new Uint8Array(4096));
  });
  it('confirms EMODPR', () => {
    const enclave = new TestEnclave();
    emodpr(enclave.cpu, secInfo(Flags.R), enclave.at(Offset.DATA2));
    etrack(enclave.cpu, SECS);
    expect(accept(enclave, Flags.REG | Flags.R | Flags.PR, Offset.DATA2)).toBe('ok');
    expect(enclave.entry(enclave.at(Offset.DATA2))).toBe('R|PT=REG');
  });
  it('does not compare PR: accepting what nobody restricted is no error', () => {
    expect(accept(new TestEnclave(), Flags.REG_RW | Flags.PR, Offset.DATA2)).toBe('ok');
  });
  it('confirms PT_TCS and PT_TRIM', () => {
    const enclave = becomingTcs(Tcs.encode({ nssa: 1 }));
    expect(accept(enclave, Flags.TCS | Flags.MODIFIED, Offset.DATA2)).toBe('ok');
    expect(enclave.entry(enclave.at(Offset.DATA2))).toBe('PT=TCS');
    emodt(enclave.cpu, secInfo(Flags.TRIM), enclave.at(Offset.DATA2));
    etrack(enclave.cpu, SECS);
    expect(accept(enclave, Flags.TRIM | Flags.MODIFIED, Offset.DATA2)).toBe('ok');
    expect(enclave.entry(enclave.at(Offset.DATA2))).toBe('PT=TRIM');
  });

  it('#GP: RBX is 64-byte aligned', () => {
    const { cpu, access } = new TestEnclave();
    expect(outcome(eaccept(cpu, access, BASE + Offset.DATA + 8, BASE))).toBe('#GP: RBX is 64-byte aligned');
  });
  it.each([BASE - 4096, BASE + SIZE])('#GP: RBX is in ELRANGE (%i)', (rbx) => {
    const { cpu, access } = new TestEnclave();
    expect(outcome(eaccept(cpu, access, rbx, BASE))).toBe('#GP: RBX is in ELRANGE');
  });
  it('#PF: RBX is in the EPC and mapped (not present: error code without P)', () => {
    const { cpu, access } = new TestEnclave();
    const result = outcome(eaccept(cpu, access, BASE + Offset.HOLE + 64, BASE));
    expect(result).toBe('#PF 0x4 @0x7f0000008000: RBX is in the EPC and mapped');
  });
  it('#PF: EPCM lets the enclave use RBX (a TCS)', () => {
    const { cpu, access } = new TestEnclave();
    expect(outcome(eaccept(cpu, access, BASE + Offset.TCS, BASE))).toMatch(
      /^#PF 0x8005 @0x7f0000000000: EPCM lets the enclave use/,
    );
  });
  it('#PF: EPCM lets the enclave use RBX (PENDING)', () => {
    const { cpu, access } = augmented();
    expect(outcome(eaccept(cpu, access, BASE + Offset.HOLE, BASE))).toMatch(/^#PF 0x8005 @0x7f0000008000/);
  });
  it('#PF: EPCM lets the enclave use RBX (BLOCKED)', () => {
    const enclave = new TestEnclave();
    eblock(enclave.cpu, enclave.at(Offset.DATA));
    expect(outcome(eaccept(enclave.cpu, enclave.access, BASE + Offset.DATA, BASE))).toMatch(/^#PF 0x8005/);
  });
  it('#PF: EPCM lets the enclave use RBX (no R)', () => {
    const enclave = new TestEnclave();
    emodpr(enclave.cpu, secInfo(0), enclave.at(Offset.DATA));
    expect(outcome(eaccept(enclave.cpu, enclave.access, BASE + Offset.DATA, BASE))).toMatch(/^#PF 0x8005/);
  });
  it('#GP: SECINFO reserved fields are zero', () => {
    expect(accept(augmented(), PENDING_RW | (1 << 16))).toBe('#GP: SECINFO reserved fields are zero');
  });
  it('#GP: RCX is 4096-byte aligned', () => {
    expect(accept(augmented(), PENDING_RW, Offset.HOLE + 64)).toBe('#GP: RCX is 4096-byte aligned');
  });
  it('#GP: RCX is in ELRANGE', () => {
    expect(accept(augmented(), PENDING_RW, SIZE)).toBe('#GP: RCX is in ELRANGE');
  });
  it('#PF: RCX is in the EPC and mapped (not present: the kernel may EAUG and the leaf is run again)', () => {
    expect(accept(new TestEnclave(), PENDING_RW)).toBe('#PF 0x4 @0x7f0000008000: RCX is in the EPC and mapped');
  });
  it.each([
    Flags.REG_RW,
    Flags.REG_RW | Flags.MODIFIED,
    Flags.REG_RW | Flags.PENDING | Flags.MODIFIED,
    Flags.TCS,
    Flags.TCS | Flags.MODIFIED | Flags.PENDING,
    Flags.TRIM | Flags.MODIFIED | Flags.PR,
    Flags.TRIM | Flags.PENDING,
    Flags.MODIFIED,
  ])('#GP: SECINFO.FLAGS names a change that can be accepted (flags %i)', (flags) => {
    expect(accept(augmented(), flags)).toBe('#GP: SECINFO.FLAGS names a change that can be accepted');
  });
  it('#PF: RCX is a page of this enclave (BLOCKED)', () => {
    const enclave = augmented();
    eblock(enclave.cpu, FREE);
    expect(accept(enclave, PENDING_RW)).toBe('#PF 0x8005 @0x7f0000008000: RCX is a page of this enclave');
  });
  it('#PF: RCX is a page of this enclave (an SECS)', () => {
    const enclave = augmented();
    enclave.pages.set(Offset.HOLE, SECS);
    expect(accept(enclave, PENDING_RW)).toBe('#PF 0x8005 @0x7f0000008000: RCX is a page of this enclave');
  });
  it.each([
    ['rights', Flags.REG | Flags.R | Flags.PENDING],
    ['PENDING', Flags.REG_RW | Flags.PR],
    ['type', Flags.TRIM | Flags.MODIFIED],
  ])(`${MISMATCH}: other %s`, (_what, flags) => {
    expect(accept(augmented(), flags)).toBe(MISMATCH);
  });
  it(`${MISMATCH}: accepted already`, () => {
    const enclave = augmented();
    accept(enclave, PENDING_RW);
    expect(accept(enclave, PENDING_RW)).toBe(MISMATCH);
  });
  it(`${MISMATCH}: a page of another address`, () => {
    const enclave = augmented();
    enclave.pages.set(0x9000, FREE);
    expect(accept(enclave, PENDING_RW, 0x9000)).toBe(MISMATCH);
  });
  it('SGX_NOT_TRACKED: ETRACK ran since the page was changed', () => {
    const enclave = new TestEnclave();
    emodt(enclave.cpu, secInfo(Flags.TRIM), enclave.at(Offset.DATA2));
    expect(accept(enclave, Flags.TRIM | Flags.MODIFIED, Offset.DATA2)).toBe(
      'SGX_NOT_TRACKED: ETRACK ran since the page was changed',
    );
  });
  it('SGX_NOT_TRACKED: threads that entered before ETRACK have left', () => {
    const enclave = new TestEnclave();
    enclave.threads.entered.push({ secs: SECS, epoch: enclave.cpu.secs(SECS).epoch });
    emodpr(enclave.cpu, secInfo(Flags.R), enclave.at(Offset.DATA2));
    etrack(enclave.cpu, SECS);
    const result = accept(enclave, Flags.REG | Flags.R | Flags.PR, Offset.DATA2);
    expect(result).toBe('SGX_NOT_TRACKED: threads that entered before ETRACK have left');
  });
  it.each<[string, Uint8Array]>([
    ['TCS reserved fields are zero', Tcs.encode({ nssa: 1 }).with(4095, 1)],
    ['TCS reserved fields are zero', Tcs.encode({ nssa: 1, ocetSsa: 0x1000n })],
    ['TCS.FLAGS.DBGOPTIN is 0', Tcs.encode({ nssa: 1, flags: TcsFlags.mask.DBGOPTIN })],
    ['TCS.CSSA is below TCS.NSSA', Tcs.encode({ nssa: 1, cssa: 1 })],
    ['TCS.AEP is 0', Tcs.encode({ nssa: 1, aep: 1n })],
    ['TCS.STATE is INACTIVE', Tcs.encode({ nssa: 1, state: 1n })],
  ])('#GP: %s', (check, bytes) => {
    const enclave = becomingTcs(bytes);
    expect(accept(enclave, Flags.TCS | Flags.MODIFIED, Offset.DATA2)).toBe(`#GP: ${check}`);
    expect(enclave.entry(enclave.at(Offset.DATA2))).toBe('MODIFIED|PT=TCS');
  });
  it('#GP: the leaf is supported', () => {
    expect(accept(new TestEnclave({ profileName: 'skylake' }), PENDING_RW)).toBe('#GP: the leaf is supported');
  });
});
