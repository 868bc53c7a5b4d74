/** The SGX2 commands. Source: sgx_ioc_enclave_restrict_permissions, _modify_types, _remove_pages. */
import { PageType } from '../../src/abi/sgx-arch.ts';
import {
  accept,
  At,
  created,
  defineCase,
  extend,
  hex,
  initialized,
  ioctl,
  Memory,
  modifyTypes,
  mprotect,
  open,
  PAGE,
  peek,
  R,
  read,
  ready,
  removePages,
  restrict,
  RW,
  RWX,
  RX,
  SIZE,
  step,
  touch,
  write,
} from './language.ts';

const { TCS, REG, TRIM } = PageType;
const NOT_MODIFIABLE = 20;
const MISMATCH = 19;
/** SECINFO.FLAGS of what there is to accept. */
const ACCEPT_NEW = 0x20b;
const ACCEPT_TRIM = 0x410;
const ACCEPT_R = 0x221;

const commands = [
  {
    name: 'SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS',
    short: 'RESTRICT',
    call: restrict,
    size: 40,
    wrong: { permissions: 8 },
  },
  {
    name: 'SGX_IOC_ENCLAVE_MODIFY_TYPES',
    short: 'MODIFY_TYPES',
    call: modifyTypes,
    size: 40,
    wrong: { pageType: 0x100 },
  },
  { name: 'SGX_IOC_ENCLAVE_REMOVE_PAGES', short: 'REMOVE_PAGES', call: removePages, size: 24, wrong: {} },
] as const;

const data = { offset: At.DATA };
const common = commands.flatMap(({ name, short, call, size, wrong }) => [
  defineCase(
    `${short}: EINVAL on a fresh file, with zeros, as runtimes probe`,
    open(),
    call({ offset: 0, length: 0 }, 'EINVAL'),
  ),
  defineCase(`${short}: EINVAL before INIT`, created(), call(data, 'EINVAL')),
  defineCase(
    `${short}: EINVAL before INIT, before the argument is read`,
    created(),
    ioctl(name, 'EINVAL', Memory.NOWHERE),
  ),
  ...[0, Memory.NOWHERE, Memory.END - size + 8, 0xffff_ffff_ffff_f000n].map((address) =>
    defineCase(`${short}: EFAULT: the argument at ${hex(address)}`, initialized(), ioctl(name, 'EFAULT', address)),
  ),
  ...[
    ['zeros', { offset: 0, length: 0 }],
    ['offset is not aligned', { offset: 1, length: PAGE }],
    ['length is 0', { offset: At.DATA, length: 0 }],
    ['length is not aligned', { offset: At.DATA, length: 0x1800 }],
    ['offset + length wraps', { offset: 0xffff_ffff_ffff_f000n, length: 0x2000 }],
    ['the range begins behind the enclave', { offset: SIZE, length: PAGE }],
    ['the range ends behind the enclave', { offset: SIZE - PAGE, length: 2 * PAGE }],
  ].map(([title, range]) =>
    defineCase(`${short}: EINVAL: ${title as string}`, ready(), call(range as object, 'EINVAL')),
  ),
  defineCase(
    `${short}: EINVAL: the range, before a wrong argument, which stays as it was`,
    ready(),
    call({ offset: 1, length: PAGE, count: 1, ...wrong }, 'EINVAL'),
  ),
  defineCase(`${short}: EINVAL: count has to be 0`, ready(), call({ ...data, count: 1 }, 'EINVAL')),
  defineCase(
    `${short}: EINVAL: count has to be 0, all its bits`,
    ready(),
    call({ ...data, count: 1n << 63n }, 'EINVAL'),
  ),
  defineCase(
    `${short}: EFAULT: no page there`,
    ready(),
    call({ offset: At.HOLE + PAGE, ...(short === 'MODIFY_TYPES' && { pageType: TRIM }) }, 'EFAULT'),
  ),
]);

const restrictCases = [
  ...[8, 0x10, 0x100, 1n << 63n].map((permissions) =>
    defineCase(
      `RESTRICT: EINVAL: permissions ${hex(permissions)}`,
      ready(),
      restrict({ ...data, permissions }, 'EINVAL'),
    ),
  ),
  ...[2, 6].map((permissions) =>
    defineCase(
      `RESTRICT: EINVAL: permissions ${permissions}, W without R`,
      ready(),
      restrict({ ...data, permissions }, 'EINVAL'),
    ),
  ),
  defineCase(
    'RESTRICT: EINVAL: result has to be 0',
    ready(),
    restrict({ ...data, permissions: R, result: 1 }, 'EINVAL'),
  ),
  ...[0, R, RW, 4, RX, RWX].map((permissions) =>
    defineCase(`RESTRICT: permissions ${permissions}`, ready(), restrict({ ...data, permissions })),
  ),
  defineCase(
    'RESTRICT: a TCS: EINVAL, result and count 0',
    ready(),
    restrict({ offset: At.TCS, permissions: R }, 'EINVAL'),
  ),
  defineCase(
    'RESTRICT: EINVAL in the middle: the pages before are done',
    ready(),
    restrict({ offset: At.DATA, length: 3 * PAGE, permissions: R }),
    restrict({ offset: At.CODE, length: 5 * PAGE, permissions: R }, 'EFAULT', { count: 4 * PAGE }),
  ),
  defineCase(
    'RESTRICT: EFAULT in the middle',
    ready(),
    restrict({ offset: At.READ_ONLY, length: 2 * PAGE, permissions: R }, 'EFAULT', { count: PAGE }),
  ),
  defineCase(
    'RESTRICT: EFAULT with result 20: the page is PENDING',
    ready(),
    touch(At.HOLE, 'r', '0xff'),
    restrict({ offset: At.HOLE, permissions: R }, 'EFAULT', { result: NOT_MODIFIABLE }),
  ),
  defineCase(
    'RESTRICT: EINVAL: a page that is being trimmed',
    ready(),
    modifyTypes({ ...data, pageType: TRIM }),
    restrict({ ...data, permissions: R }, 'EINVAL'),
  ),
  defineCase(
    'RESTRICT to R: a write inside faults on the EPCM, a read goes on',
    ready(),
    write(At.DATA, 5),
    restrict({ ...data, permissions: R }),
    read(At.DATA, '0x5'),
    write(At.DATA, 6, 'SIGSEGV-EPCM'),
  ),
  defineCase(
    'RESTRICT to R and accepted; EMODPE gives W back',
    ready(),
    restrict({ ...data, permissions: R }),
    accept(At.DATA, ACCEPT_R),
    write(At.DATA, 6, 'SIGSEGV-EPCM'),
    extend(At.DATA, RW),
    write(At.DATA, 7),
  ),
  defineCase(
    'RESTRICT is accepted as it is: other rights mismatch',
    ready(),
    restrict({ ...data, permissions: R }),
    accept(At.DATA, 0x223, hex(MISMATCH)),
    accept(At.DATA, ACCEPT_R),
  ),
  defineCase(
    'RESTRICT to nothing: a read inside faults on the EPCM',
    ready(),
    restrict({ ...data, permissions: 0 }),
    read(At.DATA, 'SIGSEGV-EPCM'),
  ),
  defineCase(
    'RESTRICT does not lower the limit of mappings',
    ready(),
    restrict({ ...data, permissions: R }),
    mprotect(At.DATA, PAGE, R),
    mprotect(At.DATA, PAGE, RW),
    write(At.DATA, 1, 'SIGSEGV-EPCM'),
  ),
  defineCase(
    'RESTRICT twice, without an EACCEPT between',
    ready(),
    restrict({ ...data, permissions: RW }),
    restrict({ ...data, permissions: R }),
    accept(At.DATA, ACCEPT_R),
  ),
  defineCase(
    'RESTRICT gives nothing that was not there',
    ready(),
    restrict({ offset: At.READ_ONLY, permissions: RWX }),
    accept(At.READ_ONLY, ACCEPT_R),
  ),
  defineCase('RESTRICT of a page that nobody maps', initialized(), restrict({ ...data, permissions: R })),
];

const readOnlyStruct = step(`mprotect ${hex(Memory.START)} 0x1000 1`);
const writableStruct = step(`mprotect ${hex(Memory.START)} 0x1000 3`);

const modifyCases = [
  ...[0x100, 0x104, 1n << 32n].map((pageType) =>
    defineCase(
      `MODIFY_TYPES: EINVAL: page_type ${hex(pageType)}`,
      ready(),
      modifyTypes({ ...data, pageType }, 'EINVAL'),
    ),
  ),
  ...[0, REG, 3, 5, 255].map((pageType) =>
    defineCase(
      `MODIFY_TYPES: EINVAL: type ${pageType} is neither TCS nor TRIM`,
      ready(),
      modifyTypes({ ...data, pageType }, 'EINVAL'),
    ),
  ),
  defineCase(
    'MODIFY_TYPES: EINVAL: result has to be 0',
    ready(),
    modifyTypes({ ...data, pageType: TRIM, result: 1 }, 'EINVAL'),
  ),
  defineCase(
    'MODIFY_TYPES: the struct is written back for a type that cannot be: EFAULT takes its place',
    ready(),
    modifyTypes({ ...data, pageType: REG }, 'EINVAL'),
    readOnlyStruct,
    ioctl('SGX_IOC_ENCLAVE_MODIFY_TYPES', 'EFAULT'),
  ),
  defineCase(
    'MODIFY_TYPES: EFAULT: the struct cannot be written back, although the page was changed',
    ready(),
    modifyTypes({ offset: At.HOLE + PAGE, pageType: TRIM }, 'EFAULT'),
    step(`words ${hex(Memory.ARGUMENT)} ${hex(At.DATA)} 0x1000 4 0 0`),
    readOnlyStruct,
    ioctl('SGX_IOC_ENCLAVE_MODIFY_TYPES', 'EFAULT'),
    writableStruct,
    peek(Memory.ARGUMENT + 32, 0),
    read(At.DATA, 'SIGSEGV-EPCM'),
  ),
  defineCase(
    'MODIFY_TYPES: REG to TRIM, and then EINVAL for TRIM to TRIM and to TCS',
    ready(),
    modifyTypes({ ...data, pageType: TRIM }),
    modifyTypes({ ...data, pageType: TRIM }, 'EINVAL'),
    modifyTypes({ ...data, pageType: TCS }, 'EINVAL'),
  ),
  defineCase(
    'MODIFY_TYPES: TCS to TRIM, not to TCS',
    ready(),
    modifyTypes({ offset: At.TCS, pageType: TCS }, 'EINVAL'),
    modifyTypes({ offset: At.TCS, pageType: TRIM }),
  ),
  defineCase(
    'MODIFY_TYPES: a trimmed TCS cannot be entered',
    ready(),
    modifyTypes({ offset: At.TCS, pageType: TRIM }),
    read(At.DATA, 'SIGSEGV-EPCM'),
  ),
  defineCase(
    'MODIFY_TYPES: a TCS that was entered before cannot be entered once it is trimmed',
    ready(),
    read(At.DATA, '0'),
    modifyTypes({ offset: At.TCS, pageType: TRIM }),
    read(At.DATA, 'SIGSEGV-EPCM'),
  ),
  ...[R, 0].map((permissions) =>
    defineCase(
      `RESTRICT to ${permissions} of a save area that was used before: no entry any more`,
      ready(),
      read(At.DATA, '0'),
      restrict({ offset: At.DATA, permissions: R }),
      read(At.DATA, '0'),
      restrict({ offset: At.SSA, permissions }),
      read(At.DATA, 'SIGSEGV-EPCM'),
    ),
  ),
  defineCase(
    'MODIFY_TYPES: a save area that was used before is trimmed: no entry any more',
    ready(),
    read(At.DATA, '0'),
    modifyTypes({ offset: At.SSA, pageType: TRIM }),
    read(At.DATA, 'SIGSEGV-EPCM'),
  ),
  defineCase(
    'MODIFY_TYPES: REG to TCS: the limit of mappings becomes RW',
    ready(),
    modifyTypes({ ...data, pageType: TCS }),
    mprotect(At.DATA, PAGE, RWX, 'EACCES'),
    mprotect(At.DATA, PAGE, RW),
  ),
  defineCase(
    'MODIFY_TYPES: EPERM: a page that was added without W',
    ready(),
    modifyTypes({ offset: At.CODE, pageType: TCS }, 'EPERM'),
    read(At.DATA, '0'),
  ),
  defineCase(
    'MODIFY_TYPES: EPERM: a page that was added with R alone',
    ready(),
    modifyTypes({ offset: At.READ_ONLY, pageType: TCS }, 'EPERM'),
  ),
  defineCase(
    'MODIFY_TYPES: EPERM in the middle: the pages before are done',
    ready(),
    modifyTypes({ offset: At.DATA, length: 3 * PAGE, pageType: TCS }, 'EPERM', { count: 2 * PAGE }),
  ),
  defineCase(
    'MODIFY_TYPES: EFAULT with result 20: the page is PENDING; the limit is as before',
    ready(),
    touch(At.HOLE, 'r', '0xff'),
    modifyTypes({ offset: At.HOLE, pageType: TCS }, 'EFAULT', { result: NOT_MODIFIABLE }),
    mprotect(At.HOLE, PAGE, RWX),
  ),
  defineCase(
    'MODIFY_TYPES: EFAULT in the middle',
    ready(),
    modifyTypes({ offset: At.READ_ONLY, length: 2 * PAGE, pageType: TRIM }, 'EFAULT', { count: PAGE }),
  ),
  defineCase(
    'MODIFY_TYPES: an unaccepted RESTRICT goes along',
    ready(),
    restrict({ ...data, permissions: R }),
    modifyTypes({ ...data, pageType: TRIM }),
    accept(At.DATA, ACCEPT_TRIM),
  ),
  defineCase(
    'MODIFY_TYPES: a page that is trimmed cannot be read inside, before and after EACCEPT',
    ready(),
    modifyTypes({ ...data, pageType: TRIM }),
    read(At.DATA, 'SIGSEGV-EPCM'),
    accept(At.DATA, ACCEPT_TRIM),
    read(At.DATA, 'SIGSEGV-EPCM'),
  ),
];

const trimmed = [modifyTypes({ ...data, pageType: TRIM }), accept(At.DATA, ACCEPT_TRIM)];

const removeCases = [
  ...[At.DATA, At.CODE, At.TCS].map((offset) =>
    defineCase(
      `REMOVE_PAGES: EPERM: the page at ${hex(offset)} is not trimmed`,
      ready(),
      removePages({ offset }, 'EPERM'),
    ),
  ),
  defineCase(
    'REMOVE_PAGES: EPERM: the trim is not accepted',
    ready(),
    modifyTypes({ ...data, pageType: TRIM }),
    removePages(data, 'EPERM'),
    accept(At.DATA, ACCEPT_TRIM),
    removePages(data),
  ),
  defineCase(
    'REMOVE_PAGES: then EFAULT, for the page is gone',
    ready(),
    trimmed,
    removePages(data),
    removePages(data, 'EFAULT'),
  ),
  defineCase(
    'REMOVE_PAGES: a touch makes a new page, of zeros when it is accepted',
    ready(),
    write(At.DATA, 5),
    trimmed,
    removePages(data),
    read(At.DATA, 'SIGSEGV-EPCM'),
    accept(At.DATA, ACCEPT_NEW),
    read(At.DATA, '0'),
  ),
  defineCase(
    'REMOVE_PAGES: EPERM in the middle: the pages before are gone',
    ready(),
    trimmed,
    removePages({ offset: At.DATA, length: 2 * PAGE }, 'EPERM', { count: PAGE }),
    removePages(data, 'EFAULT'),
  ),
  defineCase(
    'REMOVE_PAGES: EFAULT: the struct cannot be written back, although the page is gone',
    ready(),
    trimmed,
    step(`words ${hex(Memory.ARGUMENT)} ${hex(At.DATA)} 0x1000 0`),
    readOnlyStruct,
    ioctl('SGX_IOC_ENCLAVE_REMOVE_PAGES', 'EFAULT'),
    writableStruct,
    removePages(data, 'EFAULT'),
  ),
  defineCase(
    'EACCEPT of a page that is not there brings it',
    ready(),
    accept(At.HOLE + PAGE, ACCEPT_NEW),
    write(At.HOLE + PAGE, 9),
    read(At.HOLE + PAGE, '0x9'),
  ),
  defineCase(
    'a page that is touched and not accepted faults on the EPCM',
    ready(),
    read(At.HOLE, 'SIGSEGV-EPCM'),
    accept(At.HOLE, ACCEPT_NEW),
    read(At.HOLE, '0'),
  ),
  defineCase(
    'a new page may be mapped RWX, and gets X by EMODPE',
    ready(),
    accept(At.HOLE, ACCEPT_NEW),
    mprotect(At.HOLE, PAGE, RWX),
    extend(At.HOLE, RWX),
    write(At.HOLE, 1),
  ),
];

export const pageChangeCases = [...common, ...restrictCases, ...modifyCases, ...removeCases];
