import { describe, expect, it } from 'vitest';

import { Gprsgx, Tcs } from '../../../src/abi/sgx-arch.ts';
import { Rflags, Vector } from '../../../src/abi/x86.ts';
import { writeU32, writeU64 } from '../../../src/lib/bytes.ts';
import { aex } from '../../../src/processor/enclu/aex.ts';
import { eenter } from '../../../src/processor/enclu/eenter.ts';
import { eexit } from '../../../src/processor/enclu/eexit.ts';
import { eresume } from '../../../src/processor/enclu/eresume.ts';
import { createVirtualThread, type VirtualThread } from '../../../src/processor/enclu/virtual-thread.ts';
import { BASE, Offset, outcome, TestEnclave } from './enclave.ts';

const AEP = 0x40_1000n;
const TCS = BASE + Offset.TCS;
const GPR_OFFSET = Offset.SSA + 4096 - Gprsgx.sizeBytes;

const enter = (enclave: TestEnclave, thread: VirtualThread) =>
  outcome(eenter(enclave.cpu, enclave.access, thread, TCS, AEP));
const resume = (enclave: TestEnclave, thread: VirtualThread) =>
  outcome(eresume(enclave.cpu, enclave.access, thread, TCS, AEP));

/** A thread that was interrupted inside. */
function interrupted() {
  const enclave = new TestEnclave();
  const thread = createVirtualThread({ rsp: 0x1000n, rbp: 0x2000n });
  enter(enclave, thread);
  Object.assign(thread.registers, { rax: 77n, r12: 78n, rsp: 79n, rip: BigInt(BASE + 0x3004) });
  thread.registers.rflags |= Rflags.mask.ZF;
  thread.xsave.fill(0x21, 160, 200);
  const before = { registers: { ...thread.registers }, xsave: thread.xsave.slice(0, 576) };
  aex(enclave.cpu, thread);
  return { enclave, thread, before };
}

describe('ERESUME', () => {
  it('goes on exactly where AEX interrupted', () => {
    const { enclave, thread, before } = interrupted();
    expect(resume(enclave, thread)).toBe('ok');
    expect(thread.registers).toEqual(before.registers);
    expect(thread.xsave.subarray(0, 576)).toEqual(before.xsave);
    expect(Tcs.decode(enclave.read(Offset.TCS))).toMatchObject({ state: 1n, cssa: 0, aep: AEP });
  });

  it('honours what an in-enclave handler wrote into the frame', () => {
    const { enclave, thread } = interrupted();
    const bytes = enclave.read(GPR_OFFSET, Gprsgx.sizeBytes);
    Object.assign(Gprsgx.view(bytes), { rip: BigInt(BASE + 0x3abc), rax: 5n });
    enclave.write(GPR_OFFSET, bytes);
    resume(enclave, thread);
    expect(thread.registers).toMatchObject({ rip: BigInt(BASE + 0x3abc), rax: 5n });
  });

  it('does not rewrite URSP and URBP: a later AEX shows the stack of the EENTER', () => {
    const { enclave, thread } = interrupted();
    thread.registers.rsp = 0xdead_0000n;
    resume(enclave, thread);
    aex(enclave.cpu, thread);
    expect(thread.registers).toMatchObject({ rsp: 0x1000n, rbp: 0x2000n });
  });

  it('works over a nested entry through the same TCS', () => {
    const { enclave, thread, before } = interrupted();
    const handler = createVirtualThread({ rip: 0x500n });
    expect(enter(enclave, handler)).toBe('ok');
    expect(handler.registers.rax).toBe(1n);
    expect(outcome(eexit(enclave.cpu, handler, 0x600n))).toBe('ok');
    expect(resume(enclave, thread)).toBe('ok');
    expect(thread.registers).toEqual(before.registers);
  });

  it('#GP: the thread is outside of enclaves', () => {
    const { enclave, thread } = interrupted();
    resume(enclave, thread);
    expect(resume(enclave, thread)).toBe('#GP: the thread is outside of enclaves');
  });
  it('#GP: TCS.CSSA is not 0', () => {
    expect(resume(new TestEnclave(), createVirtualThread())).toBe('#GP: TCS.CSSA is not 0');
  });
  it('#GP: TCS.STATE is INACTIVE', () => {
    const { enclave, thread } = interrupted();
    enter(enclave, createVirtualThread());
    expect(resume(enclave, thread)).toBe('#GP: TCS.STATE is INACTIVE');
  });
  it('#PF: SSA frame 0 is in the EPC and mapped', () => {
    const { enclave, thread } = interrupted();
    enclave.pages.delete(Offset.SSA);
    expect(resume(enclave, thread)).toBe('#PF 0x4 @0x7f0000001000: SSA frame 0 is in the EPC and mapped');
  });
  it.each(['rip', 'fsBase', 'gsBase'] as const)('#GP: %s in the frame is canonical', (field) => {
    const { enclave, thread } = interrupted();
    const bytes = enclave.read(GPR_OFFSET, Gprsgx.sizeBytes);
    Gprsgx.view(bytes)[field] = 1n << 60n;
    enclave.write(GPR_OFFSET, bytes);
    expect(resume(enclave, thread)).toMatch(/^#GP: (the target RIP|FS base|GS base) is canonical$/);
  });
  it.each<[string, (area: Uint8Array) => void]>([
    ['XSTATE_BV of the frame is within SECS.XFRM', (area) => writeU64(area, 512, 7n)],
    ['bytes 520-535 of the XSAVE area are zero', (area) => area.fill(1, 535, 536)],
    ['MXCSR reserved bits are zero', (area) => writeU32(area, 24, 0x1_0000)],
  ])('#GP: %s', (check, spoil) => {
    const { enclave, thread } = interrupted();
    const area = enclave.read(Offset.SSA, 576);
    spoil(area);
    enclave.write(Offset.SSA, area);
    expect(resume(enclave, thread)).toBe(`#GP: ${check}`);
    expect(thread.inside).toBeUndefined();
    expect(Tcs.decode(enclave.read(Offset.TCS))).toMatchObject({ state: 0n, cssa: 1 });
  });
  it('clears TF on an opt-out entry and takes RF from the frame', () => {
    const { enclave, thread } = interrupted();
    resume(enclave, thread);
    aex(enclave.cpu, thread, { vector: Vector.UD });
    thread.registers.rflags |= Rflags.mask.TF;
    resume(enclave, thread);
    expect(thread.registers.rflags & (Rflags.mask.TF | Rflags.mask.RF)).toBe(Rflags.mask.RF);
  });
});
