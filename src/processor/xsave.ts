/**
 * The XSAVE area in standard format, which is what SSA frames hold.
 * Spec: SDM vol. 1, "XSAVE Area" and CPUID leaf 0DH; the offsets are those of every Intel processor with SGX.
 */
import { Xfrm } from '../abi/sgx-arch.ts';
import { readU32, readU64, writeU32, writeU64 } from '../lib/bytes.ts';
import { why, type Why } from '../lib/outcome.ts';

const MXCSR_OFFSET = 24;
const XSTATE_BV_OFFSET = 512;
/** XCOMP_BV and 8 more bytes that XRSTOR in standard format wants to be zero. */
const HEADER_ZEROS_OFFSET = 520;
const HEADER_ZEROS_BYTES = 16;
const LEGACY_AND_HEADER_BYTES = 576;
/** The MXCSR bits of every processor with SGX. */
const MXCSR_MASK = 0xffff;

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
  if ((xfrm & ~supported) !== 0n)
    return why(
      'XFRM is supported by the processor',
      `a part of ${Xfrm.format(supported)}`,
      found,
      'leave out what CPUID.12H.1:EDX:ECX does not report, or choose another processor with --cpu',
    );
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

/** What AEX stores: the components of `xfrm` out of a thread's area, in the standard format. */
export function savedArea(area: Uint8Array, xfrm: bigint, lengthBytes: number): Uint8Array {
  const saved = new Uint8Array(lengthBytes);
  saved.set(area.subarray(0, lengthBytes));
  writeU64(saved, XSTATE_BV_OFFSET, readU64(area, XSTATE_BV_OFFSET) & xfrm);
  saved.fill(0, HEADER_ZEROS_OFFSET, HEADER_ZEROS_OFFSET + HEADER_ZEROS_BYTES);
  return saved;
}

/** Why XRSTOR with the mask `xfrm` would raise #GP on the area; undefined when it would not. */
export function unrestorable(area: Uint8Array, xfrm: bigint): Why | undefined {
  const present = readU64(area, XSTATE_BV_OFFSET);
  if ((present & ~xfrm) !== 0n) {
    return why('XSTATE_BV of the frame is within SECS.XFRM', `a part of ${Xfrm.format(xfrm)}`, Xfrm.format(present));
  }
  for (let i = HEADER_ZEROS_OFFSET; i < HEADER_ZEROS_OFFSET + HEADER_ZEROS_BYTES; i++) {
    if (area[i] !== 0) return why('bytes 520-535 of the XSAVE area are zero', '0', `byte ${i} is not`);
  }
  const mxcsr = readU32(area, MXCSR_OFFSET);
  if ((mxcsr & ~MXCSR_MASK) === 0) return undefined;
  return why('MXCSR reserved bits are zero', `a part of 0x${MXCSR_MASK.toString(16)}`, `0x${mxcsr.toString(16)}`);
}

/** An area in its initial state: the x87 and SSE control registers as given, everything else zero. */
export function initialArea(lengthBytes: number, fcw: number, fsw: number, mxcsr: number): Uint8Array {
  const area = new Uint8Array(lengthBytes);
  writeU32(area, 0, fcw | (fsw << 16));
  writeU32(area, MXCSR_OFFSET, mxcsr);
  writeU64(area, XSTATE_BV_OFFSET, X87 | SSE);
  return area;
}
