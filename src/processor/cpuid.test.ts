import { describe, expect, it } from 'vitest';

import { cpuid, type CpuidRegisters, type EpcSection } from './cpuid.ts';
import { limitToHost, processorProfiles } from './profiles.ts';
import { xsaveSizeBytes } from './xsave.ts';

const sections: readonly EpcSection[] = [
  { baseAddress: 0x70_2000_0000n, sizeBytes: 0x600_0000 },
  { baseAddress: 0x80_0000_0000n, sizeBytes: 0x1_0000_1000 },
];
const ZERO: CpuidRegisters = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
const ONES: CpuidRegisters = { eax: 0xffff_ffff, ebx: 0xffff_ffff, ecx: 0xffff_ffff, edx: 0xffff_ffff };
const ask = (leaf: number, subleaf: number, native = ZERO, profile = 'icelake') =>
  cpuid(processorProfiles[profile]!, sections, leaf, subleaf, native);

describe('CPUID', () => {
  it('0: reaches leaf 12H, and no less than the host does', () => {
    expect(ask(0, 0, { ...ZERO, eax: 7 }).eax).toBe(0x12);
    expect(ask(0, 0, { ...ZERO, eax: 0x16 }).eax).toBe(0x16);
  });
  it('7.0: adds SGX and SGX_LC to what the host has', () => {
    expect(ask(7, 0, { eax: 2, ebx: 1, ecx: 2, edx: 3 })).toEqual({ eax: 2, ebx: 5, ecx: 0x4000_0002, edx: 3 });
    expect(ask(7, 0, ONES)).toEqual(ONES);
    expect(ask(7, 1, ONES)).toEqual(ONES);
  });
  it('12H.0: SGX1, SGX2 and EDECCSSA, MISCSELECT, largest sizes; nothing of the host', () => {
    expect(ask(0x12, 0, ONES)).toEqual({ eax: 3, ebx: 1, ecx: 0, edx: 0x381f });
    expect(ask(0x12, 0, ONES, 'skylake')).toEqual({ eax: 1, ebx: 0, ecx: 0, edx: 0x241f });
    expect(ask(0x12, 0, ONES, 'sapphire-rapids')).toEqual({ eax: 0x803, ebx: 1, ecx: 0, edx: 0x381f });
  });
  it('12H.1: the ATTRIBUTES and XFRM that ECREATE allows', () => {
    expect(ask(0x12, 1)).toEqual({ eax: 0xb6, ebx: 0, ecx: 0x2e7, edx: 0 });
    expect(ask(0x12, 1, ZERO, 'skylake')).toEqual({ eax: 0x36, ebx: 0, ecx: 0x1f, edx: 0 });
    expect(ask(0x12, 1, ZERO, 'sapphire-rapids')).toEqual({ eax: 0x4b6, ebx: 0, ecx: 0x602e7, edx: 0 });
  });
  it('12H.2 and on: the EPC sections, then zeros', () => {
    expect(ask(0x12, 2, ONES)).toEqual({ eax: 0x2000_0001, ebx: 0x70, ecx: 0x600_0001, edx: 0 });
    expect(ask(0x12, 3, ONES)).toEqual({ eax: 1, ebx: 0x80, ecx: 0x1001, edx: 1 });
    expect(ask(0x12, 4, ONES)).toEqual(ZERO);
  });
  it('leaves other leaves alone', () => {
    expect(ask(1, 0, ONES)).toEqual(ONES);
  });
});

describe('a profile on a host', () => {
  it('has no more XSAVE components than the host enables', () => {
    const limited = limitToHost(processorProfiles['sapphire-rapids']!, 0xe7n);
    expect([limited.xfrm, limited.xcr0]).toEqual([0xe7n, 0xe7n]);
  });
  it.each([
    [0x3n, 576],
    [0x7n, 832],
    [0x1fn, 1088],
    [0xe7n, 2688],
    [0x2e7n, 2696],
    [0x602e7n, 11008],
  ])('needs for XFRM 0x%s bytes as CPUID.0DH.0:EBX says: %i', (xfrm, sizeBytes) => {
    expect(xsaveSizeBytes(xfrm)).toBe(sizeBytes);
  });
});
