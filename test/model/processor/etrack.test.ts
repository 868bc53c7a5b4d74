import { describe, expect, it } from 'vitest';

import { etrack } from '../../../src/processor/encls/etrack.ts';
import { FREE, NOT_EPC, outcome, SECS, TestEnclave, VA } from './enclave.ts';

const INCOMPLETE = 'SGX_PREV_TRK_INCMPL: all threads that entered before the last ETRACK have left';

describe('ETRACK', () => {
  it('begins a new epoch', () => {
    const { cpu } = new TestEnclave();
    const before = cpu.secs(SECS).epoch;
    expect(outcome(etrack(cpu, SECS))).toBe('ok');
    expect(cpu.secs(SECS).epoch).toBe(before + 1);
  });
  it('#PF: RCX is in the EPC', () => {
    expect(outcome(etrack(new TestEnclave().cpu, NOT_EPC))).toBe('#PF 0x3: RCX is in the EPC');
  });
  it.each([VA, FREE])('#PF: RCX is a valid PT_SECS (EPC page %i)', (page) => {
    expect(outcome(etrack(new TestEnclave().cpu, page))).toBe('#PF 0x8003: RCX is a valid PT_SECS');
  });
  it('works with threads inside, and does not work again until they have left', () => {
    const { cpu, threads } = new TestEnclave();
    threads.entered.push({ secs: SECS, epoch: cpu.secs(SECS).epoch });
    expect(outcome(etrack(cpu, SECS))).toBe('ok');
    expect(outcome(etrack(cpu, SECS))).toBe(INCOMPLETE);
    threads.entered.length = 0;
    expect(outcome(etrack(cpu, SECS))).toBe('ok');
  });
  it('does not mind threads that entered after the last ETRACK', () => {
    const { cpu, threads } = new TestEnclave();
    etrack(cpu, SECS);
    threads.entered.push({ secs: SECS, epoch: cpu.secs(SECS).epoch });
    expect(outcome(etrack(cpu, SECS))).toBe('ok');
  });
});
