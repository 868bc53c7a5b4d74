import { describe, expect, it } from 'vitest';

import { Tcs } from '../../../src/abi/sgx-arch.ts';
import { Rflags } from '../../../src/abi/x86.ts';
import { eenter } from '../../../src/processor/enclu/eenter.ts';
import { eexit } from '../../../src/processor/enclu/eexit.ts';
import { createVirtualThread, VirtualThreads } from '../../../src/processor/enclu/virtual-thread.ts';
import { BASE, Offset, outcome, SECS, TestEnclave } from './enclave.ts';

const AEP = 0x40_1000n;
const TCS = BASE + Offset.TCS;

function inside(thread = createVirtualThread({ fsBase: 11n, gsBase: 12n, rflags: Rflags.mask.TF | 0x202n })) {
  const enclave = new TestEnclave();
  expect(outcome(eenter(enclave.cpu, enclave.access, thread, TCS, AEP))).toBe('ok');
  return { enclave, thread };
}

describe('EEXIT', () => {
  it('goes to RBX with the AEP in RCX, segment bases and TF restored, all else as the enclave left it', () => {
    const { enclave, thread } = inside();
    Object.assign(thread.registers, { rsp: 0x77n, rdi: 0x88n });
    expect(outcome(eexit(enclave.cpu, thread, 0x40_2000n))).toBe('ok');
    expect(thread.registers).toMatchObject({
      rip: 0x40_2000n,
      rcx: AEP,
      rsp: 0x77n,
      rdi: 0x88n,
      fsBase: 11n,
      gsBase: 12n,
    });
    expect(thread.registers.rflags & Rflags.mask.TF).toBe(Rflags.mask.TF);
    expect(thread.inside).toBeUndefined();
  });
  it('frees the TCS and leaves CSSA', () => {
    const { enclave, thread } = inside();
    eexit(enclave.cpu, thread, 0n);
    expect(Tcs.decode(enclave.read(Offset.TCS))).toMatchObject({ state: 0n, cssa: 0 });
  });
  it('may go anywhere, even into ELRANGE', () => {
    const { enclave, thread } = inside();
    expect(outcome(eexit(enclave.cpu, thread, BigInt(BASE)))).toBe('ok');
  });
  it('#GP: the thread is inside an enclave', () => {
    expect(outcome(eexit(new TestEnclave().cpu, createVirtualThread(), 0n))).toBe(
      '#GP: the thread is inside an enclave',
    );
  });
  it('#GP: RBX is canonical', () => {
    const { enclave, thread } = inside();
    expect(outcome(eexit(enclave.cpu, thread, 1n << 47n))).toBe('#GP: RBX is canonical');
    expect(thread.inside).toBeDefined();
  });
  it('is what tracking waits for', () => {
    const threads = new VirtualThreads();
    const thread = threads.create();
    const { enclave } = inside(thread);
    const { epoch } = enclave.cpu.secs(SECS);
    expect([threads.inside(SECS), threads.enteredBefore(SECS, epoch), threads.enteredBefore(SECS, epoch + 1)]).toEqual([
      1, 0, 1,
    ]);
    eexit(enclave.cpu, thread, 0n);
    expect(threads.inside(SECS)).toBe(0);
    threads.end(thread);
    expect(threads.enteredBefore(SECS, epoch + 1)).toBe(0);
  });
});
