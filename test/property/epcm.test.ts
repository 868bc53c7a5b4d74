/**
 * Whatever a kernel does, in whatever order: the EPC map stays consistent, eviction loses nothing and forgets no state,
 * and an old copy of a page never comes back.
 */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { PageType, SecInfoFlags, SgxCode } from '../../src/abi/sgx-arch.ts';
import type { Code, Fault, Ok } from '../../src/lib/outcome.ts';
import { epcIndex, PAGE_SIZE_BYTES, pageOf, type EpcIndex } from '../../src/lib/units.ts';
import { eadd } from '../../src/processor/encls/eadd.ts';
import { eaug } from '../../src/processor/encls/eaug.ts';
import { eblock } from '../../src/processor/encls/eblock.ts';
import { eextend, eextendPage } from '../../src/processor/encls/eextend.ts';
import { eldu } from '../../src/processor/encls/eldu.ts';
import { emodpr } from '../../src/processor/encls/emodpr.ts';
import { emodt } from '../../src/processor/encls/emodt.ts';
import { eremove } from '../../src/processor/encls/eremove.ts';
import { etrack } from '../../src/processor/encls/etrack.ts';
import { ewb, type EvictedPage } from '../../src/processor/encls/ewb.ts';
import { eaccept } from '../../src/processor/enclu/eaccept.ts';
import { emodpe } from '../../src/processor/enclu/emodpe.ts';
import { BASE, Flags, Offset, outcome, pattern, secInfo, SECS, TestEnclave, VA } from '../model/processor/enclave.ts';

const { R, W, PENDING, MODIFIED } = SecInfoFlags.bit;
const EPC_PAGES = 64;
/** Offsets that commands choose from: those of the built enclave and a few holes. */
const OFFSETS = [...Object.values(Offset), Offset.SSA + 0x1000, 0x9000, 0xa000];

interface Evicted extends EvictedPage {
  readonly offset: number;
  readonly slot: number;
  /** SECINFO.FLAGS and bytes before the eviction; no bytes for pages that had none. */
  readonly flags: number;
  readonly bytes: Uint8Array | undefined;
}

interface Command {
  readonly leaf: string;
  readonly offset: number;
  readonly flags: number;
  readonly number: number;
}

/** One initialized enclave, driven as by a kernel with a bad memory but one rule: an address has one page. */
class World {
  readonly enclave = new TestEnclave();
  readonly evicted = new Map<number, Evicted>();
  readonly stale: Evicted[] = [];

  free(): EpcIndex | undefined {
    for (let i = 2; i < EPC_PAGES; i++) if (!this.enclave.cpu.epcm.valid(epcIndex(i))) return epcIndex(i);
    return undefined;
  }

  run({ leaf, offset, flags, number }: Command): void {
    const { enclave } = this;
    const { cpu, access } = enclave;
    const page = enclave.pages.get(offset);
    const here = BASE + offset;
    const secInfoAddress = () => {
      const usable = page !== undefined && enclave.pages.has(Offset.DATA) && cpu.epcm.isFilled(enclave.at(Offset.DATA));
      return usable ? enclave.secInfoAt(flags) : BASE + Offset.DATA;
    };
    switch (leaf) {
      case 'EAUG': {
        const free = this.free();
        if (page !== undefined || this.evicted.has(offset) || free === undefined) return;
        if (eaug(cpu, { linAddr: here, secInfo: undefined, secs: SECS }, free).kind === 'ok')
          enclave.pages.set(offset, free);
        return;
      }
      case 'EACCEPT':
        eaccept(cpu, access, secInfoAddress(), here);
        return;
      case 'EACCEPT as it is':
        if (page !== undefined && enclave.pages.has(Offset.DATA) && cpu.epcm.isFilled(enclave.at(Offset.DATA))) {
          eaccept(cpu, access, enclave.secInfoAt(cpu.epcm.secInfoFlags(page)), here);
        }
        return;
      case 'EMODPE':
        emodpe(cpu, access, secInfoAddress(), here);
        return;
      case 'EMODPR':
        if (page !== undefined) emodpr(cpu, secInfo(flags & 7), page);
        return;
      case 'EMODT':
        if (page !== undefined) emodt(cpu, secInfo(number % 2 === 0 ? Flags.TCS : Flags.TRIM), page);
        return;
      case 'EREMOVE':
        if (page !== undefined && eremove(cpu, page).kind === 'ok') enclave.pages.delete(offset);
        return;
      case 'EBLOCK':
        if (page !== undefined) eblock(cpu, page);
        return;
      case 'ETRACK':
        etrack(cpu, SECS);
        return;
      case 'enter':
        enclave.threads.entered.push({ secs: SECS, epoch: cpu.secs(SECS).epoch });
        return;
      case 'leave':
        enclave.threads.entered.splice(number % (enclave.threads.entered.length || 1), 1);
        return;
      case 'EWB':
        if (page !== undefined) this.evict(offset, page, number % 16);
        return;
      case 'ELDU': {
        const held = this.evicted.get(offset);
        if (held !== undefined) this.load(held);
        return;
      }
      default:
        throw new Error(leaf);
    }
  }

  evict(offset: number, page: EpcIndex, slot: number): void {
    const { cpu } = this.enclave;
    // Writing over a version would lose the page that has it: no kernel does that on purpose.
    if (cpu.versionArray(VA)[slot] !== 0n) return;
    const flags = cpu.epcm.secInfoFlags(page);
    const bytes = cpu.epcm.isFilled(page) ? this.enclave.read(offset) : undefined;
    const result = ewb(cpu, page, VA, slot);
    if (result.kind !== 'ok') return;
    this.enclave.pages.delete(offset);
    this.evicted.set(offset, { ...result.value, offset, slot, flags, bytes });
  }

  load(held: Evicted): void {
    const { cpu } = this.enclave;
    const free = this.free();
    if (free === undefined) return;
    expect(outcome(this.tryLoad(held, free))).toBe('ok');
    this.enclave.pages.set(held.offset, free);
    this.evicted.delete(held.offset);
    this.stale.push(held);
    expect(cpu.epcm.secInfoFlags(free)).toBe(held.flags);
    expect(cpu.epcm.blocked(free)).toBe(false);
    if (held.bytes !== undefined) expect(this.enclave.read(held.offset)).toEqual(held.bytes);
  }

  tryLoad({ linAddr, sealed, pcmd, slot }: Evicted, to: EpcIndex): Ok<void> | Fault | Code {
    return eldu(this.enclave.cpu, { linAddr, srcPage: sealed, pcmd, secs: SECS }, to, VA, slot);
  }

  /** What is wrong with the map; nothing, one hopes. */
  violations(): string[] {
    const { cpu, contents, pages } = this.enclave;
    const { epcm } = cpu;
    const found: string[] = [];
    const demand = (holds: boolean, rule: string) => void (holds || found.push(rule));
    const owners = new Map<number, EpcIndex>();
    for (let i = 0; i < EPC_PAGES; i++) {
      const page = epcIndex(i);
      if (!epcm.isChild(page)) continue;
      const flags = epcm.secInfoFlags(page);
      demand(epcm.secsOf(page) === SECS, 'a page has its SECS');
      demand(!owners.has(epcm.page(page)), 'an address has one page');
      demand(contents.has(SECS, epcm.page(page)) === epcm.isFilled(page), 'contents exist for filled pages only');
      demand((flags & PENDING) === 0 || (flags & MODIFIED) === 0, 'PENDING excludes MODIFIED');
      demand((flags & W) === 0 || (flags & R) !== 0, 'W comes with R');
      demand(epcm.type(page) === PageType.REG || epcm.permissions(page) === 0, 'only PT_REG has rights');
      owners.set(epcm.page(page), page);
    }
    demand(owners.size === pages.size && cpu.secs(SECS).children === pages.size, 'the SECS counts its pages');
    for (const [offset, page] of pages)
      demand(owners.get(pageOf(BASE + offset)) === page, 'a page stays where it was put');
    const used = [...cpu.versionArray(VA).entries()].filter(([, version]) => version !== 0n).map(([slot]) => slot);
    const held = [...this.evicted.values()].map(({ slot }) => slot);
    demand(used.join() === held.toSorted((a, b) => a - b).join(), 'VA slots match evicted pages');
    return found;
  }

  /** Makes the page at an offset evictable and evicts it. */
  forceOut(offset: number, slot: number): void {
    const { cpu, threads } = this.enclave;
    threads.entered.length = 0;
    const page = this.enclave.at(offset);
    eblock(cpu, page);
    etrack(cpu, SECS);
    this.evict(offset, page, slot);
  }
}

const leaves = [
  'EAUG',
  'EACCEPT',
  'EACCEPT as it is',
  'EMODPE',
  'EMODPR',
  'EMODT',
  'EREMOVE',
  'EBLOCK',
  'ETRACK',
  'EWB',
  'ELDU',
  'enter',
  'leave',
];
const commands = fc.array(
  fc.record<Command>({
    leaf: fc.constantFrom(...leaves),
    offset: fc.constantFrom(...OFFSETS),
    flags: fc.constantFrom(
      R,
      R | W,
      Flags.X | R,
      Flags.REG_RW | Flags.PENDING,
      Flags.REG_RW | Flags.PR,
      Flags.TCS | MODIFIED,
      Flags.TRIM | MODIFIED,
    ),
    number: fc.nat(31),
  }),
  { maxLength: 80 },
);

describe('random sequences of leaves', () => {
  it('keep one owner per page, contents in step with the map, and VA slots in step with evicted pages', () => {
    fc.assert(
      fc.property(commands, (sequence) => {
        const world = new World();
        for (const command of sequence) {
          world.run(command);
          expect(world.violations()).toEqual([]);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('end with everything in memory after EWB of all pages and ELDU of all, PENDING, MODIFIED, PR and rights included', () => {
    fc.assert(
      fc.property(commands, (sequence) => {
        const world = new World();
        for (const command of sequence) world.run(command);
        for (const held of world.evicted.values()) world.load(held);
        const offsets = [...world.enclave.pages.keys()];
        for (const [slot, offset] of offsets.entries()) world.forceOut(offset, slot + 16);
        expect(world.enclave.cpu.secs(SECS).children).toBe(0);
        expect(world.violations()).toEqual([]);
        for (const held of world.evicted.values()) world.load(held);
        expect(new Set(world.enclave.pages.keys())).toEqual(new Set(offsets));
        expect(world.violations()).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });

  it('never let a page back that has been loaded before', () => {
    fc.assert(
      fc.property(commands, fc.constantFrom(...OFFSETS), (sequence, offset) => {
        const world = new World();
        for (const command of sequence) world.run(command);
        for (const held of world.evicted.values()) world.load(held);
        if (world.enclave.pages.has(offset)) {
          world.forceOut(offset, 3);
          const first = world.evicted.get(offset)!;
          world.load(first);
          world.forceOut(offset, first.slot);
        }
        for (const old of world.stale) {
          expect(world.tryLoad(old, world.free()!)).toMatchObject({ kind: 'code', code: SgxCode.SGX_MAC_COMPARE_FAIL });
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe('EEXTEND of a page', () => {
  it('is exactly sixteen of its chunks, for any bytes, any order of pages and any mixture with single chunks', () => {
    const page = fc.record({
      bytes: fc.uint8Array({ minLength: 8, maxLength: 64 }),
      chunk: fc.nat(15),
      given: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(page, { minLength: 1, maxLength: 24 }), (pages) => {
        const [whole, chunks] = [new TestEnclave({ initialise: false }), new TestEnclave({ initialise: false })];
        for (const [i, { bytes, chunk, given }] of pages.entries()) {
          const srcPage = pattern(i);
          srcPage.set(bytes, chunk * 256);
          const target = epcIndex(20 + i);
          const operands = {
            linAddr: BASE + 0x1_0000 + i * PAGE_SIZE_BYTES,
            srcPage,
            secInfo: secInfo(Flags.REG_RW),
            secs: SECS,
          };
          for (const { cpu } of [whole, chunks]) {
            expect(outcome(eadd(cpu, operands, target))).toBe('ok');
            eextend(cpu, SECS, target, chunk * 256);
          }
          eextendPage(whole.cpu, SECS, target, given ? srcPage : undefined);
          for (let at = 0; at < PAGE_SIZE_BYTES; at += 256) eextend(chunks.cpu, SECS, target, at);
        }
        const digests = [whole, chunks].map(({ cpu }) => cpu.secs(SECS).measurement!.current());
        expect(digests[0]).toEqual(digests[1]);
      }),
      { numRuns: 25 },
    );
  });
});
