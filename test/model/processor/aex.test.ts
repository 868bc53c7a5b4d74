import { describe, expect, it } from 'vitest';

import { ExitInfo, Exinfo, Gprsgx, MiscSelect, Tcs } from '../../../src/abi/sgx-arch.ts';
import { Rflags, Vector } from '../../../src/abi/x86.ts';
import { readU32, readU64, writeU64 } from '../../../src/lib/bytes.ts';
import { aex, type ExceptionEvent } from '../../../src/processor/enclu/aex.ts';
import { eenter } from '../../../src/processor/enclu/eenter.ts';
import { createVirtualThread } from '../../../src/processor/enclu/virtual-thread.ts';
import { BASE, Offset, outcome, TestEnclave } from './enclave.ts';

const AEP = 0x40_1000n;
const GPR_OFFSET = Offset.SSA + 4096 - Gprsgx.sizeBytes;
const { TF, RF, CF, ZF, DF } = Rflags.mask;

/** A thread inside, with values of its own in all registers. */
function inside(miscSelect = 0) {
  const enclave = new TestEnclave({ secs: { miscSelect } });
  const thread = createVirtualThread({ rsp: 0x1000n, rbp: 0x2000n, fsBase: 11n, gsBase: 12n, rflags: TF | 0x202n });
  expect(outcome(eenter(enclave.cpu, enclave.access, thread, BASE + Offset.TCS, AEP))).toBe('ok');
  const inner = {
    rax: 1n,
    rbx: 2n,
    rcx: 3n,
    rdx: 4n,
    rsi: 5n,
    rdi: 6n,
    rbp: 7n,
    rsp: 8n,
    r8: 9n,
    r15: 10n,
    rip: BigInt(BASE + 0x3010),
  };
  Object.assign(thread.registers, inner);
  thread.registers.rflags = CF | ZF | DF | 0x202n;
  const leave = (event?: ExceptionEvent) => aex(enclave.cpu, thread, event);
  const gpr = () => Gprsgx.decode(enclave.read(GPR_OFFSET, Gprsgx.sizeBytes));
  return { enclave, thread, inner, leave, gpr };
}

describe('AEX', () => {
  it('saves the registers in the frame and shows synthetic ones from which ENCLU is ERESUME', () => {
    const { thread, inner, leave, gpr } = inside();
    leave();
    expect(gpr()).toMatchObject({
      ...inner,
      ursp: 0x1000n,
      urbp: 0x2000n,
      exitInfo: 0,
      fsBase: BigInt(BASE),
      gsBase: BigInt(BASE),
    });
    expect(thread.registers).toMatchObject({
      rax: 3n,
      rbx: BigInt(BASE + Offset.TCS),
      rcx: AEP,
      rip: AEP,
      rsp: 0x1000n,
      rbp: 0x2000n,
      fsBase: 11n,
      gsBase: 12n,
    });
    const { rdx, rsi, rdi, r8, r15 } = thread.registers;
    expect([rdx, rsi, rdi, r8, r15]).toEqual([0n, 0n, 0n, 0n, 0n]);
    expect(thread.inside).toBeUndefined();
  });

  it('clears the arithmetic flags, keeps DF and gives TF back', () => {
    const { thread, leave, gpr } = inside();
    leave();
    expect(thread.registers.rflags).toBe(TF | DF | 0x202n);
    expect(gpr().rflags).toBe(CF | ZF | DF | 0x202n);
  });

  it('frees the TCS and raises CSSA', () => {
    const { enclave, leave } = inside();
    leave();
    expect(Tcs.decode(enclave.read(Offset.TCS))).toMatchObject({ state: 0n, cssa: 1 });
  });

  it('saves the XSAVE area with XFRM, 16 zero bytes behind XSTATE_BV, and initializes it', () => {
    const { enclave, thread, leave } = inside();
    thread.xsave.fill(0x5a, 32, 416);
    thread.xsave.fill(0xff, 520, 536);
    writeU64(thread.xsave, 512, 7n);
    leave();
    const saved = enclave.read(Offset.SSA, 576);
    expect(saved.subarray(32, 416)).toEqual(new Uint8Array(384).fill(0x5a));
    expect(readU64(saved, 512)).toBe(3n);
    expect(saved.subarray(520, 536)).toEqual(new Uint8Array(16));
    expect(thread.xsave.subarray(32, 416)).toEqual(new Uint8Array(384));
    expect([readU32(thread.xsave, 0), readU32(thread.xsave, 24)]).toEqual([0x37f, 0x1fb0]);
  });

  it.each([
    [Vector.MF, 0x8081_037e, 0x1fb0],
    [Vector.XM, 0x37f, 0x1f01],
  ])('shows control and status words of vector %i', (vector, x87, mxcsr) => {
    const { thread, leave } = inside();
    leave({ vector });
    expect([readU32(thread.xsave, 0), readU32(thread.xsave, 24)]).toEqual([x87, mxcsr]);
  });

  it.each([Vector.DE, Vector.DB, Vector.BR, Vector.UD, Vector.MF, Vector.AC, Vector.XM])(
    'reports vector %i in EXITINFO',
    (vector) => {
      const { leave, gpr } = inside();
      leave({ vector });
      expect(ExitInfo.format(gpr().exitInfo)).toBe(`VECTOR=${vector}|TYPE=HARDWARE|VALID`.replace('VECTOR=0|', ''));
    },
  );
  it('reports #BP as a software exception', () => {
    const { leave, gpr } = inside();
    leave({ vector: Vector.BP });
    expect(ExitInfo.format(gpr().exitInfo)).toBe('VECTOR=3|TYPE=SOFTWARE|VALID');
  });
  it('sets RF in the frame for faults, not for interrupts', () => {
    const [fault, interrupt] = [inside(), inside()];
    fault.leave({ vector: Vector.UD });
    interrupt.leave();
    expect([fault.gpr().rflags & RF, interrupt.gpr().rflags & RF]).toEqual([RF, 0n]);
  });
  it('hides #PF and #GP without MISCSELECT.EXINFO', () => {
    const { leave, gpr } = inside();
    leave({ vector: Vector.PF, errorCode: 7, address: BASE });
    expect(gpr().exitInfo).toBe(0);
  });
  it('reports #PF and its address and error code with MISCSELECT.EXINFO', () => {
    const { enclave, leave, gpr } = inside(MiscSelect.bit.EXINFO);
    leave({ vector: Vector.PF, errorCode: 0x8007, address: BASE + 0x4000 });
    expect(ExitInfo.format(gpr().exitInfo)).toBe('VECTOR=14|TYPE=HARDWARE|VALID');
    const exinfo = Exinfo.decode(enclave.read(GPR_OFFSET - Exinfo.sizeBytes, Exinfo.sizeBytes));
    expect(exinfo).toEqual({ maddr: BigInt(BASE + 0x4000), errcd: 0x8007 });
  });
  it('of a thread in no enclave is a bug of the caller', () => {
    expect(() => aex(new TestEnclave().cpu, createVirtualThread())).toThrow('in no enclave');
  });
});
