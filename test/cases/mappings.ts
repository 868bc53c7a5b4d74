/** mprotect, mremap, madvise. Source: mm/mprotect.c, mm/mremap.c, mm/madvise.c; sgx_vma_mprotect in encl.c. */
import { Madvise } from '../../src/abi/linux.ts';
import {
  add,
  At,
  BASE,
  built,
  created,
  defineCase,
  hex,
  init,
  mmap,
  mprotect,
  munmap,
  ONES,
  onlyReal,
  PAGE,
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

const READ_IMPLIES_EXEC = 0x40_0000;
const impliesExec = step(`personality ${hex(READ_IMPLIES_EXEC)}`);

const mprotectCases = [
  defineCase(
    'mprotect: EACCES for the exact sub-range only',
    ready(),
    mprotect(At.DATA, 2 * PAGE, RWX, 'EACCES'),
    mprotect(At.DATA, PAGE, R),
    mprotect(At.DATA, PAGE, 0),
    mprotect(At.DATA, PAGE, RW),
    write(At.DATA, 1),
  ),
  defineCase(
    'mprotect to R: a write inside faults without the SGX bit',
    ready(),
    mprotect(At.DATA, PAGE, R),
    read(At.DATA, '0'),
    write(At.DATA, 1, 'SIGSEGV'),
  ),
  defineCase(
    'mprotect to nothing: a read inside faults without the SGX bit',
    ready(),
    mprotect(At.DATA, PAGE, 0),
    read(At.DATA, 'SIGSEGV'),
    touch(At.DATA, 'r', 'SIGSEGV'),
  ),
  defineCase(
    'mprotect: EACCES: initialized by now and not within ELRANGE, for PROT_NONE, too',
    built(),
    mmap(-PAGE, PAGE, R),
    mprotect(-PAGE, PAGE, RX),
    init(),
    mprotect(-PAGE, PAGE, R, 'EACCES'),
    mprotect(-PAGE, PAGE, 0, 'EACCES'),
  ),
  defineCase(
    'mprotect: EACCES for one mapping: those before it are changed, those behind not',
    ready(),
    mprotect(At.CODE, 3 * PAGE, RX, 'EACCES'),
    mprotect(At.READ_ONLY, PAGE, 0),
    mprotect(At.DATA, 3 * PAGE, R),
    write(At.DATA2, 1, 'SIGSEGV'),
    read(At.READ_ONLY, '0'),
    mprotect(At.CODE, 4 * PAGE, RW, 'EACCES'),
    read(At.DATA2, '0'),
    write(At.DATA2, 1, 'SIGSEGV'),
  ),
  defineCase(
    'mprotect: ENOMEM: a hole: what is before is changed, what is behind is not',
    ready(),
    munmap(At.DATA2, PAGE),
    mprotect(At.DATA, 3 * PAGE, 0, 'ENOMEM'),
    read(At.DATA, 'SIGSEGV'),
    read(At.READ_ONLY, '0'),
  ),
  defineCase('mprotect: EACCES: READ_IMPLIES_EXEC', ready(), impliesExec, mprotect(At.DATA, PAGE, R, 'EACCES')),
  defineCase(
    'mprotect: the rights of pages added since count',
    created(),
    mmap(0, SIZE, R),
    add(),
    mprotect(0, SIZE, RX, 'EACCES'),
    mprotect(0, SIZE, RW),
  ),
  onlyReal(defineCase('mprotect: EINVAL: not aligned', ready(), mprotect(At.DATA + 8, PAGE, R, 'EINVAL'))),
  onlyReal(defineCase('mprotect: 0 for no length', ready(), mprotect(At.DATA, 0, R))),
  onlyReal(defineCase('mprotect: ENOMEM: it begins in nothing', ready(), mprotect(-PAGE, 2 * PAGE, R, 'ENOMEM'))),
  onlyReal(
    defineCase(
      'mprotect: ENOMEM: it ends in nothing; what comes before is changed',
      ready(),
      mprotect(At.READ_ONLY, 2 * PAGE, 0, 'ENOMEM'),
      read(At.READ_ONLY, 'SIGSEGV'),
    ),
  ),
];

const move = (offset: number, oldBytes: number, newBytes: number, flags: number, to: number, gives = hex(to)) =>
  step(`mremap ${hex(BASE + offset)} ${hex(oldBytes)} ${hex(newBytes)} ${flags} ${hex(to)}`, gives);
const MAYMOVE_FIXED = 3;
const mremapCases = [
  defineCase(
    'mremap: EFAULT: a mapping does not grow in place',
    ready(),
    move(At.HOLE, PAGE, 2 * PAGE, 0, 0, 'EFAULT'),
    move(At.HOLE, PAGE, 2 * PAGE, 1, 0, 'EFAULT'),
  ),
  defineCase(
    'mremap: EFAULT: nor when it moves',
    ready(),
    move(At.DATA, PAGE, 2 * PAGE, MAYMOVE_FIXED, BASE + 0x20_0000, 'EFAULT'),
    read(At.DATA, '0'),
  ),
  defineCase(
    'mremap: EFAULT: more than one mapping',
    ready(),
    move(At.CODE, 3 * PAGE, 3 * PAGE, MAYMOVE_FIXED, BASE + 0x20_0000, 'EFAULT'),
  ),
  defineCase(
    'mremap: EFAULT: what makes room is gone all the same',
    ready(),
    move(At.CODE, 2 * PAGE, 2 * PAGE, MAYMOVE_FIXED, BASE + At.READ_ONLY, 'EFAULT'),
    read(At.READ_ONLY, 'SIGSEGV'),
    move(At.HOLE + 16 * PAGE, PAGE, PAGE, MAYMOVE_FIXED, BASE + At.DATA, 'EFAULT'),
    read(At.DATA, '0'),
  ),
  defineCase(
    'mremap: what the page at the old place allowed does not matter at the new one',
    ready(),
    move(At.TCS, PAGE, PAGE, MAYMOVE_FIXED, BASE + At.DATA),
    mmap(At.TCS, PAGE, RW),
    write(At.DATA, 5),
  ),
  defineCase(
    'mremap: a moved mapping is of the pages at its new addresses',
    ready(),
    write(At.DATA, 1),
    write(At.DATA2, 2),
    munmap(At.DATA2, PAGE),
    move(At.DATA, PAGE, PAGE, MAYMOVE_FIXED, BASE + At.DATA2),
    read(At.DATA, 'SIGSEGV'),
    read(At.DATA2, '0x2'),
  ),
  defineCase(
    'mremap: a mapping moved out of ELRANGE has no pages',
    ready(),
    move(At.DATA, PAGE, PAGE, MAYMOVE_FIXED, BASE + 2 * SIZE),
    touch(2 * SIZE, 'r', 'SIGBUS'),
  ),
  onlyReal(
    defineCase(
      'mremap: EINVAL: MREMAP_DONTUNMAP',
      ready(),
      move(At.DATA, PAGE, PAGE, 5, 0, 'EINVAL'),
      read(At.DATA, '0'),
    ),
  ),
  onlyReal(
    defineCase(
      'mremap: EINVAL: flags that do not exist, MREMAP_FIXED alone, no new length, not aligned',
      ready(),
      move(At.DATA, PAGE, PAGE, 8, 0, 'EINVAL'),
      move(At.DATA, PAGE, PAGE, 2, BASE + At.HOLE, 'EINVAL'),
      move(At.DATA, PAGE, 0, 1, 0, 'EINVAL'),
      move(At.DATA + 8, PAGE, PAGE, 1, 0, 'EINVAL'),
    ),
  ),
  onlyReal(
    defineCase(
      'mremap: EINVAL: the new range overlaps the old',
      ready(),
      move(At.HOLE, 2 * PAGE, 2 * PAGE, MAYMOVE_FIXED, BASE + At.HOLE + PAGE, 'EINVAL'),
    ),
  ),
  onlyReal(
    defineCase(
      'mremap: a mapping shrinks in place',
      ready(),
      move(At.DATA, 2 * PAGE, PAGE, 0, 0, hex(BASE + At.DATA)),
      read(At.DATA, '0'),
      read(At.DATA2, 'SIGSEGV'),
    ),
  ),
  onlyReal(
    defineCase(
      'mremap: a mapping shrinks and moves',
      ready(),
      move(At.HOLE, 16 * PAGE, PAGE, MAYMOVE_FIXED, BASE + 0x20_0000),
      touch(At.HOLE, 'r', 'SIGSEGV'),
      touch(0x20_0000, 'r', ONES),
      touch(0x20_1000, 'r', 'SIGSEGV'),
    ),
  ),
  onlyReal(
    defineCase(
      'mremap: the same length in place is nothing to do',
      ready(),
      move(At.DATA, PAGE, PAGE, 0, 0, hex(BASE + At.DATA)),
      read(At.DATA, '0'),
    ),
  ),
];

const madvise = (advice: number, gives = '0', offset: number = At.DATA, lengthBytes = PAGE) =>
  step(`madvise ${hex(BASE + offset)} ${hex(lengthBytes)} ${advice}`, gives);
const refusedAdvice = [
  'MADV_DONTNEED',
  'MADV_FREE',
  'MADV_DODUMP',
  'MADV_DOFORK',
  'MADV_WIPEONFORK',
  'MADV_COLD',
  'MADV_PAGEOUT',
  'MADV_DONTNEED_LOCKED',
  'MADV_POPULATE_READ',
  'MADV_POPULATE_WRITE',
] as const;
const takenAdvice = [
  'MADV_NORMAL',
  'MADV_RANDOM',
  'MADV_SEQUENTIAL',
  'MADV_WILLNEED',
  'MADV_DONTFORK',
  'MADV_NOHUGEPAGE',
  'MADV_DONTDUMP',
  'MADV_KEEPONFORK',
] as const;
const madviseCases = [
  ...refusedAdvice.map((name) =>
    defineCase(
      `madvise: EINVAL: ${name}`,
      ready(),
      write(At.DATA, 4),
      madvise(Madvise[name], 'EINVAL'),
      read(At.DATA, '0x4'),
    ),
  ),
  ...takenAdvice.map((name) =>
    defineCase(`madvise: 0: ${name}`, ready(), write(At.DATA, 4), madvise(Madvise[name]), read(At.DATA, '0x4')),
  ),
  defineCase('madvise: EINVAL: advice that does not exist', ready(), madvise(999, 'EINVAL')),
  defineCase(
    'madvise: ENOMEM: a hole, behind which it goes on',
    ready(),
    munmap(At.DATA2, PAGE),
    madvise(Madvise.MADV_NORMAL, 'ENOMEM', At.DATA, 3 * PAGE),
    madvise(Madvise.MADV_COLD, 'EINVAL', At.DATA2, 2 * PAGE),
    madvise(999, 'EINVAL', At.DATA2),
  ),
  defineCase(
    'madvise: ENODEV: MADV_REMOVE, for the device has no fallocate',
    ready(),
    write(At.DATA, 4),
    madvise(Madvise.MADV_REMOVE, 'ENODEV'),
    read(At.DATA, '0x4'),
  ),
];

export const mappingCases = [...mprotectCases, ...mremapCases, ...madviseCases];
