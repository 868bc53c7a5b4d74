import { describe, expect, it } from 'vitest';

import { epcIndex } from '../../../src/lib/units.ts';
import { epa } from '../../../src/processor/encls/epa.ts';
import { testProcessor } from '../../../src/processor/testing/processor.ts';
import { NOT_EPC, outcome } from './enclave.ts';

describe('EPA', () => {
  const page = epcIndex(3);

  it('makes a PT_VA page with 512 empty slots', () => {
    const { cpu } = testProcessor();
    expect(outcome(epa(cpu, page))).toBe('ok');
    expect(cpu.versionArray(page)).toEqual(new BigUint64Array(512));
    expect(cpu.epcm.secInfoFlags(page)).toBe(0x300);
  });
  it('#PF: RCX is in the EPC', () => {
    expect(outcome(epa(testProcessor().cpu, NOT_EPC))).toBe('#PF 0x3: RCX is in the EPC');
  });
  it('#PF: EPCM.VALID is 0', () => {
    const { cpu } = testProcessor();
    epa(cpu, page);
    expect(outcome(epa(cpu, page))).toBe('#PF 0x8003: EPCM.VALID is 0');
  });
});
