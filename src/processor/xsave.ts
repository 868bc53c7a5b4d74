/**
 * The XSAVE area in standard format, which is what SSA frames hold.
 * Spec: SDM vol. 1, "XSAVE Area" and CPUID leaf 0DH; the offsets are those of every Intel processor with SGX.
 */
import { Xfrm } from '../abi/sgx-arch.ts';
import { why, type Why } from '../lib/outcome.ts';

export const XSAVE_HEADER_OFFSET = 512;
export const XSAVE_HEADER_BYTES = 64;
const LEGACY_AND_HEADER_BYTES = XSAVE_HEADER_OFFSET + XSAVE_HEADER_BYTES;

const { X87, SSE, AVX, BNDREGS, BNDCSR, OPMASK, ZMM_HI256, HI16_ZMM, PKRU, TILECFG, TILEDATA } = Xfrm.mask;

const componentEnds: readonly (readonly [mask: bigint, endBytes: number])[] = [
  [AVX, 832],
  [BNDREGS, 1024],
  [BNDCSR, 1088],
  [OPMASK, 1152],
  [ZMM_HI256, 1664],
  [HI16_ZMM, 2688],
  [PKRU, 2696],
  [TILECFG, 2816],
  [TILEDATA, 11008],
];

/** Bytes of the area that holds these components: CPUID.0DH.0:EBX if XCR0 were `xfrm`. */
export function xsaveSizeBytes(xfrm: bigint): number {
  let size = LEGACY_AND_HEADER_BYTES;
  for (const [mask, end] of componentEnds) if ((xfrm & mask) !== 0n) size = end;
  return size;
}

const AVX512 = OPMASK | ZMM_HI256 | HI16_ZMM;
const MPX = BNDREGS | BNDCSR;
const AMX = TILECFG | TILEDATA;

/** Why XSETBV would refuse the value on a processor that knows `supported`; undefined when it would not. */
export function illegalXfrm(xfrm: bigint, supported: bigint): Why | undefined {
  const found = Xfrm.format(xfrm);
  if ((xfrm & ~supported) !== 0n) return why('XFRM is supported by the processor', `a part of ${Xfrm.format(supported)}`, found);
  if ((xfrm & X87) === 0n) return why('XFRM has X87', 'X87', found);
  if ((xfrm & AVX) !== 0n && (xfrm & SSE) === 0n) return why('XFRM has SSE when it has AVX', 'SSE|AVX', found);
  if ((xfrm & AVX512) !== 0n && ((xfrm & AVX512) !== AVX512 || (xfrm & AVX) === 0n)) {
    return why('XFRM has all of AVX-512, with AVX, or none', Xfrm.format(AVX | AVX512), found);
  }
  if (partly(xfrm, MPX)) return why('XFRM has both parts of MPX or none', Xfrm.format(MPX), found);
  if (partly(xfrm, AMX)) return why('XFRM has both parts of AMX or none', Xfrm.format(AMX), found);
  return undefined;
}

function partly(value: bigint, mask: bigint): boolean {
  return (value & mask) !== 0n && (value & mask) !== mask;
}
