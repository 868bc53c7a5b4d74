/** Moves that build enclaves: open, CREATE, ADD_PAGES, INIT, and all of them in order. */
import { Attributes, MiscSelect, PageType, Secs, Tcs, Xfrm } from '../../src/abi/sgx-arch.ts';
import { EnclaveAddPages, EnclaveCreate, EnclaveInit, EnclaveProvision, sgxDevices } from '../../src/abi/sgx-uapi.ts';
import type { SigStructBody } from '../../src/formats/sigstruct.ts';
import type { EnclaveFile } from '../../src/kernel/enclave.ts';
import type { ValuesOf } from '../../src/lib/layout.ts';
import {
  At,
  BASE,
  codeBytes,
  hex,
  Memory,
  PAGE,
  PT_REG,
  PT_TCS,
  R,
  RW,
  RWX,
  RX,
  secInfoBytes,
  SIZE,
} from '../cases/language.ts';
import type { Choices } from './choices.ts';
import type { World } from './world.ts';

const SHARED_FIXED = 0x11;
const NSSA = 2;
/** A second thread, contents that are not zero, and more pages. */
export const Place = {
  TCS2: 0x1000,
  SSA2: At.SSA + NSSA * PAGE,
  /** Of a TCS that the enclave itself makes. */
  SSA3: At.SSA + 2 * NSSA * PAGE,
  LAST: 0xe000,
  EXECUTABLE: 0x7000,
  HOLE: 0x1_0000,
  MANY: 0x2_0000,
} as const;
const Source = { TCS2: 0x2000_5000, PATTERN: 0x2000_6000, PATTERN2: 0x2000_7000 } as const;
const MANY_PAGES = 32;

/** Each its own place, so that they can be mapped beside each other. */
const bases = [BASE, BASE + 0x1_0000_0000, BASE + 0x2_0000_0000] as const;
const sizes = [0x4_0000, SIZE, 0x2_0000] as const;

export const tcsBytes = (ossa: number): Uint8Array =>
  Tcs.encode({
    ossa: BigInt(ossa),
    nssa: NSSA,
    oentry: BigInt(At.CODE),
    fsLimit: 0xffff_ffff,
    gsLimit: 0xffff_ffff,
  });

/** Fills the memory that pages are added from. */
export function prepare(world: World): void {
  world.put(Memory.TCS, tcsBytes(At.SSA).slice(0, 72));
  world.put(Source.TCS2, tcsBytes(Place.SSA2).slice(0, 72));
  world.put(Memory.CODE, codeBytes);
  // 0x800 on is what moves look at; c3 returns where it is executed.
  for (const [index, page] of [Source.PATTERN, Source.PATTERN2].entries()) {
    world.words(page + 0x800, 0x11c3 + index, 0x2200_0000, 0x33c3);
  }
}

interface PageGroup {
  readonly offset: number;
  readonly kind: number;
  readonly pages: number;
  readonly src: number;
  readonly prot: number;
}

const usualPages: readonly PageGroup[] = [
  { offset: At.TCS, kind: PT_TCS, pages: 1, src: Memory.TCS, prot: RW },
  { offset: Place.TCS2, kind: PT_TCS, pages: 1, src: Source.TCS2, prot: RW },
  { offset: At.CODE, kind: PT_REG | RX, pages: 1, src: Memory.CODE, prot: RX },
  { offset: At.DATA, kind: PT_REG | RW, pages: 2, src: Source.PATTERN, prot: RW },
  { offset: At.READ_ONLY, kind: PT_REG | R, pages: 1, src: Source.PATTERN, prot: R },
  { offset: Place.EXECUTABLE, kind: PT_REG | RWX, pages: 1, src: Source.PATTERN, prot: RWX },
  { offset: At.SSA, kind: PT_REG | RW, pages: 3 * NSSA, src: Memory.ZEROS, prot: RW },
];

const { MODE64BIT, DEBUG, PROVISIONKEY } = Attributes.mask;
const usualSecs = { ssaFrameSize: 1, attributes: MODE64BIT, xfrm: Xfrm.mask.X87 | Xfrm.mask.SSE };

function openDevice(world: World, choices: Choices): number {
  const fd = world.freeFd();
  world.do(`device ${fd} ${sgxDevices.enclave.path} ${choices.usually(2, [0, 1, 3], 12)}`);
  return fd;
}

function create(world: World, fd: number, values: ValuesOf<typeof Secs>): string {
  const bytes = Secs.encode(values);
  world.words(Memory.SECS, ...new BigUint64Array(bytes.slice(0, 64).buffer));
  return world.ioctl(fd, 'SGX_IOC_ENCLAVE_CREATE', EnclaveCreate, { src: BigInt(Memory.SECS) });
}

function add(world: World, fd: number, values: ValuesOf<typeof EnclaveAddPages>, secInfoFlags: number): string {
  world.words(Memory.SECINFO, secInfoFlags);
  return world.ioctl(fd, 'SGX_IOC_ENCLAVE_ADD_PAGES', EnclaveAddPages, {
    secInfo: BigInt(Memory.SECINFO),
    flags: 1n,
    ...values,
  });
}

function addGroup(world: World, fd: number, { offset, kind, pages, src }: PageGroup, flags: bigint): string {
  return add(world, fd, { src: BigInt(src), offset: BigInt(offset), length: BigInt(pages * PAGE), flags }, kind);
}

function init(world: World, fd: number, file: EnclaveFile, body: SigStructBody = {}): string {
  const { bytes, source } = world.sign(file, body);
  world.put(Memory.SIGSTRUCT, bytes, source);
  return world.ioctl(fd, 'SGX_IOC_ENCLAVE_INIT', EnclaveInit, { sigStruct: BigInt(Memory.SIGSTRUCT) });
}

const isNear = (base: number, address: number): boolean => address >= base - PAGE && address <= base + SIZE;

/** A whole enclave as loaders make it, mostly. */
function enclave(world: World, choices: Choices): void {
  const fd = openDevice(world, choices);
  const base = choices.pick(bases);
  const size = choices.pick(sizes);
  const map = (offset: number, length: number, prot: number) =>
    world.do(`mmap ${hex(base + offset)} ${hex(length)} ${prot} ${hex(SHARED_FIXED)} ${fd} 0`);
  // Not within the ELRANGE of another.
  if (world.process.mm.vmas().some(({ startPage }) => isNear(base, startPage * PAGE))) {
    world.do(`munmap ${hex(base - PAGE)} ${hex(SIZE + 2 * PAGE)}`);
  }
  if (choices.rarely(6)) map(0, size, choices.pick([0, R, RWX]));
  const created = create(world, fd, {
    ...usualSecs,
    size: BigInt(size),
    baseAddr: BigInt(base),
    attributes: MODE64BIT | (choices.rarely(3) ? DEBUG : 0n),
    miscSelect: choices.rarely(4) ? MiscSelect.bit.EXINFO : 0,
  });
  if (created !== '0') return;
  const omitted = choices.usually(undefined, usualPages, 10);
  const flags = choices.rarely(8) ? 0n : 1n;
  for (const group of usualPages) if (group !== omitted) addGroup(world, fd, group, flags);
  const lots = Math.min(choices.below(6), (size - Place.MANY) / (MANY_PAGES * PAGE));
  for (let lot = 0; lot < lots; lot++) many(world, fd, lot);
  if (!choices.rarely(10)) init(world, fd, world.process.enclave(fd));
  const ending = choices.below(12);
  if (ending === 11) return;
  for (const { offset, pages, prot } of usualPages) map(offset, pages * PAGE, prot);
  map(Place.HOLE, Place.MANY - Place.HOLE, choices.pick([RW, RWX, RWX, R]));
  if (size > Place.MANY) map(Place.MANY, Math.min(size, 8 * Place.MANY) - Place.MANY, choices.usually(RW, [RWX, R]));
  if (choices.rarely(4)) world.do(`close ${fd}`);
}

/** Enough to have others evicted where EPC is small. */
function many(world: World, fd: number, lot: number): void {
  addGroup(
    world,
    fd,
    { offset: Place.MANY + lot * MANY_PAGES * PAGE, kind: PT_REG | RW, pages: MANY_PAGES, src: Memory.ZEROS, prot: RW },
    0n,
  );
}

function addMany(world: World, choices: Choices): void {
  const fd = unfinished(world, choices);
  if (fd !== undefined) many(world, fd, choices.below(4));
}

const secsWithOneWrong: readonly ValuesOf<typeof Secs>[] = [
  {},
  { size: 0x3000n },
  { size: 0n },
  { size: 0x1000n },
  { baseAddr: BigInt(BASE) + 0x1000n },
  { baseAddr: 1n << 47n },
  { ssaFrameSize: 0 },
  { ssaFrameSize: 65 },
  { attributes: 0n },
  { attributes: MODE64BIT | PROVISIONKEY },
  { attributes: MODE64BIT | 1n },
  { attributes: MODE64BIT | (1n << 40n) },
  { xfrm: 1n },
  { xfrm: 3n | (1n << 60n) },
  { miscSelect: 0x8000_0000 },
  { isvSvn: 1 },
];

/** CREATE of anything, perhaps once more. */
function createOdd(world: World, choices: Choices): void {
  const fds = world.enclaveFds();
  const fd = fds.length > 0 && choices.rarely(2) ? choices.pick(fds)! : openDevice(world, choices);
  const secs = { ...usualSecs, size: BigInt(choices.pick(sizes)), baseAddr: BigInt(choices.pick(bases)) };
  create(world, fd, { ...secs, ...choices.pick(secsWithOneWrong) });
}

/** An enclave that takes pages, mostly. */
function unfinished(world: World, choices: Choices): number | undefined {
  const fds = world.enclaveFds();
  const open = fds.filter((fd) => world.process.enclave(fd).created && !world.process.enclave(fd).initialized);
  if (open.length > 0 && !choices.rarely(6)) return choices.pick(open);
  if (choices.rarely(3)) return choices.pick(fds);
  const fd = openDevice(world, choices);
  create(world, fd, { ...usualSecs, size: BigInt(choices.pick(sizes)), baseAddr: BigInt(choices.pick(bases)) });
  return fd;
}

function addOdd(world: World, choices: Choices): void {
  const fd = unfinished(world, choices);
  if (fd === undefined) return;
  const file = world.process.enclave(fd);
  const pages = choices.usually(choices.pick([1, 2, 3]), [0, 56]);
  const kind = choices.usually(choices.pick([PT_REG | RW, PT_REG | RX, PT_REG | RWX, PT_REG | R]), [
    PT_TCS,
    PT_TCS | R,
    PT_REG | 2,
    PT_REG,
    0x300,
    PT_REG | RW | 8,
    (PageType.TRIM << 8) | RW,
    PT_REG | RW | 0x1000,
  ]);
  const offset = choices.usually(choices.pick([Place.HOLE, Place.LAST, Place.MANY, 0x3_0000, At.DATA, At.TCS]), [
    0x1_0800,
    file.created ? file.sizeBytes : 0,
    file.created ? file.sizeBytes - PAGE : 0,
    2 ** 53,
  ]);
  const src = choices.usually(choices.pick([Source.PATTERN, Memory.ZEROS, Memory.TCS, Memory.CODE]), [
    Memory.NOWHERE,
    Memory.ZEROS + 8,
    Memory.END - PAGE,
  ]);
  const secInfo = choices.usually(Memory.SECINFO, [Memory.NOWHERE, Memory.SECINFO + 8, 0], 12);
  const values = {
    src: BigInt(src),
    offset: BigInt(offset),
    length: BigInt(choices.usually(pages * PAGE, [0x800, 0x1800], 12)),
    secInfo: BigInt(secInfo),
    flags: BigInt(choices.usually(choices.pick([1, 0]), [2, 3], 12)),
    count: BigInt(choices.usually(0, [1], 12)),
  };
  if (choices.rarely(16)) world.put(Memory.SECINFO, secInfoBytes(kind, 1));
  add(world, fd, values, kind);
}

const bodies: readonly SigStructBody[] = [
  {},
  { enclaveHash: new Uint8Array(32) },
  { attributes: Attributes.mask.MODE64BIT | DEBUG, attributeMask: 0xffff_ffff_ffff_ffffn },
  { attributes: 0n },
  { xfrm: 7n },
  { miscSelect: 1, miscMask: 1 },
  { isvProdId: 7, isvSvn: 3 },
  { vendor: 0x8086 },
];

function initOdd(world: World, choices: Choices): void {
  const fd = choices.pick(world.enclaveFds());
  if (fd === undefined) return;
  const file = world.process.enclave(fd);
  if (!file.created || file.secs === undefined) {
    world.call(fd, 'SGX_IOC_ENCLAVE_INIT', choices.pick([Memory.ARGUMENT, Memory.NOWHERE]));
    return;
  }
  if (choices.rarely(8)) {
    world.put(Memory.SIGSTRUCT, new Uint8Array(16).fill(7));
    world.ioctl(fd, 'SGX_IOC_ENCLAVE_INIT', EnclaveInit, { sigStruct: BigInt(Memory.SIGSTRUCT) });
    return;
  }
  init(world, fd, file, choices.pick(bodies));
}

function provision(world: World, choices: Choices): void {
  const fd = choices.pick(world.enclaveFds());
  if (fd === undefined) return;
  const device = world.freeFd();
  world.do(`device ${device} ${sgxDevices.provision.path} 0`);
  const other = choices.usually(device, [fd, 99, -1], 3);
  world.ioctl(fd, 'SGX_IOC_ENCLAVE_PROVISION', EnclaveProvision, { fd: BigInt.asUintN(64, BigInt(other)) });
  world.do(`close ${device}`);
}

/** Commands that nobody knows, and arguments that nobody can read. */
function ioctlOdd(world: World, choices: Choices): void {
  const fd = choices.pick(world.enclaveFds());
  if (fd === undefined) return;
  if (choices.rarely(2)) {
    world.do(`ioctl ${fd} ${choices.pick(['0xa4ff', '0xc030a402', '0x4008a401', '0x5401'])} ${hex(Memory.ARGUMENT)}`);
    return;
  }
  const names = [
    'SGX_IOC_ENCLAVE_ADD_PAGES',
    'SGX_IOC_ENCLAVE_CREATE',
    'SGX_IOC_ENCLAVE_INIT',
    'SGX_IOC_ENCLAVE_PROVISION',
    'SGX_IOC_ENCLAVE_MODIFY_TYPES',
    'SGX_IOC_ENCLAVE_REMOVE_PAGES',
    'SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS',
  ] as const;
  world.call(fd, choices.pick(names), choices.pick([Memory.NOWHERE, 0, Memory.END - 8]));
}

export const buildMoves = {
  enclave: { weight: 10, move: enclave },
  createOdd: { weight: 3, move: createOdd },
  addOdd: { weight: 4, move: addOdd },
  addMany: { weight: 2, move: addMany },
  initOdd: { weight: 3, move: initOdd },
  provision: { weight: 1, move: provision },
  ioctlOdd: { weight: 1, move: ioctlOdd },
};
