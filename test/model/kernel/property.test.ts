import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { PageType } from '../../../src/abi/sgx-arch.ts';
import { isEvicted } from '../../../src/kernel/page-table.ts';
import { exceedsLimit } from '../../../src/kernel/protection.ts';
import { epcIndex, pageOf } from '../../../src/lib/units.ts';
import { PAGE } from '../devices/support.ts';
import { At, FIXED, BASE, RW_REG, VirtualEnclave } from '../../support/virtual-enclave.ts';
import { VirtualMachine } from '../../../src/virtual/machine.ts';
import type { VirtualProcess } from '../../../src/virtual/process.ts';
import { eaccept, emodpe, write } from '../../../src/virtual/code.ts';

/** The pages that operations choose from: built ones, and holes. */
const PAGES = 24;
const addressOf = (index: number): number => At.HOLE + index * PAGE;
const accessNeeds = { read: 1, write: 2, exec: 4 } as const;

interface World {
  readonly machine: VirtualMachine;
  readonly enclaves: VirtualEnclave[];
  processes: VirtualProcess[];
  /** What the enclave last wrote to a page, by page; of the first enclave. */
  readonly written: Map<number, number>;
}

/** Two enclaves in two processes; the first is shared by both. */
function world(epcPages: number): World {
  const machine = new VirtualMachine({ epcPages });
  const first = machine.process();
  const enclaves = [new VirtualEnclave(first), new VirtualEnclave(first)];
  for (const enclave of enclaves) {
    enclave.create();
    enclave.addUsualPages();
    enclave.add(At.HOLE, RW_REG, new Uint8Array((PAGES / 2) * PAGE));
    enclave.init();
  }
  enclaves[0]!.mapUsualPages(3);
  const second = first.fork();
  return { machine, enclaves, processes: [first, second], written: new Map() };
}

const operation = fc.record({
  what: fc.constantFrom(
    'touch',
    'write',
    'accept',
    'extend',
    'restrict',
    'trim',
    'tcs',
    'remove',
    'mprotect',
    'remap',
    'add',
    'exit',
  ),
  process: fc.nat(1),
  page: fc.nat(PAGES - 1),
  pages: fc.integer({ min: 1, max: 4 }),
  prot: fc.constantFrom(0, 1, 3, 5, 7),
  flags: fc.constantFrom(0x20b, 0x221, 0x223, 0x410, 0x110),
});
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

function run(all: World, { what, process: index, page, pages, prot, flags }: Operation): void {
  const process = all.processes[index % all.processes.length];
  if (process === undefined) return;
  const enclave = all.enclaves[0]!;
  const address = addressOf(page);
  const length = pages * PAGE;
  const as = new VirtualEnclave(process, enclave.fd);
  switch (what) {
    case 'touch':
      process.touch(address, prot & 2 ? 'write' : 'read', (prot & 4) === 0);
      return;
    case 'write': {
      const value = (page + pages + prot) & 0xff;
      const left = process.thread().run(At.TCS, function* () {
        yield* write(address + 4, Uint8Array.of(value));
        return value;
      });
      if (left.kind === 'exit') all.written.set(page, left.value);
      return;
    }
    case 'accept':
    case 'extend': {
      const left = process.thread().run(At.TCS, function* () {
        yield* write(At.DATA, enclave.secInfoBytes(what === 'accept' ? flags : 0x203));
        return yield* what === 'accept' ? eaccept(At.DATA, address) : emodpe(At.DATA, address);
      });
      if (left.kind === 'exit' && left.value === 0 && what === 'accept' && flags === 0x20b) all.written.set(page, 0);
      return;
    }
    case 'restrict':
      as.restrict(address, length, prot === 0 ? 1 : prot);
      return;
    case 'trim':
    case 'tcs':
      as.modifyTypes(address, length, what === 'trim' ? PageType.TRIM : PageType.TCS);
      return;
    case 'remove':
      as.removePages(address, length);
      return;
    case 'mprotect':
      process.mprotect(address, length, prot);
      return;
    case 'remap':
      process.munmap(address, length);
      process.mmap(address, length, prot, FIXED, enclave.fd);
      return;
    case 'add': {
      const other = new VirtualEnclave(process);
      if (other.create() === 0) other.add(BASE, RW_REG, new Uint8Array(length * 4));
      if (prot === 0) process.close(other.fd);
      return;
    }
    case 'exit':
      if (all.processes.length < 2) return;
      process.exit();
      all.processes = all.processes.filter((one) => one !== process);
  }
}

/** EPC in use is what enclaves refer to, the EPCM agrees, and no process can do more than VMA and EPCM allow. */
function check(all: World): void {
  const { kernel, machine, contents } = all.machine;
  const { epcm } = machine.processor;
  let used = 0;
  let backed = 0;
  for (const file of kernel.enclaves()) {
    used += file.versionArrays.pages.length + (file.secs === undefined ? 0 : 1);
    backed += file.evictedSecs === undefined ? 0 : 1;
    file.pages.visit(0, Infinity, (page, flags, location) => {
      if (isEvicted(flags)) return void backed++;
      used++;
      const epcPage = epcIndex(location);
      expect([epcm.valid(epcPage), epcm.page(epcPage), epcm.secsOf(epcPage)]).toEqual([true, page, file.secs]);
      expect(contents.has(file.secs!, page)).toBe(epcm.isFilled(epcPage));
      expect(epcm.type(epcPage)).toBe((flags >> 3) & 7);
    });
  }
  const usage = kernel.usage();
  expect([usage.pages - usage.freePages, usage.backingPages]).toEqual([used, backed]);
  expect(Array.from({ length: epcm.pages }, (_, i) => epcm.valid(epcIndex(i))).filter(Boolean).length).toBe(used);
  for (const process of all.processes) checkRights(all, process);
  checkContents(all);
}

/** After what an entry would apply: a process with nobody inside may be behind. */
function checkRights({ machine: { machine } }: World, process: VirtualProcess): void {
  const { epcm } = machine.processor;
  process.applyUpdates();
  for (let i = 0; i < PAGES; i++) {
    const address = addressOf(i);
    const page = pageOf(address);
    const vma = process.mm.vmaAt(page);
    const enclave = vma?.file.enclaveAt(page);
    const entry = enclave?.pages.get(page);
    for (const access of ['read', 'write', 'exec'] as const) {
      if (!process.canReach(address, access)) continue;
      const epcPage = epcIndex(entry!.location);
      expect(exceedsLimit(enclave!, vma!.prot, entry!.flags)).toBe(false);
      expect(epcm.type(epcPage)).toBe(PageType.REG);
      const rights = epcm.permissions(epcPage) & vma!.prot;
      expect(rights & accessNeeds[access]).not.toBe(0);
    }
  }
}

/** What enclave code wrote is what is there, however often the page was away. */
function checkContents({ machine, enclaves, written }: World): void {
  const { file } = enclaves[0]!;
  const { epcm } = machine.machine.processor;
  const bytes = new Uint8Array(1);
  for (const [index, value] of written) {
    const epcPage = file.pages.residentPage(pageOf(addressOf(index)));
    if (epcPage === undefined || !epcm.isFilled(epcPage)) continue;
    machine.contents.read(file.secs!, pageOf(addressOf(index)), 4, bytes);
    expect([index, bytes[0]]).toEqual([index, value]);
  }
}

describe('random operations on shared enclaves', () => {
  it.each([
    ['with room', 1024, 60],
    ['with hardly any EPC', 90, 40],
  ])('%s: EPC in use is what is referenced, rights are never exceeded, contents stay', (_, epcPages, numRuns) => {
    fc.assert(
      fc.property(fc.array(operation, { minLength: 5, maxLength: 40 }), (operations) => {
        const all = world(epcPages);
        for (const each of operations) {
          run(all, each);
          check(all);
        }
        for (const process of all.processes.splice(0)) process.exit();
        const { freePages, backingPages, enclaves } = all.machine.kernel.usage();
        expect([freePages, backingPages, enclaves]).toEqual([epcPages, 0, 0]);
      }),
      { numRuns },
    );
  });
});
