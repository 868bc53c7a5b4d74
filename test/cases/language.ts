/**
 * The language of the driver's cases. A step is one line of text, which a virtual process (virtual.ts) and the C program
 * test/programs/driver-cases.c (real.ts) understand alike, and what it has to give. All addresses are fixed, so that the
 * same lines run anywhere, on a machine with SGX too. test/programs/README.md lists the words of the language.
 */
import { Attributes, PageType, SecInfo, Secs, SigStruct, Tcs, Xfrm } from '../../src/abi/sgx-arch.ts';
import {
  EnclaveAddPages,
  EnclaveModifyTypes,
  EnclaveRemovePages,
  EnclaveRestrictPermissions,
  enclaveIoctls,
  sgxDevices,
} from '../../src/abi/sgx-uapi.ts';
import { signSigStruct, type SigStructBody } from '../../src/formats/sigstruct.ts';
import type { Layout, ValuesOf } from '../../src/lib/layout.ts';
import { Measurement } from '../../src/processor/measurement.ts';
import { signingKey } from '../model/processor/enclave.ts';

export interface Step {
  readonly run: string;
  /** `0`, another value in hexadecimal, an errno's name, or a signal. */
  readonly gives: string;
  /** How it is best written down, where the text is long. */
  readonly source?: string;
}

export interface Case {
  /** Says the condition. */
  readonly title: string;
  readonly steps: readonly Step[];
  /** What only a real kernel decides: nothing of ours in TypeScript would be tested by a virtual process. */
  readonly realOnly?: true;
  /** Wants a processor with protection keys: without, enclave memory is open to the rest of the process. */
  readonly wantsKeys?: true;
}

/** What the cases of one table run on. */
export interface Table {
  readonly name: string;
  readonly cpu: string;
  readonly epcPages: number;
  /** What is injected: docs/inject.md. */
  readonly inject?: readonly string[];
  readonly cases: readonly Case[];
}

type Steps = Step | readonly Steps[];

export const step = (run: string, gives = '0'): Step => ({ run, gives });

/** Every case starts with its memory: 64 pages at `Memory.START`. */
export function defineCase(title: string, ...steps: readonly Steps[]): Case {
  const memory = step(`mmap ${hex(Memory.START)} ${hex(Memory.LENGTH)} 3 0x100022 -1 0`);
  return { title, steps: [memory, ...steps.flatMap(flatten)] };
}

function flatten(steps: Steps): Step[] {
  return 'run' in steps ? [steps] : steps.flatMap(flatten);
}

export const onlyReal = (one: Case): Case => ({ ...one, realOnly: true });

export const withKeys = (one: Case): Case => ({ ...one, wantsKeys: true });

export const PAGE = 0x1000;
/** Ordinary memory, zeros at first. */
export const Memory = {
  START: 0x2000_0000,
  LENGTH: 0x4_0000,
  ARGUMENT: 0x2000_0000,
  SECINFO: 0x2000_0200,
  SECS: 0x2000_1000,
  SIGSTRUCT: 0x2000_2000,
  TCS: 0x2000_3000,
  CODE: 0x2000_4000,
  /** Zeros in every case that does not write there; the rest of the memory is. */
  ZEROS: 0x2000_8000,
  END: 0x2004_0000,
  /** Where nothing is mapped. */
  NOWHERE: 0x3000_0000,
} as const;

export const FD = 100;
export const PROVISION_FD = 101;
export const BASE = 0x1000_0000_0000;
export const SIZE = 0x40_0000;
/** Pages of the usual enclave, as offsets from its base. */
export const At = {
  TCS: 0,
  CODE: 0x3000,
  DATA: 0x4000,
  DATA2: 0x5000,
  READ_ONLY: 0x6000,
  SSA: 0x8000,
  /** Nothing is added from here on. */
  HOLE: 0x10_0000,
} as const;
const NSSA = 4;
export const R = 1;
export const RW = 3;
export const RX = 5;
export const RWX = 7;
export const PT_REG = PageType.REG << 8;
export const PT_TCS = PageType.TCS << 8;
const SHARED_FIXED = 0x11;

/**
 * What the usual enclave does for its caller: RDI says what, RSI where, RDX with what, and RDX goes back. ENCLU leaves
 * (from 5 on, or with `LEAF`) get RSI in RCX, RDX in RBX and R9 in RDX; RAX goes back. SUM takes RDX words. EXEC calls
 * RSI with RAX = 0. SPIN counts in RDX until the word at RSI is not 0.
 */
export const Do = { READ: 0, WRITE: 1, SPIN: 2, EXEC: 3, SUM: 4, EACCEPT: 5, EMODPE: 6, LEAF: 0x100 } as const;
const CODE_BYTES = [
  '4989c8', // mov r8, rcx
  '83ff05', // cmp edi, 5
  '7347', // jae enclu
  '83ff01', // cmp edi, 1
  '7220', // jb read
  '7423', // je write
  '83ff03', // cmp edi, 3
  '7223', // jb spin
  '7430', // je exec
  '31c0', // xor eax, eax
  '48c1c005', // next: rol rax, 5
  '483306', // xor rax, [rsi]
  '4883c608', // add rsi, 8
  '48ffca', // dec rdx
  '75f0', // jnz next
  '4889c2', // mov rdx, rax
  'eb34', // jmp leave
  '488b16', // read: mov rdx, [rsi]
  'eb2f', // jmp leave
  '488916', // write: mov [rsi], rdx
  'eb2a', // jmp leave
  '48ff02', // spin: inc qword [rdx]
  'f390', // pause
  '48833e00', // cmp qword [rsi], 0
  '74f5', // je spin
  '31d2', // xor edx, edx
  'eb1b', // jmp leave
  '31c0', // exec: xor eax, eax
  'ffd6', // call rsi
  '4889c2', // mov rdx, rax
  'eb12', // jmp leave
  '400fb6c7', // enclu: movzx eax, dil
  '4889d3', // mov rbx, rdx
  '4889f1', // mov rcx, rsi
  '4c89ca', // mov rdx, r9
  '0f01d7', // enclu
  '89c2', // mov edx, eax
  '4c89c3', // leave: mov rbx, r8
  'b804000000', // mov eax, 4
  '0f01d7', // enclu
].join('');
export const codeBytes: Uint8Array = Buffer.from(CODE_BYTES, 'hex');

const { numbers } = enclaveIoctls;
export const command = (name: keyof typeof numbers): string => hex(numbers[name]);
export const hex = (value: number | bigint): string => `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}`;

export const words = (address: number, ...values: readonly (number | bigint)[]): Step =>
  step(`words ${hex(address)} ${values.map(hex).join(' ')}`);
export const put = (address: number, bytes: Uint8Array): Step =>
  step(`put ${hex(address)} ${Buffer.from(bytes).toString('hex')}`);

export const open = (fd = FD): Step => step(`device ${fd} ${sgxDevices.enclave.path} 2`);
export const openProvision = (): Step => step(`device ${PROVISION_FD} ${sgxDevices.provision.path} 0`);

/** An ioctl with any argument. */
export const ioctl = (
  name: keyof typeof numbers,
  gives: string,
  argument: number | bigint = Memory.ARGUMENT,
  fd = FD,
): Step => step(`ioctl ${fd} ${command(name)} ${hex(argument)}`, gives);

/** The struct, where ioctls look for their argument. */
function inPlace<L extends Layout>(layout: L, values: ValuesOf<L>): Step {
  const bytes = layout.encode(values);
  return words(Memory.ARGUMENT, ...new BigUint64Array(bytes.slice().buffer));
}

const usualSecs = {
  size: BigInt(SIZE),
  baseAddr: BigInt(BASE),
  ssaFrameSize: 1,
  attributes: Attributes.mask.MODE64BIT,
  xfrm: Xfrm.mask.X87 | Xfrm.mask.SSE,
};

export function secs(values: ValuesOf<typeof Secs> = {}): Step {
  const bytes = Secs.encode({ ...usualSecs, ...values });
  return words(Memory.SECS, ...new BigUint64Array(bytes.slice(0, 64).buffer));
}

export const create = (values: ValuesOf<typeof Secs> = {}, gives = '0', fd = FD): Step[] => [
  secs(values),
  words(Memory.ARGUMENT, Memory.SECS),
  ioctl('SGX_IOC_ENCLAVE_CREATE', gives, Memory.ARGUMENT, fd),
];

type Numbers<L extends Layout> = Partial<Record<keyof ValuesOf<L>, number | bigint>>;
const bigints = <L extends Layout>(values: Numbers<L>): ValuesOf<L> =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [key, BigInt(value as number)])) as ValuesOf<L>;

export interface Adding extends Numbers<typeof EnclaveAddPages> {
  /** SECINFO.FLAGS. */
  readonly kind?: number;
}

const countOf = (layout: Layout): number => Memory.ARGUMENT + layout.sizeBytes - 8;
export const peek = (address: number, value: number | bigint): Step => step(`peek ${hex(address)}`, hex(value));

/** The argument of ADD_PAGES in place: one page of zeros, measured, at DATA unless said otherwise. */
export function addArgument({ kind = PT_REG | RW, ...values }: Adding = {}): Step[] {
  const usual = { src: Memory.ZEROS, offset: At.DATA, length: PAGE, secInfo: Memory.SECINFO, flags: 1 };
  return [words(Memory.SECINFO, kind), inPlace(EnclaveAddPages, bigints({ ...usual, ...values }))];
}

/** @param count what it has to be afterwards */
export const add = (
  values: Adding = {},
  gives = '0',
  count: number | bigint = gives === '0' ? Number(values.length ?? PAGE) : 0,
): Step[] => [...addArgument(values), ioctl('SGX_IOC_ENCLAVE_ADD_PAGES', gives), peek(countOf(EnclaveAddPages), count)];

const tcsPage = Tcs.encode({
  ossa: BigInt(At.SSA),
  nssa: NSSA,
  oentry: BigInt(At.CODE),
  fsLimit: 0xffff_ffff,
  gsLimit: 0xffff_ffff,
});
const codePage = new Uint8Array(PAGE);
codePage.set(codeBytes);

/** Offset, SECINFO.FLAGS, pages, where the contents are, contents of each. */
const usualPages = [
  { offset: At.TCS, kind: PT_TCS, pages: 1, src: Memory.TCS, bytes: tcsPage },
  { offset: At.CODE, kind: PT_REG | RX, pages: 1, src: Memory.CODE, bytes: codePage },
  { offset: At.DATA, kind: PT_REG | RW, pages: 2, src: Memory.ZEROS, bytes: new Uint8Array(PAGE) },
  { offset: At.READ_ONLY, kind: PT_REG | R, pages: 1, src: Memory.ZEROS, bytes: new Uint8Array(PAGE) },
  { offset: At.SSA, kind: PT_REG | RW, pages: NSSA, src: Memory.ZEROS, bytes: new Uint8Array(PAGE) },
] as const;

const addUsualPages = (): Step[] => [
  put(Memory.TCS, tcsPage.slice(0, 72)),
  put(Memory.CODE, codeBytes),
  ...usualPages.flatMap(({ offset, kind, pages, src }) => add({ offset, kind, length: pages * PAGE, src })),
];

/** The measurement of the usual enclave, and of pages of zeros that were added behind. */
function measurement(more: readonly { offset: number; kind: number; pages: number }[], sizeBytes: number): Uint8Array {
  const hash = new Measurement();
  hash.create(1, sizeBytes);
  for (const { offset, kind, pages, ...rest } of [...usualPages, ...more]) {
    const bytes = 'bytes' in rest ? rest.bytes : new Uint8Array(PAGE);
    for (let page = 0; page < pages; page++) {
      hash.add(offset + page * PAGE, kind);
      hash.extendPage(offset + page * PAGE, bytes);
    }
  }
  return hash.current();
}

/** A good SIGSTRUCT for the usual enclave, but for what `body` says. */
export function sign(
  body: SigStructBody = {},
  more: readonly { offset: number; kind: number; pages: number }[] = [],
  sizeBytes = SIZE,
): Uint8Array {
  return signSigStruct(
    {
      attributes: Attributes.mask.MODE64BIT,
      attributeMask: ~Attributes.mask.DEBUG & 0xffff_ffff_ffff_ffffn,
      xfrm: usualSecs.xfrm,
      xfrmMask: 0xffff_ffff_ffff_ffffn,
      enclaveHash: measurement(more, sizeBytes),
      date: 0x20261120,
      ...body,
    },
    signingKey(),
  );
}

/** Changes a byte of a SIGSTRUCT, whose signature is wrong then. */
export function tampered(sigStruct: Uint8Array, change: (view: ReturnType<typeof SigStruct.view>) => void): Uint8Array {
  change(SigStruct.view(sigStruct));
  return sigStruct;
}

export const init = (sigStruct: Uint8Array = sign(), gives = '0', fd = FD): Step[] => [
  put(Memory.SIGSTRUCT, sigStruct),
  words(Memory.ARGUMENT, Memory.SIGSTRUCT),
  ioctl('SGX_IOC_ENCLAVE_INIT', gives, Memory.ARGUMENT, fd),
];

export const provision = (fd: number | bigint, gives = '0'): Step[] => [
  words(Memory.ARGUMENT, fd),
  ioctl('SGX_IOC_ENCLAVE_PROVISION', gives),
];

export const mmap = (
  offset: number,
  lengthBytes: number,
  prot: number,
  gives = '0',
  flags = SHARED_FIXED,
  fd = FD,
): Step => step(`mmap ${hex(BASE + offset)} ${hex(lengthBytes)} ${prot} ${hex(flags)} ${fd} 0`, gives);
export const mprotect = (offset: number, lengthBytes: number, prot: number, gives = '0'): Step =>
  step(`mprotect ${hex(BASE + offset)} ${hex(lengthBytes)} ${prot}`, gives);
export const munmap = (offset: number, lengthBytes: number): Step =>
  step(`munmap ${hex(BASE + offset)} ${hex(lengthBytes)}`);

/** A fresh file, a created enclave, one with the usual pages, an initialized and mapped one. */
export const created = (values: ValuesOf<typeof Secs> = {}): Step[] => [open(), ...create(values)];
export const built = (values: ValuesOf<typeof Secs> = {}): Step[] => [...created(values), ...addUsualPages()];
export const initialized = (): Step[] => [...built(), ...init()];
export const mapUsualPages = (): Step[] => [
  mmap(At.TCS, PAGE, RW),
  mmap(At.CODE, PAGE, RX),
  mmap(At.DATA, 2 * PAGE, RW),
  mmap(At.READ_ONLY, PAGE, R),
  mmap(At.SSA, NSSA * PAGE, RW),
];
export const ready = (): Step[] => [...initialized(), ...mapUsualPages(), mmap(At.HOLE, 16 * PAGE, RW)];

/** What the enclave is made to do, and what it answers. */
export const enter = (what: number, offset: number, value: number, gives: string): Step =>
  step(`enter ${hex(BASE + At.TCS)} ${what} ${hex(BASE + offset)} ${hex(value)}`, gives);
export const read = (offset: number, gives: string): Step => enter(Do.READ, offset, 0, gives);
export const write = (offset: number, value: number, gives = hex(value)): Step => enter(Do.WRITE, offset, value, gives);
/** The SECINFO goes to the second half of the second data page. */
const leaf = (what: number, offset: number, secInfoFlags: number, gives: string): Step[] => [
  write(At.DATA2 + 0x800, secInfoFlags),
  enter(what, offset, BASE + At.DATA2 + 0x800, gives),
];
export const accept = (offset: number, secInfoFlags: number, gives = '0'): Step[] =>
  leaf(Do.EACCEPT, offset, secInfoFlags, gives);
/** EMODPE leaves RAX as it is. */
export const extend = (offset: number, secInfoFlags: number, gives = hex(Do.EMODPE)): Step[] =>
  leaf(Do.EMODPE, offset, secInfoFlags, gives);

/** From outside the enclave. */
export const touch = (offset: number, how: 'r' | 'w', gives: string): Step =>
  step(`touch ${hex(BASE + offset)} ${how}`, gives);
export const ONES = '0xff';

/** What the structs of the SGX2 commands have in common, and their own argument. */
interface Changing {
  readonly offset?: number | bigint;
  readonly length?: number | bigint;
  readonly permissions?: number | bigint;
  readonly pageType?: number | bigint;
  readonly result?: number | bigint;
  readonly count?: number | bigint;
}

/** @param outputs what `result` and `count` have to be afterwards, where it is not what it usually is */
const change =
  <L extends Layout>(name: keyof typeof numbers, layout: L) =>
  (values: Changing, gives = '0', outputs: Pick<Changing, 'result' | 'count'> = {}): Step[] => {
    const all = { offset: 0, length: PAGE, ...values };
    const count = outputs.count ?? (gives === '0' ? all.length : (all.count ?? 0));
    const result = outputs.result ?? all.result ?? 0;
    return [
      inPlace(layout, bigints(all as Numbers<L>)),
      ioctl(name, gives),
      peek(countOf(layout), count),
      ...(layout.sizeBytes > 24 ? [peek(Memory.ARGUMENT + 24, result)] : []),
    ];
  };
export const restrict = change('SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS', EnclaveRestrictPermissions);
export const modifyTypes = change('SGX_IOC_ENCLAVE_MODIFY_TYPES', EnclaveModifyTypes);
export const removePages = change('SGX_IOC_ENCLAVE_REMOVE_PAGES', EnclaveRemovePages);

/** A SECINFO with any bytes. */
export const secInfoBytes = (flags: number, reservedByte: number): Uint8Array => {
  const bytes = SecInfo.encode({ flags: BigInt(flags) });
  bytes[63] = reservedByte;
  return bytes;
};
