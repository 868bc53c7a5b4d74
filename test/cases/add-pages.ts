/** SGX_IOC_ENCLAVE_ADD_PAGES. Source: sgx_ioc_enclave_add_pages, sgx_validate_secinfo, __sgx_encl_add_page. */
import { EnclaveAddPages } from '../../src/abi/sgx-uapi.ts';
import {
  add,
  addArgument,
  At,
  BASE,
  built,
  create,
  created,
  defineCase,
  FD,
  hex,
  init,
  initialized,
  ioctl,
  Memory,
  mmap,
  open,
  PAGE,
  peek,
  PT_REG,
  PT_TCS,
  put,
  R,
  RW,
  RWX,
  RX,
  secInfoBytes,
  sign,
  SIZE,
  step,
  type Adding,
} from './language.ts';

const ADD_PAGES = 'SGX_IOC_ENCLAVE_ADD_PAGES';
const COUNT = Memory.ARGUMENT + EnclaveAddPages.sizeBytes - 8;
const MARK = 77;

/** Refused before the loop: `count` stays what it was. */
const early = (title: string, errno: string, values: Adding) =>
  defineCase(
    `${errno}: ${title}; count is not written`,
    created(),
    add({ count: MARK, ...values }, errno, MARK),
    add(),
  );
const untouched = (title: string, errno: string, values: Adding, ...before: Parameters<typeof defineCase>[1][]) =>
  defineCase(
    `${errno}: ${title}; count is 0, nothing is added`,
    created(),
    before,
    add({ count: MARK, ...values }, errno),
    add(),
  );

/** Each is refused with what comes later wrong, too: the order of the checks. */
const order: readonly (readonly [title: string, errno: string, values: Adding])[] = [
  ['src is not aligned, before offset', 'EINVAL', { src: Memory.ZEROS + 8, offset: 1 }],
  ['offset, before the SECINFO is read', 'EINVAL', { offset: 0x800, secInfo: Memory.NOWHERE }],
  ['length 0, before the SECINFO is read', 'EINVAL', { length: 0, secInfo: Memory.NOWHERE }],
  ['the end, before the SECINFO is read', 'EINVAL', { offset: SIZE, secInfo: Memory.NOWHERE }],
  ['the SECINFO cannot be read, before the source', 'EFAULT', { secInfo: Memory.NOWHERE, src: Memory.NOWHERE }],
  ['the SECINFO is wrong, before the source', 'EINVAL', { kind: 0, src: Memory.NOWHERE }],
];

export const addPagesCases = [
  defineCase('EINVAL: not created', open(), add({ count: MARK }, 'EINVAL', MARK)),
  defineCase('EINVAL: not created, before the argument is read', open(), ioctl(ADD_PAGES, 'EINVAL', Memory.NOWHERE)),
  defineCase('EINVAL: initialized', initialized(), add({ offset: At.HOLE, count: MARK }, 'EINVAL', MARK)),
  defineCase(
    'EINVAL: initialized, before the argument is read',
    initialized(),
    ioctl(ADD_PAGES, 'EINVAL', Memory.NOWHERE),
  ),
  ...[0, Memory.NOWHERE, Memory.END - 40, 0xffff_ffff_ffff_f000n].map((address) =>
    defineCase(`EFAULT: the argument of ADD_PAGES at ${hex(address)}`, created(), ioctl(ADD_PAGES, 'EFAULT', address)),
  ),
  ...[1, 8, 0x800, 0xfff].map((off) => early(`src is off by ${hex(off)}`, 'EINVAL', { src: Memory.ZEROS + off })),
  ...[1, 0x800].map((off) => early(`offset is off by ${hex(off)}`, 'EINVAL', { offset: At.DATA + off })),
  early('length is 0', 'EINVAL', { length: 0 }),
  early('length is half a page', 'EINVAL', { length: 0x800 }),
  early('length is a page and a byte', 'EINVAL', { length: 0x1001 }),
  early('offset + length wraps', 'EINVAL', { offset: 0xffff_ffff_ffff_f000n, length: 0x2000 }),
  early('offset + length is 0', 'EINVAL', { offset: 0xffff_ffff_ffff_f000n }),
  early('the range begins behind the enclave', 'EINVAL', { offset: SIZE }),
  early('the range ends behind the enclave', 'EINVAL', { offset: SIZE - PAGE, length: 2 * PAGE }),
  early('the SECINFO cannot be read', 'EFAULT', { secInfo: Memory.NOWHERE }),
  early('the SECINFO ends in a hole', 'EFAULT', { secInfo: Memory.END - 63 }),
  ...order.map(([title, errno, values]) => early(`in order: ${title}`, errno, values)),
  early('SECINFO: PT_SECS', 'EINVAL', { kind: R | 2 }),
  early('SECINFO: PT_VA', 'EINVAL', { kind: 0x300 | RW }),
  early('SECINFO: PT_TRIM', 'EINVAL', { kind: 0x400 }),
  early('SECINFO: type 255', 'EINVAL', { kind: 0xff00 }),
  early('SECINFO: W without R', 'EINVAL', { kind: PT_REG | 2 }),
  early('SECINFO: W and X without R', 'EINVAL', { kind: PT_REG | 6 }),
  early('SECINFO: a TCS with R', 'EINVAL', { kind: PT_TCS | R }),
  early('SECINFO: a TCS with X', 'EINVAL', { kind: PT_TCS | 4 }),
  early('SECINFO: PENDING', 'EINVAL', { kind: PT_REG | RW | 8 }),
  early('SECINFO: MODIFIED', 'EINVAL', { kind: PT_REG | RW | 0x10 }),
  early('SECINFO: PR', 'EINVAL', { kind: PT_REG | RW | 0x20 }),
  early('SECINFO: bit 16', 'EINVAL', { kind: 0x1_0000 | PT_REG | RW }),
  defineCase(
    'EINVAL: SECINFO: a reserved byte',
    created(),
    addArgument({ secInfo: Memory.SECINFO + 0x80, count: MARK }),
    put(Memory.SECINFO + 0x80, secInfoBytes(PT_REG | RW, 1)),
    ioctl(ADD_PAGES, 'EINVAL'),
    peek(COUNT, MARK),
  ),
  defineCase(
    'the SECINFO needs no alignment',
    created(),
    addArgument({ secInfo: Memory.SECINFO + 0x83 }),
    put(Memory.SECINFO + 0x83, secInfoBytes(PT_REG | RW, 0)),
    ioctl(ADD_PAGES, '0'),
    peek(COUNT, PAGE),
  ),
  ...[0, R, RW, RX, RWX, 4].map((rights) =>
    defineCase(`PT_REG with rights ${rights}`, created(), add({ kind: PT_REG | rights })),
  ),
  defineCase(
    'count is an output: what was there is not looked at',
    created(),
    add({ count: -1n & 0xffff_ffff_ffff_ffffn }),
  ),
  defineCase('the last page of the enclave', created(), add({ offset: SIZE - PAGE })),
  defineCase('many pages at once', created(), add({ length: 16 * PAGE })),
  defineCase(
    'pages in any order, from one source',
    created(),
    add({ offset: 0x9000 }),
    add({ offset: 0x1000 }),
    add({ offset: 0x5000 }),
  ),

  defineCase('EBUSY: there is a page', created(), add(), add({ count: MARK }, 'EBUSY')),
  defineCase(
    'EBUSY: there is a page, before the source is looked at',
    created(),
    add(),
    add({ src: Memory.NOWHERE }, 'EBUSY'),
  ),
  defineCase('EBUSY: there is a page of another kind', created(), add(), add({ kind: PT_TCS }, 'EBUSY')),
  defineCase(
    'EBUSY in the middle: the pages before it are added',
    created(),
    add({ offset: 0x6000 }),
    add({ offset: 0x4000, length: 4 * PAGE }, 'EBUSY', 2 * PAGE),
    add({ offset: 0x5000 }, 'EBUSY'),
    add({ offset: 0x7000 }),
  ),
  untouched('nothing is mapped at the source', 'EFAULT', { src: Memory.NOWHERE }),
  untouched('the source is beyond all addresses', 'EFAULT', { src: 0xffff_ffff_ffff_f000n }),
  untouched('the source is the last page below 2^47', 'EFAULT', { src: 0x7fff_ffff_f000 }),
  untouched('the source is 0', 'EFAULT', { src: 0 }),
  untouched(
    'the source is PROT_NONE',
    'EFAULT',
    { src: Memory.ZEROS + 8 * PAGE },
    step(`mprotect ${hex(Memory.ZEROS + 8 * PAGE)} 0x1000 0`),
  ),
  defineCase('a source that is read-only', created(), step(`mprotect ${hex(Memory.ZEROS)} 0x1000 1`), add()),
  untouched(
    'the source may never be executed',
    'EACCES',
    { src: Memory.NOWHERE },
    step(`noexec ${hex(Memory.NOWHERE)}`),
  ),
  untouched(
    'the source is a gap below a mapping that may never be executed',
    'EACCES',
    { src: Memory.NOWHERE - PAGE },
    step(`noexec ${hex(Memory.NOWHERE)}`),
  ),
  untouched(
    'the source is a gap below a mapping that may be',
    'EFAULT',
    { src: Memory.NOWHERE - PAGE },
    step(`mmap ${hex(Memory.NOWHERE)} 0x1000 3 0x100022 -1 0`),
  ),
  untouched('the source is enclave memory', 'EFAULT', { src: BASE + At.HOLE }, mmap(At.HOLE, PAGE, R)),
  untouched(
    'the source is enclave memory with a page',
    'EFAULT',
    { src: BASE + At.HOLE },
    add({ offset: At.HOLE }),
    mmap(At.HOLE, PAGE, R),
  ),
  defineCase(
    'EFAULT in the middle: the pages before it are added',
    created(),
    step(`munmap ${hex(Memory.ZEROS + 2 * PAGE)} 0x1000`),
    add({ length: 4 * PAGE }, 'EFAULT', 2 * PAGE),
    add({ offset: At.DATA + PAGE }, 'EBUSY'),
    add({ offset: At.DATA + 2 * PAGE }),
  ),
  defineCase(
    'EACCES in the middle: the pages before it are added',
    created(),
    step(`mmap ${hex(Memory.NOWHERE)} 0x2000 3 0x100022 -1 0`),
    step(`noexec ${hex(Memory.NOWHERE + 2 * PAGE)}`),
    add({ src: Memory.NOWHERE, length: 3 * PAGE }, 'EACCES', 2 * PAGE),
  ),
  untouched(
    'EADD faults on a TCS with reserved bits',
    'EIO',
    { kind: PT_TCS, src: Memory.ZEROS + 4 * PAGE },
    put(Memory.ZEROS + 5 * PAGE - 1, Uint8Array.of(1)),
  ),
  untouched(
    'EADD faults on a TCS with a byte behind its fields',
    'EIO',
    { kind: PT_TCS, src: Memory.ZEROS + 4 * PAGE },
    put(Memory.ZEROS + 4 * PAGE + 72, Uint8Array.of(1)),
  ),
  defineCase(
    'EIO in the middle: the pages before it are added',
    created(),
    put(Memory.ZEROS + PAGE + 72, Uint8Array.of(1)),
    add({ kind: PT_TCS, length: 2 * PAGE }, 'EIO', PAGE),
  ),
  defineCase(
    'EFAULT: the struct cannot be written back, although the page was added',
    created(),
    addArgument(),
    step(`mprotect ${hex(Memory.START)} 0x1000 1`),
    ioctl(ADD_PAGES, 'EFAULT'),
    step(`mprotect ${hex(Memory.START)} 0x1000 3`),
    peek(COUNT, 0),
    add({}, 'EBUSY'),
  ),
  defineCase(
    'EFAULT for writing back takes the place of EBUSY',
    created(),
    add(),
    addArgument(),
    step(`mprotect ${hex(Memory.START)} 0x1000 1`),
    ioctl(ADD_PAGES, 'EFAULT'),
  ),
  defineCase(
    'a read-only struct does no harm before the loop',
    created(),
    addArgument({ kind: 0 }),
    step(`mprotect ${hex(Memory.START)} 0x1000 1`),
    ioctl(ADD_PAGES, 'EINVAL'),
  ),
  ...[
    ['flags 1 measures', 1n, true],
    ['unknown flags are ignored', 0xffff_ffff_ffff_fffen, false],
    ['unknown flags beside bit 0 are ignored', 0xffff_ffff_ffff_ffffn, true],
  ].map(([title, flags, measured]) =>
    defineCase(
      title as string,
      built(),
      add({ offset: At.HOLE, flags: flags as bigint }),
      init(sign({}, [{ offset: At.HOLE, kind: PT_REG | RW, pages: 1 }]), measured === true ? '0' : 'EPERM'),
    ),
  ),
  defineCase(
    'a page that failed is not measured',
    built(),
    add({ offset: At.HOLE, src: Memory.NOWHERE }, 'EFAULT'),
    init(),
  ),
];

const SIGNAL_PAGES = 8192;
const SIGNAL_SIZE = 64 * 1024 * 1024;
const FROM = 0x10_0000;
const source = 0x7000_0000;
const many = [
  step(`mmap ${hex(source)} ${hex(SIGNAL_PAGES * PAGE)} 3 0x100022 -1 0`),
  open(),
  ...create({ size: BigInt(SIGNAL_SIZE) }),
];
const manyArgument = addArgument({ src: source, offset: FROM, length: SIGNAL_PAGES * PAGE });
const inPart = step(`between ${hex(COUNT)} 0 ${hex(SIGNAL_PAGES * PAGE)}`, 'yes');

export const signalCases = [
  ...[1, 0].map((restart) =>
    defineCase(
      `0 and a part of count: a signal after the first page, ${restart ? 'with' : 'without'} SA_RESTART`,
      many,
      manyArgument,
      step(`timer 15000 0 ${restart}`),
      ioctl(ADD_PAGES, '0'),
      inPart,
    ),
  ),
  ...[1, 0].map((restart) =>
    defineCase(
      `signals again and again, ${restart ? 'with' : 'without'} SA_RESTART: a loop adds every page once, in order`,
      many,
      addArgument({ src: source, offset: FROM, length: SIGNAL_PAGES * PAGE }),
      step(`timer 3000 3000 ${restart}`),
      step(`again ${FD} 0xc030a401 ${hex(Memory.ARGUMENT)}`),
      step(`timer 0 0 ${restart}`),
      add({ offset: FROM }, 'EBUSY'),
      add({ offset: FROM + (SIGNAL_PAGES - 1) * PAGE }, 'EBUSY'),
      add({ offset: FROM + SIGNAL_PAGES * PAGE }),
    ),
  ),
];
