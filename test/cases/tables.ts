/** The tables of cases, each with the machine that it runs on. */
import { PageType } from '../../src/abi/sgx-arch.ts';
import { addPagesCases, signalCases } from './add-pages.ts';
import { createCases } from './create.ts';
import { fileCases } from './files.ts';
import { initCases } from './init.ts';
import { injectedCases, injections } from './injected.ts';
import {
  add,
  At,
  create,
  created,
  defineCase,
  FD,
  Memory,
  mmap,
  modifyTypes,
  munmap,
  ONES,
  open,
  PAGE,
  read,
  ready,
  R,
  restrict,
  RW,
  SIZE,
  step,
  touch,
  write,
  type Table,
} from './language.ts';
import { enteringCases } from './entering.ts';
import { faultCases, lifetimeCases, passingCases } from './lifetime.ts';
import { mappingCases } from './mappings.ts';
import { mmapCases } from './mmap.ts';
import { pageChangeCases } from './page-changes.ts';
import { sgx1Cases } from './sgx1.ts';

/** The least that a machine can have. */
const EPC_PAGES = 256;
const fds = Array.from({ length: EPC_PAGES / 2 }, (_, index) => 110 + index);
/** SECS and VA page of an enclave without pages: neither can be evicted. */
const fill = fds.flatMap((fd) => [open(fd), ...create({}, '0', fd)]);

const shortageCases = [
  defineCase(
    'CREATE: ENOMEM: no EPC is free and none can be evicted',
    fill,
    open(),
    create({}, 'ENOMEM'),
    create({}, 'ENOMEM'),
  ),
  defineCase(
    'CREATE: ENOMEM leaves nothing behind: after a close it goes on',
    fill,
    open(),
    create({}, 'ENOMEM'),
    step(`close ${fds[0]}`),
    create(),
  ),
  defineCase('EINVAL for the size comes before ENOMEM', fill, open(), create({ size: 3n }, 'EINVAL')),
  defineCase('CREATE: ENOMEM comes before EIO', fill, open(), create({ xfrm: 1n }, 'ENOMEM')),
  defineCase('the last reference gives EPC back: close', fill, step(`close ${fds[3]}`), created()),
  defineCase(
    'the last reference gives EPC back: not while a mapping is alive',
    fill,
    mmap(0, PAGE, RW, '0', 0x11, fds[3]),
    step(`close ${fds[3]}`),
    open(),
    create({}, 'ENOMEM'),
    step('munmap 0x100000000000 0x1000'),
    create(),
  ),
  defineCase(
    'the last reference gives EPC back: not while a duplicate is open',
    fill,
    step(`dup2 ${fds[3]} 300`, '0x12c'),
    step(`close ${fds[3]}`),
    open(),
    create({}, 'ENOMEM'),
    step('close 300'),
    create(),
  ),
  defineCase('the last reference gives EPC back: a child ends', step('fork'), fill, step('exit'), fill),
  defineCase(
    'the last reference gives EPC back: a child is killed',
    step('fork'),
    fill,
    step('turn 0'),
    step('kill 1'),
    fill,
  ),
  defineCase(
    'the last reference gives EPC back: not while a descriptor is on its way',
    fill,
    step(`pass ${fds[3]} 0`),
    step(`close ${fds[3]}`),
    open(),
    create({}, 'ENOMEM'),
    step('take 300'),
    create({}, 'ENOMEM'),
    step('close 300'),
    create(),
  ),
  defineCase(
    'the last reference gives EPC back: not while a killed process has sent it away',
    step('fork'),
    open(fds[3]),
    create({}, '0', fds[3]),
    mmap(0, PAGE, RW, '0', 0x11, fds[3]),
    step(`pass ${fds[3]} 0`),
    step('turn 0'),
    step('kill 1'),
    fds.slice(1).flatMap((fd) => [open(fd), ...create({}, '0', fd)]),
    open(),
    create({}, 'ENOMEM'),
    step('take 300'),
    create({}, 'ENOMEM'),
    step('close 300'),
    create(),
  ),
  defineCase(
    'the last reference gives EPC back: trimmed, never removed and waiting pages',
    ready(),
    modifyTypes({ offset: At.DATA, pageType: PageType.TRIM }),
    touch(At.HOLE, 'r', ONES),
    step(`close ${FD}`),
    munmap(0, SIZE),
    fill,
  ),
  defineCase(
    'ADD_PAGES: ENOMEM: SECS and VA pages fill the EPC',
    fill,
    step(`close ${fds[0]}`),
    created(),
    step(`dup2 ${FD} 104`, '0x68'),
    add({}, 'ENOMEM'),
    add({ src: Memory.NOWHERE }, 'ENOMEM'),
  ),
  defineCase(
    'ADD_PAGES: more pages than EPC: others are evicted',
    created(),
    [0, 1, 2, 3, 4, 5].flatMap((part) => add({ offset: part * 50 * PAGE, length: 50 * PAGE })),
  ),
  defineCase(
    'pages that were evicted are as they were',
    ready(),
    write(At.DATA, 5),
    restrict({ offset: At.DATA2, permissions: R }),
    fds.slice(0, -10).flatMap((fd) => [open(fd), ...create({}, '0', fd)]),
    read(At.DATA, '0x5'),
    write(At.DATA2, 1, 'SIGSEGV-EPCM'),
  ),
];

export const tables: readonly Table[] = [
  {
    name: 'SGX2',
    cpu: 'sapphire-rapids',
    epcPages: 16384,
    cases: [
      ...createCases,
      ...addPagesCases,
      ...signalCases,
      ...initCases,
      ...pageChangeCases,
      ...mmapCases,
      ...mappingCases,
      ...faultCases,
      ...lifetimeCases,
      ...enteringCases,
      ...passingCases,
      ...fileCases,
    ],
  },
  { name: 'SGX1', cpu: 'skylake', epcPages: 16384, cases: sgx1Cases },
  { name: 'injected', cpu: 'sapphire-rapids', epcPages: 16384, inject: injections, cases: injectedCases },
  { name: '1 MiB of EPC', cpu: 'icelake', epcPages: EPC_PAGES, cases: shortageCases },
];
