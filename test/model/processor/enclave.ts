/** A small enclave for the leaf tests, built through the leaves, and results as short text. */
import { expect } from 'vitest';

import {
  Attributes,
  PageType,
  SecInfo,
  SecInfoFlags,
  Secs,
  sgxCodeName,
  Tcs,
  Xfrm,
} from '../../../src/abi/sgx-arch.ts';
import { vectorName } from '../../../src/abi/x86.ts';
import {
  mrSigner,
  newSigningKey,
  readSigningKey,
  signSigStruct,
  type SigStructBody,
} from '../../../src/formats/sigstruct.ts';
import type { Code, Fault, Ok } from '../../../src/lib/outcome.ts';
import { epcIndex, linPage, PAGE_SIZE_BYTES, pageOf, type EpcIndex } from '../../../src/lib/units.ts';
import { eadd } from '../../../src/processor/encls/eadd.ts';
import { ecreate } from '../../../src/processor/encls/ecreate.ts';
import { eextendPage } from '../../../src/processor/encls/eextend.ts';
import { einit } from '../../../src/processor/encls/einit.ts';
import { epa } from '../../../src/processor/encls/epa.ts';
import type { EnclaveAccess } from '../../../src/processor/enclu/access.ts';
import type { Processor } from '../../../src/processor/processor.ts';
import type { FakeThreads } from '../../../src/processor/testing/processor.ts';
import type { MapContents } from '../../../src/processor/map-contents.ts';
import { testProcessor, type TestProcessorOptions } from '../../../src/processor/testing/processor.ts';

export const BASE = 0x7f00_0000_0000;
export const SIZE = 0x10_0000;
export const SECS = epcIndex(0);
export const VA = epcIndex(1);
export const NOT_EPC = epcIndex(1_000_000);
export const FREE = epcIndex(63);
const { R, W, X, PENDING, MODIFIED, PR } = SecInfoFlags.bit;
const REG = PageType.REG << 8;
export const Flags = {
  R,
  W,
  X,
  PENDING,
  MODIFIED,
  PR,
  REG,
  TCS: PageType.TCS << 8,
  TRIM: PageType.TRIM << 8,
  REG_RW: REG | R | W,
  REG_RX: REG | R | X,
} as const;

/** `ok`, `#GP: the check`, `#PF 0x8003 @0x1000: the check`, `SGX_NOT_TRACKED: the check`. */
export function outcome(result: Ok<unknown> | Fault | Code): string {
  if (result.kind === 'ok') return 'ok';
  expect(result.why.expected).not.toBe('');
  expect(result.why.found).not.toBe('');
  if (result.kind === 'code') return `${sgxCodeName(result.code)}: ${result.why.check}`;
  if (result.vector !== 14) return `${vectorName(result.vector)}: ${result.why.check}`;
  const at = result.address === 0 ? '' : ` @0x${result.address.toString(16)}`;
  return `#PF 0x${result.errorCode.toString(16)}${at}: ${result.why.check}`;
}

export function secInfo(flags: number): Uint8Array {
  return SecInfo.encode({ flags: BigInt(flags) });
}

/** A page whose bytes are all different from another seed's. */
export function pattern(seed: number): Uint8Array {
  return Uint8Array.from({ length: PAGE_SIZE_BYTES }, (_, i) => seed * 31 + i * 7 + (i >> 8));
}

export function secsBytes(values: Parameters<typeof Secs.encode>[0] = {}): Uint8Array {
  return Secs.encode({
    size: BigInt(SIZE),
    baseAddr: BigInt(BASE),
    ssaFrameSize: 1,
    attributes: Attributes.mask.MODE64BIT,
    xfrm: Xfrm.mask.X87 | Xfrm.mask.SSE,
    ...values,
  });
}

let cachedKey: ReturnType<typeof readSigningKey> | undefined;
export const signingKey = () => (cachedKey ??= readSigningKey(newSigningKey(), 'test key'));

/** Pages at: TCS 0, two SSA frames 0x1000 and 0x2000, code 0x3000, data 0x4000 and 0x5000. */
export const Offset = { TCS: 0, SSA: 0x1000, CODE: 0x3000, DATA: 0x4000, DATA2: 0x5000, HOLE: 0x8000 } as const;

export interface BuildOptions extends Pick<TestProcessorOptions, 'profileName' | 'fuses' | 'entropy'> {
  readonly secs?: Parameters<typeof Secs.encode>[0];
  readonly tcs?: Parameters<typeof Tcs.encode>[0];
  /** false: stop before EINIT. */
  readonly initialise?: boolean;
}

export class TestEnclave {
  readonly cpu: Processor;
  readonly contents: MapContents;
  readonly threads: FakeThreads;
  readonly secs = SECS;
  /** EPC page of each enclave page, as a kernel would keep it. */
  readonly pages = new Map<number, EpcIndex>();
  /** Offsets of pages that the process has mapped read-only. */
  readonly readOnly = new Set<number>();
  #next = 2;

  constructor(options: BuildOptions = {}) {
    const { cpu, contents, threads } = testProcessor(options);
    this.cpu = cpu;
    this.contents = contents;
    this.threads = threads;
    const operands = { linAddr: 0n, srcPage: secsBytes(options.secs), secInfo: secInfo(0), secs: 0n };
    expect(outcome(ecreate(cpu, operands, SECS))).toBe('ok');
    expect(outcome(epa(cpu, VA))).toBe('ok');
    const tcs = Tcs.encode({
      ossa: BigInt(Offset.SSA),
      nssa: 2,
      oentry: BigInt(Offset.CODE),
      fsLimit: 0xfff,
      gsLimit: 0xfff,
      ...options.tcs,
    });
    this.add(Offset.TCS, Flags.TCS, tcs);
    this.add(Offset.SSA, Flags.REG_RW, new Uint8Array(PAGE_SIZE_BYTES));
    this.add(Offset.SSA + PAGE_SIZE_BYTES, Flags.REG_RW, new Uint8Array(PAGE_SIZE_BYTES));
    this.add(Offset.CODE, Flags.REG_RX, pattern(1));
    this.add(Offset.DATA, Flags.REG_RW, pattern(2));
    this.add(Offset.DATA2, Flags.REG_RW, pattern(3));
    if (options.initialise !== false) expect(outcome(this.init())).toBe('ok');
  }

  /** The next unused EPC page. */
  take(): EpcIndex {
    return epcIndex(this.#next++);
  }

  add(offset: number, flags: number, bytes: Uint8Array): EpcIndex {
    const page = this.take();
    const operands = { linAddr: BASE + offset, srcPage: bytes, secInfo: secInfo(flags), secs: SECS };
    expect(outcome(eadd(this.cpu, operands, page))).toBe('ok');
    expect(outcome(eextendPage(this.cpu, SECS, page))).toBe('ok');
    this.pages.set(offset, page);
    return page;
  }

  /** EINIT with a good signature; `body` changes what is signed. */
  init(body: SigStructBody = {}, token = new Uint8Array(304)) {
    return einit(this.cpu, this.sign(body), SECS, token);
  }

  sign(body: SigStructBody = {}): Uint8Array {
    const key = signingKey();
    this.cpu.lePubKeyHash.set(mrSigner(key.modulus()));
    const { attributes, xfrm } = this.cpu.secs(SECS).fields;
    const all = 0xffff_ffff_ffff_ffffn;
    const enclaveHash = this.cpu.secs(SECS).measurement?.current() ?? new Uint8Array(32);
    return signSigStruct(
      { attributes, attributeMask: all, xfrm, xfrmMask: all, enclaveHash, date: 0x20261120, ...body },
      key,
    );
  }

  /** The EPC page at an offset that is in EPC. */
  at(offset: number): EpcIndex {
    return this.pages.get(offset)!;
  }

  get access(): EnclaveAccess {
    return {
      secs: SECS,
      lookup: (page) => this.pages.get((page - BASE / PAGE_SIZE_BYTES) * PAGE_SIZE_BYTES),
      isWritable: (page) => !this.readOnly.has((page - BASE / PAGE_SIZE_BYTES) * PAGE_SIZE_BYTES),
      isInElrange: (address) => address >= BASE && address < BASE + SIZE,
    };
  }

  read(offset: number, lengthBytes = PAGE_SIZE_BYTES): Uint8Array {
    const bytes = new Uint8Array(lengthBytes);
    this.contents.read(SECS, pageOf(BASE + offset), offset % PAGE_SIZE_BYTES, bytes);
    return bytes;
  }

  write(offset: number, bytes: Uint8Array): void {
    this.contents.write(SECS, pageOf(BASE + offset), offset % PAGE_SIZE_BYTES, bytes);
  }

  /** Puts a SECINFO for an ENCLU leaf into the data page and gives its address. */
  secInfoAt(flags: number, offset: number = Offset.DATA): number {
    this.write(offset, secInfo(flags));
    return BASE + offset;
  }

  /** `R|W|PT=REG`, with BLOCKED behind it. */
  entry(page: EpcIndex): string {
    const { epcm } = this.cpu;
    if (!epcm.valid(page)) return 'not valid';
    return SecInfoFlags.format(epcm.secInfoFlags(page)) + (epcm.blocked(page) ? '|BLOCKED' : '');
  }

  hasContents(offset: number): boolean {
    return this.contents.has(SECS, linPage((BASE + offset) / PAGE_SIZE_BYTES));
  }
}
