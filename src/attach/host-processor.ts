/** What the processor under us can do, as far as an enclave's native code depends on it. */
import { Xfrm } from '../abi/sgx-arch.ts';
import { readOrEmpty } from './memory-map.ts';

const { X87, SSE, AVX, OPMASK, ZMM_HI256, HI16_ZMM, PKRU, TILECFG, TILEDATA } = Xfrm.mask;

/** XCR0 features by the flags of /proc/cpuinfo, which Linux only lists when it has enabled them. */
const features: readonly (readonly [flag: string, xcr0: bigint])[] = [
  ['avx', AVX],
  ['avx512f', OPMASK | ZMM_HI256 | HI16_ZMM],
  ['ospke', PKRU],
  ['amx_tile', TILECFG | TILEDATA],
];

export function hostXcr0(cpuinfo = readOrEmpty('/proc/cpuinfo')): bigint {
  const flags = new Set(/^flags\s*: (.*)$/m.exec(cpuinfo)?.[1]?.split(' '));
  return features.reduce((all, [flag, bits]) => (flags.has(flag) ? all | bits : all), X87 | SSE);
}
