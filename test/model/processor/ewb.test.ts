import { describe, expect, it } from 'vitest';

import { Pcmd } from '../../../src/abi/sgx-arch.ts';
import { epcIndex } from '../../../src/lib/units.ts';
import { eblock } from '../../../src/processor/encls/eblock.ts';
import { epa } from '../../../src/processor/encls/epa.ts';
import { etrack } from '../../../src/processor/encls/etrack.ts';
import { ewb } from '../../../src/processor/encls/ewb.ts';
import { BASE, Flags, FREE, NOT_EPC, Offset, outcome, pattern, SECS, TestEnclave, VA } from './enclave.ts';

function evictable(enclave = new TestEnclave()): TestEnclave {
  eblock(enclave.cpu, enclave.at(Offset.DATA));
  etrack(enclave.cpu, SECS);
  return enclave;
}

describe('EWB', () => {
  it('seals the page, puts a version in the slot and frees the EPC page', () => {
    const enclave = evictable();
    const { cpu } = enclave;
    const page = enclave.at(Offset.DATA);
    const result = ewb(cpu, page, VA, 7);
    if (result.kind !== 'ok') throw new Error(outcome(result));
    const { sealed, pcmd, linAddr } = result.value;
    expect(linAddr).toBe(BASE + Offset.DATA);
    expect(sealed).toHaveLength(4096);
    expect(Buffer.compare(sealed, pattern(2))).not.toBe(0);
    expect(Pcmd.decode(pcmd)).toMatchObject({
      secInfo: { flags: BigInt(Flags.REG_RW) },
      enclaveId: cpu.secs(SECS).hidden.enclaveId,
    });
    expect(cpu.versionArray(VA)[7]).not.toBe(0n);
    expect(enclave.entry(page)).toBe('not valid');
    expect(enclave.hasContents(Offset.DATA)).toBe(false);
  });

  it('#PF: RCX is in the EPC', () => {
    expect(outcome(ewb(new TestEnclave().cpu, NOT_EPC, VA, 0))).toBe('#PF 0x3: RCX is in the EPC');
  });
  it.each([-1, 512, 0.5])('#GP: RDX is an 8-byte aligned slot (%d)', (slot) => {
    const enclave = evictable();
    expect(outcome(ewb(enclave.cpu, enclave.at(Offset.DATA), VA, slot))).toBe('#GP: RDX is an 8-byte aligned slot');
  });
  it('#PF: RDX is in the EPC', () => {
    const enclave = evictable();
    expect(outcome(ewb(enclave.cpu, enclave.at(Offset.DATA), NOT_EPC, 0))).toBe('#PF 0x3: RDX is in the EPC');
  });
  it('#GP: RCX and RDX are different EPC pages', () => {
    expect(outcome(ewb(new TestEnclave().cpu, VA, VA, 0))).toBe('#GP: RCX and RDX are different EPC pages');
  });
  it('#PF: EPCM.VALID is 1', () => {
    expect(outcome(ewb(new TestEnclave().cpu, FREE, VA, 0))).toBe('#PF 0x8003: EPCM.VALID is 1');
  });
  it.each([SECS, FREE])('#PF: RDX is a valid PT_VA (EPC page %i)', (page) => {
    const enclave = evictable();
    expect(outcome(ewb(enclave.cpu, enclave.at(Offset.DATA), page, 0))).toBe('#PF 0x8003: RDX is a valid PT_VA');
  });
  it('SGX_PAGE_NOT_BLOCKED: EPCM.BLOCKED is 1', () => {
    const enclave = new TestEnclave();
    expect(outcome(ewb(enclave.cpu, enclave.at(Offset.DATA), VA, 0))).toBe('SGX_PAGE_NOT_BLOCKED: EPCM.BLOCKED is 1');
  });
  it('SGX_NOT_TRACKED: ETRACK ran since the page was changed', () => {
    const enclave = new TestEnclave();
    etrack(enclave.cpu, SECS);
    eblock(enclave.cpu, enclave.at(Offset.DATA));
    expect(outcome(ewb(enclave.cpu, enclave.at(Offset.DATA), VA, 0))).toBe(
      'SGX_NOT_TRACKED: ETRACK ran since the page was changed',
    );
  });
  it('SGX_NOT_TRACKED: threads that entered before ETRACK have left', () => {
    const enclave = new TestEnclave();
    const { cpu, threads } = enclave;
    const page = enclave.at(Offset.DATA);
    eblock(cpu, page);
    threads.entered.push({ secs: SECS, epoch: cpu.secs(SECS).epoch });
    etrack(cpu, SECS);
    expect(outcome(ewb(cpu, page, VA, 0))).toBe('SGX_NOT_TRACKED: threads that entered before ETRACK have left');
    threads.entered[0] = { secs: SECS, epoch: cpu.secs(SECS).epoch }; // left and came back
    expect(outcome(ewb(cpu, page, VA, 0))).toBe('ok');
  });
  it('SGX_CHILD_PRESENT: the SECS has no pages in EPC', () => {
    expect(outcome(ewb(new TestEnclave().cpu, SECS, VA, 0))).toBe('SGX_CHILD_PRESENT: the SECS has no pages in EPC');
  });
  it('SGX_VA_SLOT_OCCUPIED: the VA slot is empty, and the page is written out all the same', () => {
    const enclave = evictable();
    const { cpu } = enclave;
    cpu.versionArray(VA)[0] = 99n;
    const result = ewb(cpu, enclave.at(Offset.DATA), VA, 0);
    expect(outcome(result)).toBe('SGX_VA_SLOT_OCCUPIED: the VA slot is empty');
    expect(result).toMatchObject({ value: { linAddr: BASE + Offset.DATA } });
    expect(cpu.versionArray(VA)[0]).not.toBe(99n);
    expect(enclave.entry(enclave.at(Offset.DATA))).toBe('not valid');
  });
  it('takes VA pages without EBLOCK', () => {
    const { cpu } = new TestEnclave();
    epa(cpu, epcIndex(40));
    expect(outcome(ewb(cpu, epcIndex(40), VA, 0))).toBe('ok');
    expect(cpu.versionArrays.has(epcIndex(40))).toBe(false);
  });
});
