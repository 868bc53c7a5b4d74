import { describe, expect, it } from 'vitest';

import { Attributes, Gprsgx, Tcs, TcsFlags } from '../../../src/abi/sgx-arch.ts';
import { Rflags, Vector } from '../../../src/abi/x86.ts';
import { writeU32, writeU64 } from '../../../src/lib/bytes.ts';
import { eblock } from '../../../src/processor/encls/eblock.ts';
import { aex } from '../../../src/processor/enclu/aex.ts';
import { edeccssa } from '../../../src/processor/enclu/edeccssa.ts';
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
  describe('with AEX-Notify', () => {
    /** Interrupted inside; the enclave had asked to be told. */
    function notified(wants = 1) {
      const enclave = new TestEnclave({
        secs: { attributes: Attributes.mask.MODE64BIT | Attributes.mask.AEXNOTIFY },
        tcs: { flags: TcsFlags.mask.AEXNOTIFY, ofsBase: 0x4000n, ogsBase: 0x5000n },
      });
      const thread = createVirtualThread({ rsp: 0x1000n, rbp: 0x2000n });
      expect(enter(enclave, thread)).toBe('ok');
      thread.registers.rsp = 0x77n;
      aex(enclave.cpu, thread);
      enclave.write(GPR_OFFSET + Gprsgx.offsetOf('aexNotify'), Uint8Array.of(wants));
      Object.assign(thread.registers, { rip: 0x40_2000n, rsp: 0x3000n, rbp: 0x4000n, r9: 9n });
      return { enclave, thread };
    }
    const NEXT_GPR_OFFSET = GPR_OFFSET + 4096;

    it('enters at OENTRY with RAX=CSSA, as EENTER would, and keeps the interrupted frame', () => {
      const { enclave, thread } = notified();
      expect(resume(enclave, thread)).toBe('ok');
      expect(thread.registers).toMatchObject({
        rax: 1n,
        rcx: 0x40_2003n,
        rip: BigInt(BASE + Offset.CODE),
        rsp: 0x3000n,
        r9: 9n,
        fsBase: BigInt(BASE + 0x4000),
        gsBase: BigInt(BASE + 0x5000),
      });
      expect(Tcs.decode(enclave.read(Offset.TCS))).toMatchObject({ state: 1n, cssa: 1, aep: AEP });
      const next = Gprsgx.decode(enclave.read(NEXT_GPR_OFFSET, Gprsgx.sizeBytes));
      expect(next).toMatchObject({ ursp: 0x3000n, urbp: 0x4000n });
      expect(Gprsgx.decode(enclave.read(GPR_OFFSET, Gprsgx.sizeBytes))).toMatchObject({ rsp: 0x77n, ursp: 0x1000n });
    });
    it('resumes when the frame does not ask, whatever the other bits of AEXNOTIFY say', () => {
      const { enclave, thread } = notified(0xfe);
      expect(resume(enclave, thread)).toBe('ok');
      expect(thread.registers).toMatchObject({ rsp: 0x77n });
    });
    it('does not look at the XSAVE area', () => {
      const { enclave, thread } = notified();
      enclave.write(Offset.SSA + 520, Uint8Array.of(1));
      expect(resume(enclave, thread)).toBe('ok');
    });
    it('lets EDECCSSA go back to the interrupted frame', () => {
      const { enclave, thread } = notified();
      resume(enclave, thread);
      expect(outcome(edeccssa(enclave.cpu, enclave.access, TCS))).toBe('ok');
      expect(Tcs.decode(enclave.read(Offset.TCS)).cssa).toBe(0);
      aex(enclave.cpu, thread);
      expect(Gprsgx.decode(enclave.read(GPR_OFFSET, Gprsgx.sizeBytes))).toMatchObject({ rsp: 0x3000n });
    });
    it('#GP: TCS.CSSA is below TCS.NSSA (there must be a frame for the next exit)', () => {
      const { enclave, thread } = notified();
      resume(enclave, thread);
      aex(enclave.cpu, thread);
      enclave.write(NEXT_GPR_OFFSET + Gprsgx.offsetOf('aexNotify'), Uint8Array.of(1));
      expect(resume(enclave, thread)).toBe('#GP: TCS.CSSA is below TCS.NSSA');
      expect(Tcs.decode(enclave.read(Offset.TCS))).toMatchObject({ state: 0n, cssa: 2 });
    });
    it('#PF: SSA frame 1 is in the EPC and mapped', () => {
      const { enclave, thread } = notified();
      enclave.pages.delete(Offset.SSA + 4096);
      expect(resume(enclave, thread)).toBe('#PF 0x4 @0x7f0000002000: SSA frame 1 is in the EPC and mapped');
    });
    it.each([
      [0n, Attributes.mask.AEXNOTIFY],
      [TcsFlags.mask.AEXNOTIFY, 0n],
    ])('#GP: TCS.FLAGS.AEXNOTIFY is SECS.ATTRIBUTES.AEXNOTIFY (%s, %s), but for DBGOPTIN', (flags, attributes) => {
      const secs = { attributes: Attributes.mask.MODE64BIT | attributes };
      const enclave = new TestEnclave({ secs, tcs: { flags } });
      const refusal = '#GP: TCS.FLAGS.AEXNOTIFY is SECS.ATTRIBUTES.AEXNOTIFY';
      expect(enter(enclave, createVirtualThread())).toBe(refusal);
      enclave.write(Offset.TCS + 8, Uint8Array.of(Number(flags | TcsFlags.mask.DBGOPTIN)));
      expect(enter(enclave, createVirtualThread())).toBe('ok');
    });
  });
  it("#GP instead of #PF for the EPCM's sake, on a processor with SGX1 only", () => {
    const enclave = new TestEnclave({ profileName: 'skylake' });
    const thread = createVirtualThread();
    enter(enclave, thread);
    aex(enclave.cpu, thread);
    eblock(enclave.cpu, enclave.at(Offset.SSA));
    expect(resume(enclave, thread)).toMatch(/^#GP: EPCM lets the enclave use/);
    eblock(enclave.cpu, enclave.at(Offset.TCS));
    expect(resume(enclave, thread)).toBe('#GP: RBX is a TCS');
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
