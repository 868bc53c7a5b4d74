/**
 * Each reason for which a command on a range of pages stops, at the third of its four pages or at the first, and the caller
 * who goes on from there. What a real kernel meets once in a blue moon is injected.
 */
import { PageType } from '../../src/abi/sgx-arch.ts';
import {
  accept,
  add,
  built,
  created,
  defineCase,
  extend,
  hex,
  init,
  mapUsualPages,
  mmap,
  modifyTypes,
  PAGE,
  PT_REG,
  R,
  read,
  ready,
  removePages,
  restrict,
  RW,
  RWX,
  sign,
  write,
  type Case,
  type Step,
} from './language.ts';

const { TCS, TRIM } = PageType;
const PAGES = 4;
const ACCEPT_NEW = 0x20b;
const ACCEPT_TRIM = 0x410;

/** All cases run on one machine, which counts: so each has pages of its own. */
let nextOffset = 0x10_0000;
const rules: string[] = [];

/**
 * @param rule without WHEN, which is the third page or `at`, and the so-many-th time that it is met
 * @param steps of the case, given the offset of its pages
 */
function injectedCase(
  title: string,
  rule: string,
  steps: (offset: number) => readonly (Step | readonly Step[])[],
  { at = 2, nth = 1 } = {},
): Case {
  const offset = nextOffset;
  nextOffset += PAGES * PAGE;
  rules.push(`${rule}@page=${hex(offset / PAGE + at)},nth=${nth}`);
  return defineCase(`${title}: ${rule}`, ...steps(offset));
}

const kind = PT_REG | RW;
const withPages = (offset: number): Step[] => [
  ...built(),
  ...add({ offset, kind, length: PAGES * PAGE }),
  ...init(sign({}, [{ offset, kind, pages: PAGES }])),
  ...mapUsualPages(),
  mmap(offset, PAGES * PAGE, RW),
];
const trimmed = (offset: number): Step[] => [
  ...withPages(offset),
  ...modifyTypes({ offset, length: PAGES * PAGE, pageType: TRIM }),
  ...[0, 1, 2, 3].flatMap((page) => accept(offset + page * PAGE, ACCEPT_TRIM)),
];

/** The call stops at the third page; another for what is left ends well. */
const stops =
  (
    prepare: (offset: number) => Step[],
    call: (range: { offset: number; length: number }, gives?: string, outputs?: object) => Step[],
    gives: string,
    result = 0,
  ) =>
  (offset: number) => [
    ...prepare(offset),
    ...call({ offset, length: PAGES * PAGE }, gives, { count: 2 * PAGE, ...(result !== 0 && { result }) }),
    ...call({ offset: offset + 2 * PAGE, length: 2 * PAGE }),
  ];

const addRange = (range: object, gives?: string, outputs?: { count?: number }): Step[] =>
  add({ ...range, kind }, gives, outputs?.count);
const restrictRange = (range: object, gives?: string, outputs?: object): Step[] =>
  restrict({ ...range, permissions: R }, gives, outputs);
const trim = (range: object, gives?: string, outputs?: object): Step[] =>
  modifyTypes({ ...range, pageType: TRIM }, gives, outputs);
const makeTcs = (range: object, gives?: string, outputs?: object): Step[] =>
  modifyTypes({ ...range, pageType: TCS }, gives, outputs);

export const injectedCases: readonly Case[] = [
  ...(
    [
      ['signal:EINTR', '0'],
      ['alloc:EINTR', 'EINTR'],
      ['alloc:ENOMEM', 'ENOMEM'],
      ['eadd:#GP', 'EIO'],
      ['eadd:#PF', 'EIO'],
      ['eextend:#GP', 'EIO'],
    ] as const
  ).map(([rule, gives]) =>
    injectedCase(
      'ADD_PAGES',
      rule,
      stops(() => created(), addRange, gives),
    ),
  ),
  injectedCase(
    'ADD_PAGES, at the first page',
    'signal:EINTR',
    (offset) => [created(), add({ offset, length: PAGE }, 'EINTR'), add({ offset, length: PAGE })],
    { at: 0 },
  ),
  ...(
    [
      ['load:EBUSY', 'EAGAIN', 0],
      ['load:EFAULT', 'EFAULT', 0],
      ['emodpr:SGX_PAGE_NOT_MODIFIABLE', 'EFAULT', 20],
      ['emodpr:SGX_EPC_PAGE_CONFLICT', 'EFAULT', 7],
      ['emodpr:#GP', 'EFAULT', 0],
      ['emodpr:#PF', 'EFAULT', 0],
    ] as const
  ).map(([rule, gives, result]) => injectedCase('RESTRICT', rule, stops(withPages, restrictRange, gives, result))),
  ...(
    [
      ['load:EBUSY', 'EAGAIN', 0],
      ['load:EFAULT', 'EFAULT', 0],
      ['emodt:SGX_PAGE_NOT_MODIFIABLE', 'EFAULT', 20],
      ['emodt:SGX_EPC_PAGE_CONFLICT', 'EFAULT', 7],
      ['emodt:#GP', 'EFAULT', 0],
      ['emodt:#PF', 'EFAULT', 0],
    ] as const
  ).flatMap(([rule, gives, result]) => [
    injectedCase('MODIFY_TYPES to TRIM', rule, stops(withPages, trim, gives, result)),
    injectedCase('MODIFY_TYPES to TCS', rule, stops(withPages, makeTcs, gives, result)),
  ]),
  injectedCase('MODIFY_TYPES to TCS', 'unmark:EBUSY', stops(withPages, makeTcs, 'EAGAIN')),
  // MODIFY_TYPES has loaded the page before.
  injectedCase('REMOVE_PAGES', 'load:EBUSY', stops(trimmed, removePages, 'EAGAIN'), { nth: 2 }),
  injectedCase('REMOVE_PAGES', 'load:EFAULT', stops(trimmed, removePages, 'EFAULT'), { nth: 2 }),
  ...(
    [
      ['unmark:EBUSY', 'EBUSY'],
      ['emodpr:SGX_PAGE_NOT_MODIFIABLE', 'EPERM'],
      ['emodpr:#GP', 'EPERM'],
    ] as const
  ).map(([rule, gives]) => injectedCase('REMOVE_PAGES', rule, stops(trimmed, removePages, gives))),
  injectedCase(
    'a touch where there is no page',
    'eaug:#GP',
    (offset) => [ready(), mmap(offset, PAGE, RW), read(offset, 'SIGBUS'), accept(offset, ACCEPT_NEW), write(offset, 5)],
    { at: 0 },
  ),
  injectedCase(
    'a touch where there is no page',
    'alloc:ENOMEM',
    (offset) => [ready(), mmap(offset, PAGE, RW), read(offset, 'SIGBUS'), accept(offset, ACCEPT_NEW), write(offset, 5)],
    { at: 0 },
  ),
  ...(
    [
      ['eaccept:SGX_NOT_TRACKED', '0xb'],
      ['eaccept:SGX_PAGE_ATTRIBUTES_MISMATCH', '0x13'],
      ['eaccept:#GP', 'SIGSEGV-GP'],
      ['eaccept:#PF', 'SIGSEGV-EPCM'],
    ] as const
  ).map(([rule, gives]) =>
    injectedCase(
      'EACCEPT',
      rule,
      (offset) => [
        ready(),
        mmap(offset, PAGE, RW),
        accept(offset, ACCEPT_NEW, gives),
        accept(offset, ACCEPT_NEW),
        write(offset, 5),
      ],
      { at: 0 },
    ),
  ),
  injectedCase(
    'EMODPE of a page that is then as it was',
    'emodpe:#GP',
    (offset) => [withPages(offset), extend(offset, RWX, 'SIGSEGV-GP'), write(offset, 5), extend(offset, RWX)],
    { at: 0 },
  ),
];

/** For the machine that they run on. */
export const injections: readonly string[] = rules;
