/**
 * Commands on ranges of pages, whatever goes wrong on the way: each call says exactly how far it came and leaves the rest
 * alone, and a caller who goes on from there has everything done in the end.
 */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PageType } from '../../src/abi/sgx-arch.ts';
import { parseInjection } from '../../src/machine/injection.ts';
import { created, PAGE, ready, type Opened } from '../model/devices/support.ts';
import { At, BASE, FIXED, RW_REG, type VirtualEnclave } from '../support/virtual-enclave.ts';
import { eaccept, write } from '../../src/virtual/code.ts';

const { TCS, TRIM } = PageType;
const PAGES = 24;
const START = BASE + 0x8_0000;
const FIRST_PAGE = (START - BASE) / PAGE;

interface Outputs {
  readonly ret: number;
  readonly count: number;
  readonly result: number;
}

interface Command {
  readonly name: string;
  /** An enclave in which the command can be given for all pages. */
  readonly prepare: (inject: readonly string[]) => Opened;
  readonly call: (enclave: VirtualEnclave, address: number, lengthBytes: number) => Outputs;
  /** EPCM entry of a page before and afterwards; undefined: no page. */
  readonly before: number | undefined;
  readonly after: number | undefined;
  /** What can go wrong at a page, and how often each place is met while preparing. */
  readonly failures: readonly string[];
  readonly met?: Readonly<Record<string, number>>;
}

const zeros = (pages: number): Uint8Array => new Uint8Array(pages * PAGE);

function initialized(inject: readonly string[]): Opened {
  const all = created({ inject });
  all.enclave.addUsualPages();
  all.enclave.add(START, RW_REG, zeros(PAGES));
  expect(all.enclave.init()).toBe(0);
  all.enclave.mapUsualPages();
  expect(all.process.mmap(START, PAGES * PAGE, 3, FIXED, all.enclave.fd)).toBe(START);
  return all;
}

function trimmed(inject: readonly string[]): Opened {
  const all = initialized(inject);
  expect(all.enclave.modifyTypes(START, PAGES * PAGE, TRIM).ret).toBe(0);
  const left = all.process.thread().run(At.TCS, function* () {
    yield* write(At.DATA, all.enclave.secInfoBytes(0x410));
    let codes = 0;
    for (let page = 0; page < PAGES; page++) codes += yield* eaccept(At.DATA, START + page * PAGE);
    return codes;
  });
  expect(left).toEqual({ kind: 'exit', value: 0 });
  return all;
}

const emodpr = ['emodpr:SGX_PAGE_NOT_MODIFIABLE', 'emodpr:SGX_EPC_PAGE_CONFLICT', 'emodpr:#GP'];
const emodt = ['emodt:SGX_PAGE_NOT_MODIFIABLE', 'emodt:SGX_EPC_PAGE_CONFLICT', 'emodt:#GP', 'emodt:#PF'];
const load = ['load:EBUSY', 'load:EFAULT'];

const commands: readonly Command[] = [
  {
    name: 'ADD_PAGES',
    prepare: (inject) => created({ inject }),
    call: (enclave, address, lengthBytes) => enclave.add(address, RW_REG, new Uint8Array(lengthBytes)),
    before: undefined,
    after: RW_REG,
    failures: ['signal:EINTR', 'alloc:ENOMEM', 'alloc:EINTR', 'eadd:#GP', 'eadd:#PF', 'eextend:#GP'],
  },
  {
    name: 'RESTRICT_PERMISSIONS',
    prepare: initialized,
    call: (enclave, address, lengthBytes) => enclave.restrict(address, lengthBytes, 1),
    before: RW_REG,
    after: 0x221,
    failures: [...load, ...emodpr, 'emodpr:#PF'],
  },
  {
    name: 'MODIFY_TYPES to TRIM',
    prepare: initialized,
    call: (enclave, address, lengthBytes) => enclave.modifyTypes(address, lengthBytes, TRIM),
    before: RW_REG,
    after: 0x410,
    failures: [...load, ...emodt],
  },
  {
    name: 'MODIFY_TYPES to TCS',
    prepare: initialized,
    call: (enclave, address, lengthBytes) => enclave.modifyTypes(address, lengthBytes, TCS),
    before: RW_REG,
    after: 0x110,
    failures: [...load, ...emodt, 'unmark:EBUSY'],
  },
  {
    name: 'REMOVE_PAGES',
    prepare: trimmed,
    call: (enclave, address, lengthBytes) => enclave.removePages(address, lengthBytes),
    before: 0x400,
    after: undefined,
    // An injected #PF of EMODPR is what the driver wants to see.
    failures: [...load, ...emodpr, 'unmark:EBUSY'],
    met: { load: 1 },
  },
];

/** Of a page: in the first attempts that reach it, one after the other. */
const failing = (failures: readonly string[]) =>
  fc.array(fc.record({ page: fc.nat(PAGES - 1), failure: fc.constantFrom(...failures) }), { maxLength: 12 });
const ranges = fc.tuple(fc.nat(PAGES - 1), fc.nat(PAGES - 1)).map(([a, b]) => [Math.min(a, b), Math.max(a, b) + 1]);

function rulesOf({ met = {} }: Command, wanted: readonly { page: number; failure: string }[]): string[] {
  const counts = new Map<string, number>();
  return wanted.map(({ page, failure }) => {
    const place = failure.slice(0, failure.indexOf(':'));
    const key = `${place} ${page}`;
    const nth = (counts.get(key) ?? met[place] ?? 0) + 1;
    counts.set(key, nth);
    return `${failure}@page=${FIRST_PAGE + page},nth=${nth}`;
  });
}

/** Gives the command until it is done; checks each call on the way. */
function loop(
  command: Command,
  { enclave }: Opened,
  [first = 0, end = 0]: readonly number[],
  patience: number,
): number {
  let done = first;
  for (let calls = 1; ; calls++) {
    const lengthBytes = (end - done) * PAGE;
    const { ret, count, result } = command.call(enclave, START + done * PAGE, lengthBytes);
    const whole = count === lengthBytes;
    expect(whole || (count % PAGE === 0 && count < lengthBytes)).toBe(true);
    // Success with less is what a signal leaves, and nobody else; it has done something.
    expect(ret === 0 ? count > 0 : !whole).toBe(true);
    expect(result === 0 || ret === -14).toBe(true);
    done += count / PAGE;
    const expected = (page: number) => (page >= first && page < done ? command.after : command.before);
    for (let page = 0; page < PAGES; page++) expect(enclave.entry(START + page * PAGE)).toBe(expected(page));
    if (done === end) return calls;
    if (calls > patience) throw new Error(`${calls} calls, ${ret} at page ${done}`);
  }
}

describe.each(commands)('$name', (command) => {
  it('stops where something goes wrong, and a caller who goes on gets there', () => {
    fc.assert(
      fc.property(ranges, failing(command.failures), (range, wanted) => {
        const rules = rulesOf(command, wanted);
        const all = command.prepare(rules);
        const calls = loop(command, all, range, rules.length + 1);
        // Every rule that lies in the range and could be reached has had its moment: one call each.
        const inRange = rules.filter((rule) => {
          const page = parseInjection(rule).page! - FIRST_PAGE;
          return page >= range[0]! && page < range[1]!;
        });
        expect(calls).toBeLessThanOrEqual(inRange.length + 1);
        expect(calls > 1).toBe(inRange.length > 0);
      }),
      { numRuns: 60 },
    );
  });
});

it('RESTRICT_PERMISSIONS: ETRACK that fails twice stops it, and the caller goes on all the same', () => {
  const all = ready({ inject: ['etrack:SGX_PREV_TRK_INCMPL@nth=2', 'etrack:SGX_PREV_TRK_INCMPL@nth=3'] });
  expect(all.enclave.restrict(At.DATA, 2 * PAGE, 1)).toEqual({ ret: -14, count: PAGE, result: 0 });
  expect(all.enclave.restrict(At.DATA2, PAGE, 1)).toEqual({ ret: 0, count: PAGE, result: 0 });
});
