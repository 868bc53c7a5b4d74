import { describe, expect, it } from 'vitest';

import { Attributes, Enclu, Gprsgx, Tcs, TcsFlags, Xfrm } from '../../../src/abi/sgx-arch.ts';
import { Rflags } from '../../../src/abi/x86.ts';
import { eblock } from '../../../src/processor/encls/eblock.ts';
import { emodpr } from '../../../src/processor/encls/emodpr.ts';
import { emodt } from '../../../src/processor/encls/emodt.ts';
import { checkEnter } from '../../../src/processor/enclu/check-enter.ts';
import { eenter } from '../../../src/processor/enclu/eenter.ts';
import { createVirtualThread } from '../../../src/processor/enclu/virtual-thread.ts';
import { BASE, Flags, Offset, outcome, secInfo, SECS, TestEnclave } from './enclave.ts';

const AEP = 0x40_1000n;
const FRAME2 = Offset.SSA + 0x1000;

function enter(
  enclave: TestEnclave,
  thread = createVirtualThread(),
  tcs: number = BASE + Offset.TCS,
  aep = AEP,
): string {
  return outcome(eenter(enclave.cpu, enclave.access, thread, tcs, aep));
}

const withTcs = (tcs: Parameters<typeof Tcs.encode>[0]) => new TestEnclave({ tcs });
const tcsOf = (enclave: TestEnclave) => Tcs.decode(enclave.read(Offset.TCS));

/** Changes a field of the TCS in the EPC, as software cannot. */
function poke(enclave: TestEnclave, change: Parameters<typeof Tcs.encode>[0]): TestEnclave {
  const bytes = enclave.read(Offset.TCS);
  Object.assign(Tcs.view(bytes), change);
  enclave.write(Offset.TCS, bytes);
  return enclave;
}

describe('EENTER', () => {
  it('goes to OENTRY with CSSA in RAX and the return address in RCX; other registers stay', () => {
    const enclave = withTcs({ ofsBase: 0x4000n, ogsBase: 0x5000n });
    const thread = createVirtualThread({
      rip: 0x40_0000n,
      rsp: 0x7ffc_0000n,
      rbp: 0x7ffc_0100n,
      rdi: 42n,
      fsBase: 1n,
      gsBase: 2n,
    });
    expect(enter(enclave, thread)).toBe('ok');
    expect(thread.registers).toMatchObject({
      rax: 0n,
      rcx: 0x40_0003n,
      rip: BigInt(BASE + Offset.CODE),
      rsp: 0x7ffc_0000n,
      rdi: 42n,
      fsBase: BigInt(BASE + 0x4000),
      gsBase: BigInt(BASE + 0x5000),
    });
    expect(thread.inside).toMatchObject({ secs: SECS, tcsAddress: BASE + Offset.TCS, aep: AEP });
  });

  it('marks the TCS active, keeps the AEP there, and RSP and RBP in the frame', () => {
    const enclave = new TestEnclave();
    enter(enclave, createVirtualThread({ rsp: 0x1234n, rbp: 0x5678n }));
    expect(tcsOf(enclave)).toMatchObject({ state: 1n, aep: AEP, cssa: 0 });
    const gpr = Gprsgx.decode(enclave.read(Offset.SSA + 4096 - Gprsgx.sizeBytes, Gprsgx.sizeBytes));
    expect(gpr).toMatchObject({ ursp: 0x1234n, urbp: 0x5678n });
  });

  it('clears TF on an opt-out entry and keeps it on an opt-in one', () => {
    const { TF } = Rflags.mask;
    const optOut = createVirtualThread({ rflags: TF | 0x202n });
    enter(new TestEnclave(), optOut);
    expect(optOut.registers.rflags & TF).toBe(0n);
    const optIn = createVirtualThread({ rflags: TF | 0x202n });
    enter(poke(new TestEnclave(), { flags: TcsFlags.mask.DBGOPTIN }), optIn);
    expect(optIn.registers.rflags & TF).toBe(TF);
  });

  it('enters a frame further when CSSA is 1', () => {
    const thread = createVirtualThread();
    expect(enter(poke(new TestEnclave(), { cssa: 1 }), thread)).toBe('ok');
    expect(thread.registers.rax).toBe(1n);
  });

  it('#GP: the thread is outside of enclaves', () => {
    const thread = createVirtualThread();
    enter(new TestEnclave(), thread);
    expect(enter(new TestEnclave(), thread)).toBe('#GP: the thread is outside of enclaves');
  });
  it('#GP: RBX is 4096-byte aligned', () => {
    expect(enter(new TestEnclave(), undefined, BASE + 8)).toBe('#GP: RBX is 4096-byte aligned');
  });
  it('#PF: the TCS is in the EPC and mapped', () => {
    const result = enter(new TestEnclave(), undefined, BASE + Offset.HOLE);
    expect(result).toBe('#PF 0x4 @0x7f0000008000: the TCS is in the EPC and mapped');
  });
  it('#GP: the AEP is canonical', () => {
    expect(enter(new TestEnclave(), undefined, undefined, 1n << 47n)).toBe('#GP: the AEP is canonical');
  });
  it.each<[string, (enclave: TestEnclave) => void]>([
    ['PT_REG', (enclave) => enclave.pages.set(Offset.TCS, enclave.at(Offset.DATA))],
    ['BLOCKED', (enclave) => void eblock(enclave.cpu, enclave.at(Offset.TCS))],
    ['MODIFIED', (enclave) => void emodt(enclave.cpu, secInfo(Flags.TRIM), enclave.at(Offset.TCS))],
    ['not valid', (enclave) => enclave.cpu.epcm.remove(enclave.at(Offset.TCS))],
  ])('#PF: RBX is a TCS (%s)', (_what, spoil) => {
    const enclave = new TestEnclave();
    spoil(enclave);
    expect(enter(enclave)).toBe('#PF 0x8005 @0x7f0000000000: RBX is a TCS');
  });
  it('#PF: RBX is a TCS (at another address)', () => {
    const enclave = new TestEnclave();
    enclave.pages.set(Offset.HOLE, enclave.at(Offset.TCS));
    expect(enter(enclave, undefined, BASE + Offset.HOLE)).toBe('#PF 0x8005 @0x7f0000008000: RBX is a TCS');
  });
  it.each<[string, Parameters<typeof Tcs.encode>[0]]>([
    ['TCS.OSSA is page-aligned', { ossa: 0x1100n }],
    ['TCS.OFSBASE is page-aligned', { ofsBase: 0x10n }],
    ['TCS.OGSBASE is page-aligned', { ogsBase: 0x10n }],
    ['TCS.FLAGS reserved bits are zero', { flags: 4n }],
    ['TCS.FLAGS.AEXNOTIFY is SECS.ATTRIBUTES.AEXNOTIFY', { flags: TcsFlags.mask.AEXNOTIFY }],
    ['TCS.CSSA is below TCS.NSSA', { nssa: 0 }],
    ['the target RIP is canonical', { oentry: 1n << 62n }],
    ['FS base is canonical', { ofsBase: 1n << 62n }],
    ['GS base is canonical', { ogsBase: 1n << 62n }],
  ])('#GP: %s', (check, tcs) => {
    const enclave = withTcs(tcs);
    const thread = createVirtualThread({ rip: 5n });
    expect(enter(enclave, thread)).toBe(`#GP: ${check}`);
    expect(thread.registers.rip).toBe(5n);
    expect(tcsOf(enclave).state).toBe(0n);
  });
  it('#GP: SECS.ATTRIBUTES.INIT is 1', () => {
    expect(enter(new TestEnclave({ initialise: false }))).toBe('#GP: SECS.ATTRIBUTES.INIT is 1');
  });
  it('#GP: the thread is in the mode of SECS.ATTRIBUTES.MODE64BIT', () => {
    const enclave = new TestEnclave();
    enclave.cpu.secs(SECS).fields.attributes &= ~Attributes.mask.MODE64BIT;
    expect(enter(enclave)).toBe('#GP: the thread is in the mode of SECS.ATTRIBUTES.MODE64BIT');
  });
  it('#GP: SECS.XFRM is enabled in XCR0', () => {
    const enclave = new TestEnclave();
    enclave.cpu.secs(SECS).fields.xfrm |= Xfrm.mask.BNDREGS;
    expect(enter(enclave)).toBe('#GP: SECS.XFRM is enabled in XCR0');
  });
  it('#GP: TCS.CSSA is below TCS.NSSA (all frames used)', () => {
    expect(enter(poke(new TestEnclave(), { cssa: 2 }))).toBe('#GP: TCS.CSSA is below TCS.NSSA');
  });
  it('#GP: TCS.STATE is INACTIVE', () => {
    const enclave = new TestEnclave();
    expect(enter(enclave)).toBe('ok');
    expect(enter(enclave)).toBe('#GP: TCS.STATE is INACTIVE');
  });

  describe('the SSA frame', () => {
    it('#PF: SSA frame 0 is in the EPC and mapped', () => {
      const enclave = new TestEnclave();
      enclave.pages.delete(Offset.SSA);
      expect(enter(enclave)).toBe('#PF 0x4 @0x7f0000001000: SSA frame 0 is in the EPC and mapped');
    });
    it('#PF: EPCM lets the enclave use it (not writable)', () => {
      const enclave = new TestEnclave();
      emodpr(enclave.cpu, secInfo(Flags.R), enclave.at(Offset.SSA));
      expect(enter(enclave)).toBe('#PF 0x8007 @0x7f0000001000: EPCM lets the enclave use 0x7f0000001000');
    });
    it('is checked for CSSA only: frame 1 need not be there for a first entry', () => {
      const enclave = new TestEnclave();
      enclave.pages.delete(FRAME2);
      expect(enter(enclave)).toBe('ok');
      const nested = poke(new TestEnclave(), { cssa: 1 });
      nested.pages.delete(FRAME2);
      expect(enter(nested)).toBe('#PF 0x4 @0x7f0000002000: SSA frame 1 is in the EPC and mapped');
    });
    it('is checked in its first pages for XSAVE and its last for GPRSGX, not between', () => {
      const enclave = new TestEnclave({ secs: { ssaFrameSize: 3 }, tcs: { ossa: 0x8000n } });
      for (const offset of [0x8000, 0xa000]) enclave.pages.set(offset, enclave.at(Offset.DATA));
      expect(enter(enclave)).toMatch(/^#PF 0x8007 @0x7f0000008000/);
      enclave.pages.delete(0xa000);
      const first = enclave.at(Offset.SSA);
      enclave.cpu.epcm.add(first, Flags.REG_RW, SECS, ((BASE + 0x8000) / 4096) as never);
      enclave.pages.set(0x8000, first);
      expect(enter(enclave)).toBe('#PF 0x4 @0x7f000000a000: SSA frame 0 is in the EPC and mapped');
    });
  });

  describe('on behalf of a real thread (checkState: false)', () => {
    const check = (enclave: TestEnclave, leaf: 2 | 3 = Enclu.EENTER, cssa?: number) =>
      checkEnter(enclave.cpu, enclave.access, BASE + Offset.TCS, AEP, leaf, {
        checkState: false,
        ...(cssa !== undefined && { cssa }),
      });

    it('gives the parameters that the stub needs', () => {
      expect(check(withTcs({ ofsBase: 0x4000n, fsLimit: 0xfff }))).toMatchObject({
        kind: 'ok',
        value: {
          base: BASE,
          sizeBytes: 0x10_0000,
          oentry: Offset.CODE,
          ossa: Offset.SSA,
          nssa: 2,
          ssaFrameSizeBytes: 4096,
          ofsBase: 0x4000,
          ogsBase: 0,
          flags: 0n,
          xfrm: 3n,
          miscSelect: 0,
        },
      });
    });
    it('leaves TCS.STATE and CSSA to the stub', () => {
      expect(outcome(check(poke(new TestEnclave(), { state: 1n, cssa: 2 })))).toBe('ok');
      expect(outcome(check(new TestEnclave(), Enclu.ERESUME))).toBe('ok');
    });
    it('looks at the frame of the CSSA that it is told', () => {
      const enclave = new TestEnclave();
      enclave.pages.delete(FRAME2);
      expect(outcome(check(enclave))).toBe('ok');
      expect(outcome(check(enclave, Enclu.EENTER, 1))).toBe(
        '#PF 0x4 @0x7f0000002000: SSA frame 1 is in the EPC and mapped',
      );
    });
  });
});
