import { describe, expect, it } from 'vitest';

import { eblock } from '../../../src/processor/encls/eblock.ts';
import { eldb } from '../../../src/processor/encls/eldb.ts';
import { etrack } from '../../../src/processor/encls/etrack.ts';
import { ewb, type EvictedPage } from '../../../src/processor/encls/ewb.ts';
import { FREE, NOT_EPC, Offset, outcome, pattern, SECS, TestEnclave, VA } from './enclave.ts';

const SLOT = 5;

/** A data page that is evicted, and the operands that bring it back. */
function evicted() {
  const enclave = new TestEnclave();
  const { cpu } = enclave;
  eblock(cpu, enclave.at(Offset.DATA));
  etrack(cpu, SECS);
  const result = ewb(cpu, enclave.at(Offset.DATA), VA, SLOT);
  const { linAddr, sealed, pcmd } = (result as { value: EvictedPage }).value;
  return { enclave, operands: { linAddr, srcPage: sealed, pcmd, secs: SECS } };
}

describe('ELDB', () => {
  it('brings a page back as ELDU does, but BLOCKED', () => {
    const { enclave, operands } = evicted();
    expect(outcome(eldb(enclave.cpu, operands, FREE, VA, SLOT))).toBe('ok');
    expect(enclave.entry(FREE)).toBe('R|W|PT=REG|BLOCKED');
    expect(enclave.read(Offset.DATA)).toEqual(pattern(2));
    expect(enclave.cpu.versionArray(VA)[SLOT]).toBe(0n);
  });
  it('lets the page be evicted again at once: nobody has had a translation of it', () => {
    const { enclave, operands } = evicted();
    enclave.threads.entered.push({ secs: SECS, epoch: 1 });
    eldb(enclave.cpu, operands, FREE, VA, SLOT);
    expect(outcome(ewb(enclave.cpu, FREE, VA, SLOT))).toBe('ok');
  });
  it('SGX_MAC_COMPARE_FAIL: the page authenticates under the version in the VA slot', () => {
    const { enclave, operands } = evicted();
    expect(outcome(eldb(enclave.cpu, operands, FREE, VA, SLOT + 1))).toBe(
      'SGX_MAC_COMPARE_FAIL: the page authenticates under the version in the VA slot',
    );
    expect(enclave.entry(FREE)).toBe('not valid');
  });
  it('faults as ELDU does, and blocks nothing then', () => {
    const { enclave, operands } = evicted();
    const { cpu } = enclave;
    expect(outcome(eldb(cpu, operands, NOT_EPC, VA, SLOT))).toBe('#PF 0x3: RCX is in the EPC');
    expect(outcome(eldb(cpu, operands, enclave.at(Offset.CODE), VA, SLOT))).toMatch(/^#PF 0x8003/);
    expect(enclave.entry(enclave.at(Offset.CODE))).toBe('R|X|PT=REG');
    expect(outcome(eldb(cpu, { ...operands, secs: undefined }, FREE, VA, SLOT))).toMatch(/^#GP: PAGEINFO.SECS/);
  });
});
