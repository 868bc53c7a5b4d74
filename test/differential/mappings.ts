/** Moves on mappings: mmap, mprotect, munmap, mremap, madvise and the personality. */
import { READ_IMPLIES_EXEC } from '../../src/abi/linux.ts';
import type { EnclaveFile } from '../../src/kernel/enclave.ts';
import { At, BASE, hex, PAGE, SIZE, R, RW, RWX, RX } from '../cases/language.ts';
import { Place } from './build.ts';
import type { Choices } from './choices.ts';
import type { World } from './world.ts';

const SHARED_FIXED = 0x11;
const MAYMOVE_FIXED = 3;
const prots = [RW, R, RX, RWX, 0, 4, 2] as const;

interface Range {
  readonly start: number;
  readonly length: number;
}

/** Where files are mapped that are no enclave yet. */
const NO_ENCLAVE = BASE + 0x7_0000_0000;

/**
 * A range of pages: of a mapping of the file or a part of it, or in or near its enclave, mapped or not. One enclave is
 * never mapped within the ELRANGE of another, where threads inside could tell them apart, but not here.
 */
function range(world: World, choices: Choices, file: EnclaveFile | undefined): Range | undefined {
  const { start, length } = anyRange(world, choices, file);
  return file !== undefined && world.isInUse(file, start, length / PAGE) ? undefined : { start, length };
}

function anyRange(world: World, choices: Choices, file: EnclaveFile | undefined): Range {
  const vmas = world.process.mm.vmas().filter(({ fileId }) => fileId === file?.id);
  if (vmas.length > 0 && !choices.rarely(3)) {
    const { startPage, endPage } = choices.pick(vmas)!;
    const skipped = choices.usually(0, [1, 2]);
    const start = Math.min(startPage + skipped, endPage - 1);
    const pages = choices.pick([endPage - start, 1, 2, 3]);
    return { start: start * PAGE, length: Math.min(pages, 64) * PAGE };
  }
  const base = file?.created ? file.base : NO_ENCLAVE;
  const size = file?.created ? file.sizeBytes : 0x4_0000;
  const offsets = [
    At.DATA,
    At.CODE,
    At.TCS,
    Place.HOLE,
    At.READ_ONLY,
    Place.EXECUTABLE,
    At.SSA,
    -PAGE,
    size - PAGE,
    size,
  ];
  return { start: base + choices.pick(offsets)!, length: choices.pick([1, 2, 4, 16]) * PAGE };
}

function mmap(world: World, choices: Choices): void {
  const fd = choices.pick(world.enclaveFds());
  if (fd === undefined) return;
  const file = world.process.enclave(fd);
  const at = range(world, choices, file);
  if (at === undefined) return;
  const { start, length } = at;
  const others = world.process.mm.vmas().filter(({ fileId }) => fileId !== file.id);
  if (others.some(({ startPage }) => Math.abs(startPage * PAGE - start) <= SIZE)) return;
  const flags = choices.usually(SHARED_FIXED, [0x12, 0x13, 0x10_0001], 6);
  const offset = choices.usually(0, [0x5000], 8);
  world.do(`mmap ${hex(start)} ${hex(length)} ${choices.pick(prots)} ${hex(flags)} ${fd} ${hex(offset)}`);
}

const anyFile = (world: World, choices: Choices) => choices.pick([...world.process.mm.enclaves()]);

function mprotect(world: World, choices: Choices): void {
  const at = range(world, choices, anyFile(world, choices));
  if (at === undefined) return;
  const { start, length } = at;
  world.do(`mprotect ${hex(start)} ${hex(length)} ${choices.pick(prots)}`);
}

function munmap(world: World, choices: Choices): void {
  const at = range(world, choices, anyFile(world, choices));
  if (at === undefined) return;
  const { start, length } = at;
  world.do(`munmap ${hex(start)} ${hex(length)}`);
}

function mremap(world: World, choices: Choices): void {
  const file = anyFile(world, choices);
  const from = range(world, choices, file);
  const to = range(world, choices, file);
  if (from === undefined || to === undefined) return;
  // Not at one go: a thread that is inside may see the moment between.
  if (file !== undefined && world.spinsInside(file)) return;
  const length = choices.usually(from.length, [from.length + PAGE, PAGE]);
  world.do(`mremap ${hex(from.start)} ${hex(from.length)} ${hex(length)} ${MAYMOVE_FIXED} ${hex(to.start)}`);
}

/** MADV_NORMAL to MADV_WILLNEED, DONTNEED, REMOVE, DONTFORK and more, and one that does not exist. */
const advice = [0, 1, 2, 3, 4, 8, 9, 10, 11, 16, 17, 18, 19, 20, 21, 22, 23, 999] as const;

function madvise(world: World, choices: Choices): void {
  const at = range(world, choices, anyFile(world, choices));
  if (at === undefined) return;
  const { start, length } = at;
  world.do(`madvise ${hex(start)} ${hex(length)} ${choices.pick(advice)}`);
}

function personality(world: World, choices: Choices): void {
  world.do(`personality ${hex(choices.pick([READ_IMPLIES_EXEC, 0]))}`);
  mmap(world, choices);
  mprotect(world, choices);
  world.do('personality 0');
}

export const mappingMoves = {
  mmap: { weight: 6, move: mmap },
  mprotect: { weight: 6, move: mprotect },
  munmap: { weight: 3, move: munmap },
  mremap: { weight: 2, move: mremap },
  madvise: { weight: 2, move: madvise },
  personality: { weight: 1, move: personality },
};
