import { describe, expect, it } from 'vitest';

import { Enclu, Tcs } from '../../../src/abi/sgx-arch.ts';
import { eblock } from '../../../src/processor/encls/eblock.ts';
import { emodpr } from '../../../src/processor/encls/emodpr.ts';
import { aex } from '../../../src/processor/enclu/aex.ts';
import { edeccssa } from '../../../src/processor/enclu/edeccssa.ts';
import { eenter } from '../../../src/processor/enclu/eenter.ts';
import { enclu } from '../../../src/processor/enclu/enclu.ts';
import { createVirtualThread } from '../../../src/processor/enclu/virtual-thread.ts';
import { BASE, Flags, Offset, outcome, secInfo, TestEnclave } from './enclave.ts';

const TCS = BASE + Offset.TCS;

/** A thread inside, over an entry that was interrupted: CSSA is 1. */
function nested(profileName = 'sapphire-rapids'): TestEnclave {
  const enclave = new TestEnclave({ profileName });
  const thread = createVirtualThread();
  eenter(enclave.cpu, enclave.access, thread, TCS, 0x1000n);
  aex(enclave.cpu, thread);
  expect(outcome(eenter(enclave.cpu, enclave.access, thread, TCS, 0x1000n))).toBe('ok');
  return enclave;
}

const decrement = (enclave: TestEnclave, tcs = TCS) => outcome(edeccssa(enclave.cpu, enclave.access, tcs));
const tcsOf = (enclave: TestEnclave) => Tcs.decode(enclave.read(Offset.TCS));

describe('EDECCSSA', () => {
  it('decrements TCS.CSSA and nothing else', () => {
    const enclave = nested();
    const before = tcsOf(enclave);
    expect(before.cssa).toBe(1);
    expect(decrement(enclave)).toBe('ok');
    expect(tcsOf(enclave)).toEqual({ ...before, cssa: 0 });
  });
  it('#GP: TCS.CSSA is not 0', () => {
    const enclave = nested();
    decrement(enclave);
    expect(decrement(enclave)).toBe('#GP: TCS.CSSA is not 0');
  });
  it('#PF: SSA frame 0 is in the EPC and mapped', () => {
    const enclave = nested();
    enclave.pages.delete(Offset.SSA);
    expect(decrement(enclave)).toBe('#PF 0x4 @0x7f0000001000: SSA frame 0 is in the EPC and mapped');
  });
  it('#PF: the mapping of SSA frame 0 can be written', () => {
    const enclave = nested();
    enclave.readOnly.add(Offset.SSA);
    expect(decrement(enclave)).toBe('#PF 0x7 @0x7f0000001000: the mapping of SSA frame 0 can be written');
  });
  it.each<[string, (enclave: TestEnclave) => unknown]>([
    ['W', (enclave) => emodpr(enclave.cpu, secInfo(Flags.R), enclave.at(Offset.SSA))],
    ['BLOCKED', (enclave) => eblock(enclave.cpu, enclave.at(Offset.SSA))],
    ['ENCLAVEADDRESS', (enclave) => enclave.pages.set(Offset.SSA, enclave.at(Offset.DATA))],
  ])('#PF: EPCM lets the enclave use SSA frame 0 (%s)', (_field, spoil) => {
    const enclave = nested();
    spoil(enclave);
    expect(decrement(enclave)).toMatch(/^#PF 0x8007 @0x7f0000001000: EPCM lets/);
    expect(tcsOf(enclave).cssa).toBe(1);
  });
  it('does not need the frame that it leaves', () => {
    const enclave = nested();
    enclave.pages.delete(Offset.SSA + 4096);
    expect(decrement(enclave)).toBe('ok');
  });
  it.each([
    [TCS + 8, '#GP: the TCS is 4096-byte aligned'],
    [BASE + Offset.HOLE, '#PF 0x4 @0x7f0000008000: the TCS is in the EPC and mapped'],
    [BASE + Offset.DATA, '#PF 0x8005 @0x7f0000004000: RBX is a TCS'],
  ])('whoever says a wrong TCS (%i) is refused: %s', (tcs, refusal) => {
    expect(decrement(nested(), tcs)).toBe(refusal);
  });
  it.each(['skylake', 'icelake'])('#GP: the leaf is supported (%s)', (profileName) => {
    expect(decrement(nested(profileName))).toBe('#GP: the leaf is supported');
  });
});

describe('ENCLU', () => {
  it.each([Enclu.EENTER, Enclu.ERESUME, Enclu.EEXIT, Enclu.EVERIFYREPORT2, 10, 0xffff_ffff])(
    '#GP: EAX is a leaf for enclaves (%i)',
    (leaf) => {
      const { cpu, access } = new TestEnclave();
      expect(outcome(enclu(cpu, access, leaf, { rbx: 0, rcx: 0, rdx: 0 }, TCS))).toBe(
        '#GP: EAX is a leaf for enclaves',
      );
    },
  );
});
