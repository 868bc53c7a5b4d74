/** SGX_IOC_ENCLAVE_CREATE, and what comes before any command. Source: sgx_ioctl, sgx_ioc_enclave_create. */
import { Attributes, Secs } from '../../src/abi/sgx-arch.ts';
import type { ValuesOf } from '../../src/lib/layout.ts';
import {
  add,
  addArgument,
  BASE,
  create,
  created,
  defineCase,
  FD,
  hex,
  ioctl,
  Memory,
  open,
  openProvision,
  PAGE,
  peek,
  PROVISION_FD,
  put,
  ready,
  secs,
  SIZE,
  step,
  words,
} from './language.ts';

const CREATE = 'SGX_IOC_ENCLAVE_CREATE';
const PAGES = 8192;
const LARGE = 64 * 1024 * 1024;

/** An enclave with room for `PAGES`, and an ADD_PAGES of so many in place. */
const large = [
  open(),
  step(`mmap 0x70000000 ${hex(PAGES * PAGE)} 3 0x100022 -1 0`),
  ...create({ size: BigInt(LARGE) }),
  ...addArgument({ src: 0x7000_0000, offset: 0, length: PAGES * PAGE }),
];

const dispatch = [
  ...[0x0, 0xffff_ffff, 0xa4ff, 0xa404].map((number) =>
    defineCase(`ENOTTY: command ${hex(number)}`, open(), step(`ioctl ${FD} ${hex(number)} 0`, 'ENOTTY')),
  ),
  ...[0x4010_a400, 0x0000_a400, 0x8008_a400, 0xc030_a400, 0x4030_a401, 0x4008_a40c].map((number) =>
    defineCase(
      `ENOTTY: ${hex(number)}, a known number with other size or direction bits`,
      open(),
      step(`ioctl ${FD} ${hex(number)} 0`, 'ENOTTY'),
    ),
  ),
  defineCase('only 32 bits of a command count', open(), step(`ioctl ${FD} 0x14008a400 0`, 'EFAULT')),
  defineCase('ENOTTY: an unknown command, in every state', ready(), step(`ioctl ${FD} 0xa4ff 0`, 'ENOTTY')),
  defineCase(
    'EBUSY: another thread is in ADD_PAGES, for known and unknown commands, before the argument is read',
    large,
    step(`background ioctl ${FD} 0xc030a401 ${hex(Memory.ARGUMENT)}`),
    step(`busy ioctl ${FD} 0xa4ff 0`, 'EBUSY'),
    ioctl(CREATE, 'EBUSY', Memory.NOWHERE),
    ioctl('SGX_IOC_ENCLAVE_INIT', 'EBUSY', Memory.NOWHERE),
    ioctl('SGX_IOC_ENCLAVE_PROVISION', 'EBUSY', Memory.NOWHERE),
    ioctl('SGX_IOC_ENCLAVE_REMOVE_PAGES', 'EBUSY', Memory.NOWHERE),
    step('await'),
    peek(Memory.ARGUMENT + 40, PAGES * PAGE),
    step(`ioctl ${FD} 0xa4ff 0`, 'ENOTTY'),
  ),
  defineCase(
    'EBUSY is of one enclave: another file is free',
    large,
    open(102),
    step(`background ioctl ${FD} 0xc030a401 ${hex(Memory.ARGUMENT)}`),
    step(`busy ioctl ${FD} 0xa4ff 0`, 'EBUSY'),
    step('ioctl 102 0xa4ff 0', 'ENOTTY'),
    ioctl(CREATE, 'EFAULT', Memory.NOWHERE, 102),
    step('await'),
  ),
  defineCase(
    'EBUSY: by another descriptor of the same file',
    large,
    step(`dup2 ${FD} 103`, '0x67'),
    step(`background ioctl ${FD} 0xc030a401 ${hex(Memory.ARGUMENT)}`),
    step('busy ioctl 103 0xa4ff 0', 'EBUSY'),
    step('await'),
  ),
  defineCase('EBADF: no such descriptor', ioctl(CREATE, 'EBADF')),
  ...[0, 0x4008_a400, 0xc030_a401, 0x4008_a402, 0x4008_a403, 0xa404, 0xc028_a405, 0xc028_a406, 0xc018_a407].map(
    (number) =>
      defineCase(
        `ENOTTY: ${hex(number)} on /dev/sgx_provision`,
        openProvision(),
        step(`ioctl ${PROVISION_FD} ${hex(number)} ${hex(Memory.ARGUMENT)}`, 'ENOTTY'),
      ),
  ),
];

const bad = (title: string, values: ValuesOf<typeof Secs>) =>
  defineCase(`EIO: ECREATE faults: ${title}; then again, rightly`, open(), create(values, 'EIO'), create());

export const createCases = [
  ...dispatch,
  defineCase('CREATE: 0', created()),
  defineCase('EINVAL: created before', created(), create({}, 'EINVAL')),
  defineCase(
    'EINVAL: created before, even with an argument that cannot be read',
    created(),
    ioctl(CREATE, 'EINVAL', 0),
  ),
  defineCase('EINVAL: created before, though initialized since', ready(), create({}, 'EINVAL')),
  ...[0, Memory.NOWHERE, Memory.END - 4, 0x7fff_ffff_f000, 0xffff_8000_0000_0000n, 0xffff_ffff_ffff_fff8n].map(
    (address) =>
      defineCase(`EFAULT: the argument at ${hex(address)}`, open(), ioctl(CREATE, 'EFAULT', address), create()),
  ),
  ...[0, Memory.NOWHERE, Memory.END - PAGE + 8, 0xffff_ffff_ffff_f000n].map((address) =>
    defineCase(
      `EFAULT: a SECS at ${hex(address)}`,
      open(),
      words(Memory.ARGUMENT, address),
      ioctl(CREATE, 'EFAULT'),
      create(),
    ),
  ),
  defineCase(
    'the argument and the SECS may be read-only, and need no alignment',
    open(),
    put(
      Memory.SECS + 9,
      Secs.encode({ size: BigInt(SIZE), baseAddr: BigInt(BASE), ssaFrameSize: 1, attributes: 4n, xfrm: 3n }).slice(
        0,
        64,
      ),
    ),
    words(Memory.ARGUMENT + 3, Memory.SECS + 9),
    step(`mprotect ${hex(Memory.START)} ${hex(3 * PAGE)} 1`),
    ioctl(CREATE, '0', Memory.ARGUMENT + 3),
  ),
  ...[0n, 0x3000n, 0x1801n, 0xffff_ffff_ffff_ffffn].map((size) =>
    defineCase(
      `EINVAL: SECS.SIZE ${hex(size)} is no power of two; then again, rightly`,
      open(),
      create({ size }, 'EINVAL'),
      create(),
    ),
  ),
  defineCase('EINVAL for the size comes before EIO', open(), create({ size: 0x3000n, xfrm: 1n }, 'EINVAL')),
  defineCase('EINVAL: no file backs 2^63 bytes', open(), create({ size: 1n << 63n }, 'EINVAL'), create()),
  defineCase('EINVAL for the backing file comes before EIO', open(), create({ size: 1n << 63n, xfrm: 1n }, 'EINVAL')),
  bad('the base is not aligned to the size', { baseAddr: BigInt(BASE + PAGE) }),
  bad('SIZE is one page', { size: 0x1000n }),
  bad('SIZE is 1', { size: 1n }),
  bad('SIZE is beyond CPUID.12H', { size: 1n << 57n, baseAddr: 0n }),
  bad('XFRM lacks SSE', { xfrm: 1n }),
  bad('XFRM lacks x87', { xfrm: 2n }),
  bad('XFRM has a bit that XCR0 lacks', { xfrm: 3n | (1n << 62n) }),
  bad('XFRM has AVX-512 without AVX', { xfrm: 3n | (7n << 5n) }),
  bad('an attribute that does not exist', { attributes: 4n | (1n << 40n) }),
  bad('ATTRIBUTES.INIT', { attributes: 4n | Attributes.mask.INIT }),
  bad('a bit of MISCSELECT that does not exist', { miscSelect: 2 }),
  bad('no SSA frame', { ssaFrameSize: 0 }),
  bad('an SSA frame that is too small for XFRM', { xfrm: 0xe7n, ssaFrameSize: 0 }),
  defineCase(
    'EIO: a reserved byte of the SECS',
    open(),
    secs(),
    put(Memory.SECS + 4095, Uint8Array.of(1)),
    words(Memory.ARGUMENT, Memory.SECS),
    ioctl(CREATE, 'EIO'),
  ),
  defineCase('a base of 0', open(), create({ baseAddr: 0n }), create({}, 'EINVAL')),
  ...[
    ['DEBUG', Attributes.mask.DEBUG],
    ['PROVISIONKEY: refused by INIT only', Attributes.mask.PROVISIONKEY],
    ['EINITTOKENKEY: refused by INIT only', Attributes.mask.EINITTOKENKEY],
  ].map(([title, bit]) =>
    defineCase(`CREATE with ${title as string}`, open(), create({ attributes: 4n | (bit as bigint) })),
  ),
  defineCase('two enclaves at the same addresses, in two files', created(), open(102), create({}, '0', 102)),
  defineCase(
    'the file is by its description: CREATE through one descriptor, ADD_PAGES through another',
    open(),
    step(`dup2 ${FD} 103`, '0x67'),
    create({}, '0', 103),
    add(),
  ),
];
