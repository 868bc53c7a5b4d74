import { describe, expect, it } from 'vitest';

import { Attributes, MiscSelect, PageType, Xfrm, type Secs } from '../../../src/abi/sgx-arch.ts';
import { epcIndex } from '../../../src/lib/units.ts';
import { ecreate } from '../../../src/processor/encls/ecreate.ts';
import { testProcessor } from '../../../src/processor/testing/processor.ts';
import { NOT_EPC, outcome, secInfo, secsBytes } from './enclave.ts';

const PAGE = epcIndex(5);
const { MODE64BIT, INIT, DEBUG, CET, KSS, AEXNOTIFY } = Attributes.mask;
const { X87, SSE, AVX, OPMASK, ZMM_HI256, HI16_ZMM, TILECFG } = Xfrm.mask;
type Values = Parameters<typeof Secs.encode>[0];

function create(
  values: Values = {},
  change: Partial<Parameters<typeof ecreate>[1]> = {},
  profileName = 'sapphire-rapids',
) {
  const { cpu } = testProcessor({ profileName });
  const operands = { linAddr: 0n, srcPage: secsBytes(values), secInfo: secInfo(0), secs: 0n, ...change };
  return { cpu, result: outcome(ecreate(cpu, operands, PAGE)) };
}

describe('ECREATE', () => {
  it('makes a valid PT_SECS page that carries the values of the source', () => {
    const { cpu, result } = create();
    expect(result).toBe('ok');
    expect(cpu.epcm.typeIfValid(PAGE)).toBe(PageType.SECS);
    expect(cpu.epcm.permissions(PAGE)).toBe(0);
    const secs = cpu.secs(PAGE);
    expect(secs.fields).toMatchObject({ size: 0x10_0000n, attributes: MODE64BIT, xfrm: 3n });
    expect(secs.initialised).toBe(false);
  });

  it('gives every enclave another EID', () => {
    const { cpu } = testProcessor();
    const eids = [3, 4].map((page) => {
      ecreate(cpu, { linAddr: 0n, srcPage: secsBytes(), secInfo: secInfo(0), secs: 0n }, epcIndex(page));
      return cpu.secs(epcIndex(page)).hidden.enclaveId;
    });
    expect(eids).toEqual([1n, 2n]);
  });

  it('clears MRENCLAVE, MRSIGNER, ISVPRODID and ISVSVN, which EINIT sets', () => {
    const dirty = new Uint8Array(32).fill(7);
    const { cpu } = create({ mrEnclave: dirty, mrSigner: dirty, isvProdId: 7, isvSvn: 7 });
    const { mrEnclave, mrSigner, isvProdId, isvSvn } = cpu.secs(PAGE).fields;
    expect([...mrEnclave, ...mrSigner, isvProdId, isvSvn].every((byte) => byte === 0)).toBe(true);
  });

  it('does not keep the source page', () => {
    const srcPage = secsBytes();
    const { cpu } = create({}, { srcPage });
    srcPage.fill(0xff);
    expect(cpu.secs(PAGE).fields.size).toBe(0x10_0000n);
  });

  it('#PF: the destination is in the EPC', () => {
    const { cpu } = testProcessor();
    const operands = { linAddr: 0n, srcPage: secsBytes(), secInfo: secInfo(0), secs: 0n };
    expect(outcome(ecreate(cpu, operands, NOT_EPC))).toBe('#PF 0x3: the destination is in the EPC');
  });

  it('#PF: EPCM.VALID is 0', () => {
    const { cpu } = create();
    const operands = { linAddr: 0n, srcPage: secsBytes(), secInfo: secInfo(0), secs: 0n };
    expect(outcome(ecreate(cpu, operands, PAGE))).toBe('#PF 0x8003: EPCM.VALID is 0');
  });

  it('#GP where #PF would be, on a processor with SGX1 only', () => {
    const { cpu } = create({}, {}, 'skylake');
    const operands = { linAddr: 0n, srcPage: secsBytes(), secInfo: secInfo(0), secs: 0n };
    expect(outcome(ecreate(cpu, operands, PAGE))).toBe('#GP: EPCM.VALID is 0');
  });

  it.each([
    ['PAGEINFO.LINADDR is 0', { linAddr: 0x1000n }],
    ['PAGEINFO.SECS is 0', { secs: 0x1000n }],
    ['SECINFO reserved fields are zero', { secInfo: secInfo(0).fill(1, 40, 41) }],
    ['SECINFO reserved fields are zero', { secInfo: secInfo(1 << 6) }],
    ['SECINFO reserved fields are zero', { secInfo: secInfo(1 << 16) }],
    ['SECINFO.FLAGS.PT is PT_SECS', { secInfo: secInfo(PageType.REG << 8) }],
  ])('#GP: %s', (check, change) => {
    expect(create({}, change).result).toBe(`#GP: ${check}`);
  });

  const cases: [string, Values][] = [
    ['SECS.XFRM has X87 and SSE', { xfrm: X87 }],
    ['XFRM is supported by the processor', { xfrm: X87 | SSE | (1n << 63n) }],
    ['XFRM has all of AVX-512, with AVX, or none', { xfrm: X87 | SSE | AVX | OPMASK }],
    ['XFRM has all of AVX-512, with AVX, or none', { xfrm: X87 | SSE | OPMASK | ZMM_HI256 | HI16_ZMM }],
    ['XFRM has both parts of AMX or none', { xfrm: X87 | SSE | TILECFG }],
    ['SECS.CET_LEG_BITMAP_OFFSET is 0 without CET', { cetLegBitmapOffset: 0x1000n }],
    ['SECS.CET_ATTRIBUTES is 0 without CET', { cetAttributes: 1 }],
    ['SECS.MISCSELECT is supported', { miscSelect: MiscSelect.bit.CPINFO }],
    ['SECS.SSAFRAMESIZE holds XSAVE area, MISC and GPRSGX', { ssaFrameSize: 0 }],
    ['SECS.BASEADDR is canonical', { baseAddr: 1n << 47n }],
    ['SECS.BASEADDR of a 32-bit enclave is below 4 GiB', { attributes: 0n, baseAddr: 1n << 32n }],
    ['SECS.SIZE is below the largest enclave size (CPUID.12H.0:EDX)', { size: 1n << 56n, baseAddr: 0n }],
    [
      'SECS.SIZE is below the largest enclave size (CPUID.12H.0:EDX)',
      { attributes: 0n, size: 1n << 31n, baseAddr: 0n },
    ],
    ['SECS.SIZE is a power of two of at least two pages', { size: 0n }],
    ['SECS.SIZE is a power of two of at least two pages', { size: 0x1000n }],
    ['SECS.SIZE is a power of two of at least two pages', { size: 0x3000n }],
    ['SECS.BASEADDR is aligned to SECS.SIZE', { baseAddr: 0x1000n }],
    ['SECS.ATTRIBUTES is supported', { attributes: MODE64BIT | INIT }],
    ['SECS.ATTRIBUTES is supported', { attributes: MODE64BIT | CET }],
    ['SECS.ATTRIBUTES is supported', { attributes: MODE64BIT | (1n << 8n) }],
    ['CONFIGID and CONFIGSVN are 0 without ATTRIBUTES.KSS', { configSvn: 1 }],
    ['CONFIGID and CONFIGSVN are 0 without ATTRIBUTES.KSS', { configId: new Uint8Array(64).fill(1) }],
  ];
  it.each(cases)('#GP: %s (%#)', (check, values) => {
    expect(create(values).result).toBe(`#GP: ${check}`);
  });

  it.each([33, 47, 96, 127, 160, 191, 262, 4095])('#GP: SECS reserved fields are zero (byte %i)', (offset) => {
    expect(create({}, { srcPage: secsBytes().fill(1, offset, offset + 1) }).result).toBe(
      '#GP: SECS reserved fields are zero',
    );
  });

  it('#GP: XFRM has both parts of MPX or none', () => {
    expect(create({ xfrm: X87 | SSE | Xfrm.mask.BNDREGS }, {}, 'skylake').result).toBe(
      '#GP: XFRM has both parts of MPX or none',
    );
  });

  it('needs one page a frame for AVX-512 with EXINFO, three for AMX', () => {
    const avx512 = X87 | SSE | AVX | OPMASK | ZMM_HI256 | HI16_ZMM;
    expect(create({ xfrm: avx512, miscSelect: MiscSelect.bit.EXINFO }).result).toBe('ok');
    const amx = avx512 | TILECFG | Xfrm.mask.TILEDATA;
    expect(create({ xfrm: amx, ssaFrameSize: 2 }).result).toMatch(/SSAFRAMESIZE/);
    expect(create({ xfrm: amx, ssaFrameSize: 3 }).result).toBe('ok');
  });

  it.each<[string, Values]>([
    ['DEBUG', { attributes: MODE64BIT | DEBUG }],
    ['CONFIGID with KSS', { attributes: MODE64BIT | KSS, configId: new Uint8Array(64).fill(1), configSvn: 2 }],
    ['a base of 0', { baseAddr: 0n }],
    ['a base in the upper half', { baseAddr: 0xffff_8000_0000_0000n }],
    ['a 32-bit enclave', { attributes: 0n, baseAddr: 0x10_0000n }],
    ['two pages', { size: 0x2000n }],
  ])('takes %s', (_what, values) => {
    expect(create(values).result).toBe('ok');
  });

  it('takes AEXNOTIFY where the processor has it', () => {
    const withNotice = (profileName: string) => {
      const { cpu } = testProcessor({ profileName });
      const srcPage = secsBytes({ attributes: MODE64BIT | AEXNOTIFY });
      return outcome(ecreate(cpu, { linAddr: 0n, srcPage, secInfo: secInfo(0), secs: 0n }, PAGE));
    };
    expect(withNotice('sapphire-rapids')).toBe('ok');
    expect(withNotice('icelake')).toBe('#GP: SECS.ATTRIBUTES is supported');
  });
  it('takes nothing from the EPC when it refuses', () => {
    const { cpu } = create({ size: 0n });
    expect(cpu.epcm.valid(PAGE)).toBe(false);
    expect(cpu.secsPages.size).toBe(0);
  });
});
