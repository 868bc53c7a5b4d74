/** mmap. Source: do_mmap in mm/mmap.c; sgx_mmap, sgx_get_unmapped_area in driver.c; sgx_encl_may_map in encl.c. */
import { Madvise } from '../../src/abi/linux.ts';
import {
  add,
  At,
  BASE,
  built,
  create,
  created,
  defineCase,
  FD,
  hex,
  initialized,
  mmap,
  mprotect,
  munmap,
  onlyReal,
  open,
  openProvision,
  PAGE,
  PROVISION_FD,
  R,
  read,
  ready,
  RW,
  RWX,
  RX,
  SIZE,
  step,
  touch,
  write,
} from './language.ts';

const PRIVATE_FIXED = 0x12;
const VALIDATE_FIXED = 0x13;
const NOREPLACE = 0x10_0001;
const READ_IMPLIES_EXEC = 0x40_0000;
const impliesExec = step(`personality ${hex(READ_IMPLIES_EXEC)}`);

export const mmapCases = [
  defineCase(
    'mmap: EINVAL: MAP_PRIVATE, before everything else the driver asks',
    built(),
    impliesExec,
    mmap(At.DATA, PAGE, RWX, 'EINVAL', PRIVATE_FIXED),
  ),
  defineCase('mmap: MAP_SHARED_VALIDATE will do', built(), mmap(At.DATA, PAGE, RW, '0', VALIDATE_FIXED)),
  defineCase(
    'mmap: EACCES: READ_IMPLIES_EXEC, on a fresh file, for PROT_NONE, too',
    open(),
    impliesExec,
    mmap(0, PAGE, R, 'EACCES'),
    mmap(0, PAGE, 0, 'EACCES'),
    step('personality 0', hex(READ_IMPLIES_EXEC)),
    mmap(0, PAGE, R),
  ),
  defineCase(
    'mmap: EACCES: initialized and before ELRANGE',
    initialized(),
    mmap(-PAGE, PAGE, R, 'EACCES'),
    mmap(-PAGE, PAGE, 0, 'EACCES'),
  ),
  defineCase(
    'mmap: EACCES: initialized and across the start of ELRANGE',
    initialized(),
    mmap(-PAGE, 2 * PAGE, 0, 'EACCES'),
  ),
  defineCase(
    'mmap: EACCES: initialized and across the end of ELRANGE',
    initialized(),
    mmap(SIZE - PAGE, 2 * PAGE, 0, 'EACCES'),
    mmap(SIZE - PAGE, PAGE, RWX),
  ),
  defineCase(
    'mmap: anything anywhere on a fresh file',
    open(),
    mmap(0, SIZE, RWX),
    mmap(-PAGE, PAGE, R),
    mmap(2 * SIZE, PAGE, RX),
  ),
  defineCase(
    'mmap: anything without pages between CREATE and INIT',
    created(),
    mmap(0, SIZE, RWX),
    mmap(-PAGE, PAGE, R),
  ),
  ...(
    [
      ['a page with RW as RWX', At.DATA, RWX, 'EACCES'],
      ['a page with RW as RX', At.DATA, RX, 'EACCES'],
      ['a page with RX as RW', At.CODE, RW, 'EACCES'],
      ['a page with R as RX', At.READ_ONLY, RX, 'EACCES'],
      ['a TCS as RWX', At.TCS, RWX, 'EACCES'],
      ['a TCS as RX', At.TCS, RX, 'EACCES'],
      ['a TCS as RW', At.TCS, RW, '0'],
      ['a page with RW as R', At.DATA, R, '0'],
      ['a page with RX as X', At.CODE, 4, '0'],
      ['a page with R as nothing', At.READ_ONLY, 0, '0'],
      ['no page as RWX', At.HOLE, RWX, '0'],
    ] as const
  ).flatMap(([title, offset, prot, gives]) => [
    defineCase(`mmap before INIT: ${title}`, built(), mmap(offset, PAGE, prot, gives)),
    defineCase(`mmap after INIT: ${title}`, initialized(), mmap(offset, PAGE, prot, gives)),
    defineCase(`mprotect: ${title}`, initialized(), mmap(offset, PAGE, 0), mprotect(offset, PAGE, prot, gives)),
  ]),
  defineCase(
    'mmap: EACCES: one page of many is enough, and nothing is mapped',
    initialized(),
    mmap(At.CODE, 3 * PAGE, RW, 'EACCES'),
    touch(At.DATA, 'r', 'SIGSEGV'),
  ),
  defineCase(
    'mmap: pages that are not there impose nothing on their neighbours',
    initialized(),
    mmap(At.DATA, PAGE, RW),
    mmap(At.HOLE, 16 * PAGE, RWX),
  ),
  defineCase(
    'mmap: the offset has no meaning: an address decides which page it is',
    ready(),
    write(At.DATA, 7),
    munmap(At.DATA, PAGE),
    step(`mmap ${hex(BASE + At.DATA)} 0x1000 3 0x11 ${FD} 0x5000`),
    read(At.DATA, '0x7'),
  ),
  defineCase(
    'mmap: what an enclave mapping replaces is gone',
    ready(),
    mmap(At.DATA, PAGE, R),
    write(At.DATA, 1, 'SIGSEGV'),
    write(At.DATA2, 2),
  ),
  defineCase(
    'mmap: two mappings of one range, one after the other',
    ready(),
    write(At.DATA, 3),
    mmap(At.DATA, 2 * PAGE, RW),
    read(At.DATA, '0x3'),
  ),
  defineCase(
    'mmap: an ordinary mapping over enclave pages hides them',
    ready(),
    write(At.DATA, 3),
    step(`mmap ${hex(BASE + At.DATA)} 0x1000 3 0x32 -1 0`),
    touch(At.DATA, 'r', '0x0'),
    munmap(At.DATA, PAGE),
    mmap(At.DATA, PAGE, RW),
    read(At.DATA, '0x3'),
  ),
  onlyReal(
    defineCase(
      'mmap: EEXIST: MAP_FIXED_NOREPLACE over a mapping; 0 in free space',
      initialized(),
      mmap(At.DATA, PAGE, R, '0', NOREPLACE),
      mmap(At.DATA, PAGE, R, 'EEXIST', NOREPLACE),
    ),
  ),
  onlyReal(
    defineCase(
      'mmap: EEXIST comes before EACCES',
      initialized(),
      mmap(At.DATA, PAGE, R),
      mmap(At.DATA, PAGE, RWX, 'EEXIST', NOREPLACE),
    ),
  ),
  onlyReal(
    defineCase(
      'mmap: EINVAL: MAP_PRIVATE comes before EEXIST',
      initialized(),
      mmap(At.DATA, PAGE, R),
      mmap(At.DATA, PAGE, R, 'EINVAL', 0x10_0002),
    ),
  ),
  onlyReal(defineCase('mmap: EINVAL: length 0, before MAP_PRIVATE', initialized(), mmap(At.DATA, 0, R, 'EINVAL'))),
  onlyReal(
    defineCase('mmap: EINVAL: an address that is not aligned', initialized(), mmap(At.DATA + 8, PAGE, R, 'EINVAL')),
  ),
  onlyReal(
    defineCase(
      'mmap: EINVAL: an offset that is not aligned',
      initialized(),
      step(`mmap ${hex(BASE + At.DATA)} 0x1000 1 0x11 ${FD} 8`, 'EINVAL'),
    ),
  ),
  onlyReal(
    defineCase(
      'mmap: ENOMEM: beyond the address space',
      open(),
      step(`mmap 0x7ffffffff000 0x2000 1 0x11 ${FD} 0`, 'ENOMEM'),
    ),
  ),
  onlyReal(
    defineCase(
      'mmap: ENOMEM: a length that wraps',
      open(),
      step(`mmap ${hex(BASE)} 0xffffffffffffffff 1 0x11 ${FD} 0`, 'ENOMEM'),
    ),
  ),
  defineCase(
    'mmap: EACCES: PROT_WRITE of a file opened O_RDONLY',
    step(`device ${FD} /dev/sgx_enclave 0`),
    mmap(0, PAGE, RW, 'EACCES'),
    mmap(0, PAGE, R),
  ),
  defineCase(
    'mmap: EACCES: a file opened O_WRONLY',
    step(`device ${FD} /dev/sgx_enclave 1`),
    mmap(0, PAGE, R, 'EACCES'),
    mmap(0, PAGE, 0, 'EACCES'),
  ),
  defineCase(
    'mprotect: EACCES: PROT_WRITE of a file opened O_RDONLY',
    step(`device ${FD} /dev/sgx_enclave 0`),
    mmap(0, PAGE, R),
    mprotect(0, PAGE, RW, 'EACCES'),
  ),
  defineCase(
    'mmap: EACCES: a file opened with access mode 3',
    step(`device ${FD} /dev/sgx_enclave 3`),
    mmap(0, PAGE, R, 'EACCES'),
    create(),
  ),
  defineCase(
    'mmap: EACCES for the access mode comes after EINVAL for MAP_PRIVATE',
    step(`device ${FD} /dev/sgx_enclave 0`),
    mmap(0, PAGE, RW, 'EINVAL', PRIVATE_FIXED),
  ),
  defineCase(
    'mmap: EACCES for the access mode comes before ENODEV',
    step(`device ${PROVISION_FD} /dev/sgx_provision 1`),
    mmap(0, PAGE, R, 'EACCES', 0x11, PROVISION_FD),
  ),
  defineCase(
    'madvise: EACCES: MADV_REMOVE of a file opened O_RDONLY',
    step(`device ${FD} /dev/sgx_enclave 0`),
    mmap(At.DATA, PAGE, R),
    step(`madvise ${hex(BASE + At.DATA)} 0x1000 ${Madvise.MADV_REMOVE}`, 'EACCES'),
  ),
  defineCase(
    'an enclave is built and used on a file opened O_RDONLY',
    step(`device ${FD} /dev/sgx_enclave 0`),
    create(),
    add(),
  ),
  defineCase('mmap: ENODEV: /dev/sgx_provision', openProvision(), mmap(0, PAGE, R, 'ENODEV', 0x11, PROVISION_FD)),
  defineCase(
    'mmap: ENODEV: /dev/sgx_provision, MAP_PRIVATE',
    openProvision(),
    mmap(0, PAGE, R, 'ENODEV', PRIVATE_FIXED, PROVISION_FD),
  ),
];
