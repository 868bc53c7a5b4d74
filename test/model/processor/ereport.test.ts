import { describe, expect, it } from 'vitest';

import { Attributes, Report, TargetInfo } from '../../../src/abi/sgx-arch.ts';
import { eblock } from '../../../src/processor/encls/eblock.ts';
import { emodpr } from '../../../src/processor/encls/emodpr.ts';
import { ereport } from '../../../src/processor/enclu/ereport.ts';
import { BASE, Flags, Offset, outcome, pattern, secInfo, SECS, SIZE, TestEnclave } from './enclave.ts';

const { MODE64BIT, DEBUG, INIT, KSS } = Attributes.mask;
const TARGET = BASE + Offset.DATA;
const DATA = BASE + Offset.DATA + 0x800;
const OUTPUT = BASE + Offset.DATA2 + 512;

interface Registers {
  readonly rbx?: number;
  readonly rcx?: number;
  readonly rdx?: number;
}

function report(enclave: TestEnclave, { rbx = TARGET, rcx = DATA, rdx = OUTPUT }: Registers = {}): string {
  return outcome(ereport(enclave.cpu, enclave.access, rbx, rcx, rdx));
}

function build(target: Uint8Array = new Uint8Array(512), profileName = 'sapphire-rapids'): TestEnclave {
  const enclave = new TestEnclave({ profileName });
  enclave.write(Offset.DATA, target);
  return enclave;
}

describe('EREPORT', () => {
  it('says who the enclave is, with the data it was given', () => {
    const configId = new Uint8Array(64).fill(9);
    const enclave = new TestEnclave({
      initialise: false,
      secs: { attributes: MODE64BIT | DEBUG | KSS, miscSelect: 1, configId, configSvn: 6 },
    });
    const isvFamilyId = new Uint8Array(16).fill(3);
    const isvExtProdId = new Uint8Array(16).fill(4);
    const body = { isvProdId: 7, isvSvn: 8, isvFamilyId, isvExtProdId, miscSelect: 1 };
    expect(outcome(enclave.init(body))).toBe('ok');
    enclave.write(Offset.DATA, new Uint8Array(512));
    const before = enclave.read(Offset.DATA2);
    expect(report(enclave)).toBe('ok');

    const { mrEnclave, mrSigner } = enclave.cpu.secs(SECS).fields;
    expect(Report.decode(enclave.read(Offset.DATA2 + 512, Report.sizeBytes))).toEqual({
      cpuSvn: enclave.cpu.fuses.cpuSvn,
      miscSelect: 1,
      cetAttributes: 0,
      isvExtProdId,
      attributes: MODE64BIT | DEBUG | KSS | INIT,
      xfrm: 3n,
      mrEnclave,
      mrSigner,
      configId,
      isvProdId: 7,
      isvSvn: 8,
      configSvn: 6,
      isvFamilyId,
      reportData: pattern(2).subarray(0x800, 0x840),
      keyId: enclave.cpu.reportKeyId,
      mac: expect.any(Uint8Array) as Uint8Array,
    });
    // Nothing around it is touched.
    const after = enclave.read(Offset.DATA2);
    after.set(before.subarray(512, 512 + 432), 512);
    expect(after).toEqual(before);
  });

  it('has a KEYID that stays until the processor is reset, and is another then', () => {
    const [one, two] = [build(), build()];
    expect(one.cpu.reportKeyId.some((byte) => byte !== 0)).toBe(true);
    expect(two.cpu.reportKeyId).toEqual(one.cpu.reportKeyId); // the same seed
    const { cpu } = new TestEnclave({ entropy: { fill: (bytes) => void bytes.fill(0x77) } });
    expect(cpu.reportKeyId).toEqual(new Uint8Array(32).fill(0x77));
  });

  it('#GP: RBX is 512-byte aligned', () => {
    expect(report(build(), { rbx: TARGET + 64 })).toBe('#GP: RBX is 512-byte aligned');
  });
  it.each([BASE - 512, BASE + SIZE])('#GP: RBX is in ELRANGE (%i)', (rbx) => {
    expect(report(build(), { rbx })).toBe('#GP: RBX is in ELRANGE');
  });
  it('#PF: RBX is in the EPC and mapped', () => {
    expect(report(build(), { rbx: BASE + Offset.HOLE })).toBe('#PF 0x4 @0x7f0000008000: RBX is in the EPC and mapped');
  });
  it('#PF: EPCM lets the enclave use RBX (a TCS), #GP on a processor with SGX1 only', () => {
    const rbx = BASE + Offset.TCS;
    expect(report(build(), { rbx })).toMatch(/^#PF 0x8005 @0x7f0000000000: EPCM lets/);
    expect(report(build(new Uint8Array(512), 'skylake'), { rbx })).toMatch(/^#GP: EPCM lets/);
  });
  it.each([49, 56, 63, 128, 511])('#GP: TARGETINFO reserved fields are zero (byte %i)', (offset) => {
    expect(report(build(new Uint8Array(512).with(offset, 1)))).toBe('#GP: TARGETINFO reserved fields are zero');
  });
  it('#GP: TARGETINFO reserved fields are zero (CET_ATTRIBUTES, which no profile has)', () => {
    expect(report(build(TargetInfo.encode({ cetAttributes: 1 })))).toBe('#GP: TARGETINFO reserved fields are zero');
  });
  it('looks at TARGETINFO before it looks at RCX and RDX', () => {
    const enclave = build(new Uint8Array(512).with(511, 1));
    expect(report(enclave, { rcx: 1, rdx: 1 })).toBe('#GP: TARGETINFO reserved fields are zero');
  });

  it('#GP: RCX is 128-byte aligned', () => {
    expect(report(build(), { rcx: DATA + 64 })).toBe('#GP: RCX is 128-byte aligned');
  });
  it('#GP: RCX is in ELRANGE', () => {
    expect(report(build(), { rcx: BASE + SIZE })).toBe('#GP: RCX is in ELRANGE');
  });
  it('#PF: RCX is in the EPC and mapped', () => {
    expect(report(build(), { rcx: BASE + Offset.HOLE })).toBe('#PF 0x4 @0x7f0000008000: RCX is in the EPC and mapped');
  });
  it('#PF: EPCM lets the enclave use RCX (no R)', () => {
    const enclave = build();
    emodpr(enclave.cpu, secInfo(Flags.X), enclave.at(Offset.CODE));
    expect(report(enclave, { rcx: BASE + Offset.CODE })).toMatch(/^#PF 0x8005 @0x7f0000003000: EPCM lets/);
  });

  it('#GP: RDX is 512-byte aligned', () => {
    expect(report(build(), { rdx: OUTPUT + 128 })).toBe('#GP: RDX is 512-byte aligned');
  });
  it('#GP: RDX is in ELRANGE', () => {
    expect(report(build(), { rdx: BASE - 512 })).toBe('#GP: RDX is in ELRANGE');
  });
  it('#PF: RDX is in the EPC and mapped (a write)', () => {
    expect(report(build(), { rdx: BASE + Offset.HOLE })).toBe('#PF 0x6 @0x7f0000008000: RDX is in the EPC and mapped');
  });
  it('#PF: the mapping of RDX can be written', () => {
    const enclave = build();
    enclave.readOnly.add(Offset.DATA2);
    expect(report(enclave)).toBe('#PF 0x7 @0x7f0000005000: the mapping of RDX can be written');
  });
  it('#PF: EPCM lets the enclave use RDX (no W)', () => {
    expect(report(build(), { rdx: BASE + Offset.CODE })).toMatch(/^#PF 0x8007 @0x7f0000003000: EPCM lets/);
  });
  it('#PF: EPCM lets the enclave use RDX (BLOCKED)', () => {
    const enclave = build();
    eblock(enclave.cpu, enclave.at(Offset.DATA2));
    expect(report(enclave)).toMatch(/^#PF 0x8007 @0x7f0000005000: EPCM lets/);
  });
});
