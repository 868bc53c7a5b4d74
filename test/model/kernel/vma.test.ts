import { describe, expect, it } from 'vitest';

import { Madvise, MapType } from '../../../src/abi/linux.ts';
import { PageType } from '../../../src/abi/sgx-arch.ts';
import { pageOf } from '../../../src/lib/units.ts';
import { answer, created, opened, PAGE, ready, type Opened } from '../devices/support.ts';
import { At, BASE, ENCLAVE_SIZE_BYTES, RW_REG, RX_REG } from '../../support/virtual-enclave.ts';
import { eaccept, write } from '../../support/virtual-runner.ts';

const NONE = 0;
const R = 1;
const RW = 3;
const RX = 5;
const RWX = 7;

const mapping = (all: Opened, address: number, length: number, prot: number, flags?: number) =>
  answer(all, all.process.mmap(all.enclave.fd, address, length, prot, flags));
const MAY_MAP = 'EACCES: the protection is within what each page was added with';

/** Pages added, nothing mapped. */
function built(): Opened {
  const all = created();
  all.enclave.addUsualPages();
  return all;
}

describe('mmap of an enclave', () => {
  it('EINVAL: MAP_PRIVATE, before everything else', () => {
    const all = built();
    all.process.personalityImpliesExec = true;
    expect(mapping(all, At.DATA, PAGE, RWX, MapType.MAP_PRIVATE)).toBe('EINVAL: the mapping is MAP_SHARED');
    expect(mapping(built(), At.DATA, PAGE, RW, MapType.MAP_SHARED_VALIDATE)).toBe('0');
  });

  it('EACCES: initialized and not within ELRANGE', () => {
    const all = ready();
    const outside = 'EACCES: a mapping of an initialized enclave lies in ELRANGE';
    expect(mapping(all, BASE - PAGE, PAGE, NONE)).toBe(outside);
    expect(mapping(all, BASE + ENCLAVE_SIZE_BYTES - PAGE, 2 * PAGE, NONE)).toBe(outside);
    expect(mapping(all, BASE + ENCLAVE_SIZE_BYTES - PAGE, PAGE, NONE)).toBe('0');
  });

  it('before INIT, and before CREATE, anything goes anywhere', () => {
    expect(mapping(opened(), 0x1000, PAGE, R)).toBe('0');
    expect(mapping(opened(), BASE, ENCLAVE_SIZE_BYTES, RWX)).toBe('0');
    expect(mapping(built(), BASE - PAGE, PAGE, RX)).toBe('0');
  });

  it('EACCES: READ_IMPLIES_EXEC, in any state', () => {
    const all = opened();
    all.process.personalityImpliesExec = true;
    expect(mapping(all, BASE, PAGE, R)).toBe('EACCES: the personality has no READ_IMPLIES_EXEC');
  });

  it.each([
    ['a page with RW as RWX', At.DATA, RWX, MAY_MAP],
    ['a page with RX as RW', At.CODE, RW, MAY_MAP],
    ['a TCS as RWX', At.TCS, RWX, MAY_MAP],
    ['a TCS as RW', At.TCS, RW, '0'],
    ['a page with RW as R', At.DATA, R, '0'],
    ['a page with RX as nothing', At.CODE, NONE, '0'],
    ['no page as RWX', At.HOLE, RWX, '0'],
  ])('may-map: %s', (_, address, prot, expected) => {
    expect(mapping(built(), address, PAGE, prot)).toBe(expected);
  });

  it('one page of many is enough to refuse, and nothing is mapped then', () => {
    const all = built();
    expect(mapping(all, At.SSA, 4 * PAGE, RW)).toBe(MAY_MAP);
    expect(all.process.lastWhy?.expected).toContain(`0x${At.CODE.toString(16)}`);
    expect(all.process.mm.vmas()).toEqual([]);
  });

  it('replaces what was mapped there', () => {
    const all = ready();
    expect(mapping(all, At.DATA, PAGE, R)).toBe('0');
    const vmas = all.process.mm
      .vmas()
      .filter(({ startPage }) => startPage >= pageOf(At.DATA) && startPage < pageOf(At.HOLE));
    expect(
      vmas.map(({ startPage, endPage, prot }) => [startPage - pageOf(BASE), endPage - pageOf(BASE), prot]),
    ).toEqual([
      [4, 5, R],
      [5, 6, RW],
    ]);
  });

  it('the same content is there after munmap and mmap', () => {
    const all = ready();
    all.process.munmap(At.DATA, PAGE);
    expect(all.process.touch(At.DATA, 'read', true)).toEqual({ kind: 'unmapped' });
    expect(mapping(all, At.DATA, PAGE, RW)).toBe('0');
    expect(all.process.touch(At.DATA, 'write', true)).toEqual({ kind: 'ok' });
  });
});

describe('mprotect of enclave mappings', () => {
  it('EACCES: the may-map rule on the exact sub-range', () => {
    const all = ready();
    expect(answer(all, all.process.mprotect(At.DATA, 2 * PAGE, RWX))).toBe(MAY_MAP);
    expect(all.process.mprotect(At.DATA, PAGE, R)).toBe(0);
    expect(all.process.mprotect(At.DATA, PAGE, NONE)).toBe(0);
    expect(all.process.mprotect(At.DATA, PAGE, RW)).toBe(0);
  });

  it('is nothing to do where no enclave is mapped', () => {
    const { process } = ready();
    expect(process.mm.mprotect(0x10, 0x20, RWX)).toEqual({ kind: 'ok', value: false });
    expect(process.mm.mprotect(pageOf(At.DATA), pageOf(At.DATA) + 1, R)).toEqual({ kind: 'ok', value: true });
  });

  it('RESTRICT does not lower the limit, a change to TCS does', () => {
    const all = ready();
    all.enclave.restrict(At.DATA, PAGE, R);
    expect(all.process.mprotect(At.DATA, PAGE, RW)).toBe(0);
    all.process.touch(At.HOLE, 'write', true);
    expect(all.process.mprotect(At.HOLE, PAGE, RWX)).toBe(0);
    accept(all, At.HOLE);
    all.enclave.modifyTypes(At.HOLE, PAGE, PageType.TCS);
    expect(answer(all, all.process.mprotect(At.HOLE, PAGE, RWX))).toBe(MAY_MAP);
  });
});

describe('mremap of an enclave mapping', () => {
  const page = pageOf(At.HOLE);

  it('EFAULT: it does not grow, and comes from one mapping', () => {
    const { process } = ready();
    const move = (...range: [number, number, number, number]) => process.mm.mremap(...range).kind;
    expect(move(page, page + 1, page, page + 2)).toBe('errno');
    expect(move(pageOf(At.DATA), pageOf(At.DATA) + 3, page, page + 3)).toBe('errno');
    expect(move(pageOf(At.CODE), pageOf(At.DATA) + 1, page, page + 2)).toBe('errno');
  });

  it('a moved mapping is one of the pages at its new addresses', () => {
    const { process } = ready();
    expect(process.mm.mremap(pageOf(At.DATA), pageOf(At.DATA) + 1, page, page + 1)).toEqual({
      kind: 'ok',
      value: undefined,
    });
    expect(process.mm.enclaveAt(pageOf(At.DATA))).toBeUndefined();
    expect(process.mm.vmaAt(page)?.prot).toBe(RW);
  });

  it('something else that moves over an enclave mapping ends it', () => {
    const { process } = ready();
    expect(process.mm.mremap(1, 2, page, page + 1).kind).toBe('ok');
    expect(process.mm.enclaveAt(page)).toBeUndefined();
  });
});

describe('mprotect asks what mmap asked', () => {
  it('EACCES: initialized by now and not within ELRANGE, also for PROT_NONE', () => {
    const all = built();
    expect(mapping(all, BASE - PAGE, PAGE, R)).toBe('0');
    expect(all.process.mprotect(BASE - PAGE, PAGE, RX)).toBe(0);
    expect(all.enclave.init()).toBe(0);
    for (const prot of [NONE, R]) {
      expect(answer(all, all.process.mprotect(BASE - PAGE, PAGE, prot))).toBe(
        'EACCES: a mapping of an initialized enclave lies in ELRANGE',
      );
    }
  });

  it('EACCES: READ_IMPLIES_EXEC', () => {
    const all = ready();
    all.process.personalityImpliesExec = true;
    expect(answer(all, all.process.mprotect(At.DATA, PAGE, R))).toBe(
      'EACCES: the personality has no READ_IMPLIES_EXEC',
    );
    expect(all.process.mprotect(0x1000, PAGE, R)).toBe(0);
  });
});

describe('madvise of an enclave mapping', () => {
  it.each([Madvise.MADV_DONTNEED, Madvise.MADV_FREE, Madvise.MADV_DODUMP, Madvise.MADV_DOFORK, 999])(
    'EINVAL: advice %i',
    (advice) => {
      const { process } = ready();
      expect(process.mm.madvise(pageOf(At.DATA), pageOf(At.DATA) + 1, advice)).toMatchObject({
        kind: 'errno',
        errno: 22,
      });
      expect(process.mm.madvise(1, 2, advice).kind).toBe('ok');
    },
  );

  it.each([Madvise.MADV_NORMAL, Madvise.MADV_DONTFORK, Madvise.MADV_WILLNEED, Madvise.MADV_NOHUGEPAGE])(
    '0: advice %i',
    (advice) => {
      const { process } = ready();
      expect(process.mm.madvise(pageOf(At.DATA), pageOf(At.DATA) + 1, advice).kind).toBe('ok');
    },
  );
});

describe('effective protection', () => {
  it('a TCS has none, other pages what VMA and EPCM have in common', () => {
    const { process } = ready();
    const prots = [At.TCS, At.SSA, At.CODE, At.DATA].map((address) => process.nativeProt(address));
    expect(prots).toEqual([NONE, RW, RX, RW]);
  });

  it('none where the VMA has more than the page was added with, until mprotect', () => {
    const all = opened();
    mapping(all, BASE, ENCLAVE_SIZE_BYTES, RWX);
    all.enclave.create();
    all.enclave.addUsualPages();
    expect([At.TCS, At.SSA, At.CODE, At.HOLE].map((address) => all.process.nativeProt(address))).toEqual([
      NONE,
      NONE,
      NONE,
      RWX,
    ]);
    all.process.mprotect(At.CODE, PAGE, RX);
    expect(all.process.nativeProt(At.CODE)).toBe(RX);
  });

  it('follows RESTRICT, and comes back with mprotect only as far as the EPCM goes', () => {
    const all = ready();
    all.enclave.restrict(At.DATA, PAGE, R);
    expect(all.process.nativeProt(At.DATA)).toBe(R);
    all.process.mprotect(At.DATA, PAGE, NONE);
    expect(all.process.nativeProt(At.DATA)).toBe(NONE);
    all.process.mprotect(At.DATA, PAGE, RW);
    expect(all.process.nativeProt(At.DATA)).toBe(R);
  });

  it('updates are coalesced to runs, and told once', () => {
    const all = created({ epcPages: 2048 });
    all.enclave.add(At.HOLE, RW_REG, new Uint8Array(100 * PAGE));
    all.enclave.add(At.HOLE + 100 * PAGE, RX_REG, new Uint8Array(100 * PAGE));
    all.process.mmap(all.enclave.fd, At.HOLE, 300 * PAGE, R);
    const child = all.machine.kernel.forkProcess(all.process.mm, all.process);
    const start = pageOf(At.HOLE);
    expect(child.takeUpdates()).toEqual([{ startPage: start, endPage: start + 200, prot: R }]);
    expect(child.takeUpdates()).toEqual([]);
  });

  it('a forked child is told everything anew', () => {
    const all = ready();
    all.enclave.restrict(At.DATA, PAGE, R);
    const child = all.process.fork();
    expect([At.TCS, At.DATA, At.DATA2, At.CODE].map((address) => child.nativeProt(address))).toEqual([NONE, R, RW, RX]);
    expect(child.mm.vmas()).toEqual(all.process.mm.vmas());
  });
});

/** The enclave accepts an EAUG'd page. */
function accept({ process, enclave }: Opened, address: number): void {
  process.thread().run(At.TCS, function* () {
    yield* write(At.DATA2, enclave.secInfoBytes(0x20b));
    yield* eaccept(At.DATA2, address);
  });
}
