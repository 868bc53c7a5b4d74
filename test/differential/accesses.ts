/** Moves that use enclave memory: from outside, from inside, and by the ENCLU leaves that enclave code has. */
import { Enclu, PageType } from '../../src/abi/sgx-arch.ts';
import type { EnclaveFile } from '../../src/kernel/enclave.ts';
import { maxProtOf } from '../../src/kernel/page-table.ts';
import { addressOf, pageOf } from '../../src/lib/units.ts';
import { At, Do, hex, Memory, PAGE, PT_REG, R, RW, RWX, RX } from '../cases/language.ts';
import { Place } from './build.ts';
import { Choices } from './choices.ts';
import type { Place as Thread, World } from './world.ts';

/** What moves read and write; below are operands of leaves, and in a save area the registers. */
const WORDS = [0x800, 0x808, 0x810] as const;
/** Where leaves find their operands, in the data pages. */
const Operand = {
  KEYREQUEST: At.DATA,
  SECINFO: At.DATA + 0x400,
  TARGETINFO: At.DATA + PAGE,
  REPORTDATA: At.DATA + PAGE + 0x400,
  KEY: At.DATA + PAGE + 0x500,
  REPORT: At.DATA + PAGE + 0x600,
} as const;

/** A TCS of an enclave mapped here, mostly one with a free frame. */
export function threadOf(world: World, choices: Choices): Thread | undefined {
  const tcses = world.tcses();
  const free = tcses.filter((tcs) => world.hasFreeFrame(tcs));
  return choices.pick(free.length === 0 || choices.rarely(6) ? tcses : free);
}

/** EENTER with registers, by ENCLU or by the vDSO function. What the enclave said, or the fault. */
export function enterTo(
  world: World,
  choices: Choices,
  { address }: { readonly address: number },
  what: number,
  rsi: number,
  rdx: number | bigint,
  r9 = 0,
): string {
  const registers = [address, what, rsi, rdx, r9].map(hex).join(' ');
  return world.mayFault(isByVdso(world, choices, address) ? `call 2 ${registers}` : `enter ${registers}`);
}

function isByVdso(world: World, choices: Choices, tcs: number): boolean {
  const known = world.byVdso.get(tcs) ?? choices.rarely(2);
  world.byVdso.set(tcs, known);
  return known;
}

/** An address in the enclave or near it, of what is there or not. */
function addressIn(world: World, choices: Choices, file: EnclaveFile): number {
  const pages = world.pages(file);
  if (choices.rarely(12))
    return choices.pick([Memory.ZEROS, Memory.NOWHERE, file.base - PAGE, file.base + file.sizeBytes]);
  const holes = [Place.HOLE, Place.HOLE + PAGE, 0x1_5000, Place.LAST].map((offset) => file.base + offset);
  const page = pages.length === 0 || choices.rarely(5) ? choices.pick(holes)! : pages[choices.below(pages.length)]!;
  return page + choices.pick(WORDS);
}

function touch(world: World, choices: Choices): void {
  const file = choices.pick(world.enclaves());
  if (file === undefined) return;
  const address = addressIn(world, choices, file);
  if (world.showsEviction && file.pages.has(pageOf(address))) return;
  if (choices.rarely(2)) world.mayFault(`touch ${hex(address)} w`);
  else world.mayFault(`touch ${hex(address)} r`);
}

/** Reads, writes or executes; a word that is executed returns or writes to address 0. */
function access(world: World, choices: Choices): void {
  const tcs = threadOf(world, choices);
  if (tcs === undefined) return;
  const address = addressIn(world, choices, tcs.file);
  const what = choices.pick([Do.READ, Do.WRITE, Do.WRITE, Do.READ, Do.EXEC]);
  // Elsewhere there may be any bytes.
  if (what === Do.EXEC && !WORDS.includes((address % PAGE) as (typeof WORDS)[number])) return;
  const gives = enterTo(world, choices, tcs, what, address, choices.pick([0x5500_0000, 0x66_00c3, 0]));
  if (!gives.startsWith('SIG') && !gives.startsWith('exc')) return;
  if (choices.rarely(4)) return;
  mend(world, choices, tcs.file, address);
  resumeAt(world, choices, tcs.address);
}

/** Maps the page with the rights that it has, mostly. */
function mend(world: World, choices: Choices, file: EnclaveFile, address: number): void {
  const page = addressOf(pageOf(address));
  const entry = file.pages.get(pageOf(address));
  const prot = choices.usually(entry === undefined ? RW : maxProtOf(entry.flags), [RW, R, RX, RWX]);
  const fd = world.enclaveFds().find((one) => world.process.enclave(one) === file);
  if (world.process.mm.vmaAt(pageOf(address)) !== undefined) world.do(`mprotect ${hex(page)} ${hex(PAGE)} ${prot}`);
  else if (fd !== undefined && file.isInElrange(page)) world.do(`mmap ${hex(page)} ${hex(PAGE)} ${prot} 0x11 ${fd} 0`);
}

function resumeAt(world: World, choices: Choices, tcs: number): void {
  if (world.lost.has(tcs)) return;
  world.mayFault(isByVdso(world, choices, tcs) ? `call 3 ${hex(tcs)} 0 0 0 0` : `resume ${hex(tcs)}`);
}

/** A write that is interrupted, perhaps by another entry meanwhile, and goes on. */
function interrupted(world: World, choices: Choices): void {
  const tcs = threadOf(world, choices);
  if (tcs === undefined) return;
  const page = tcs.file.base + choices.pick([At.DATA, At.DATA2, Place.EXECUTABLE, Place.HOLE]);
  world.do(`mprotect ${hex(page)} ${hex(PAGE)} ${choices.pick([R, 0])}`);
  enterTo(world, choices, tcs, Do.WRITE, page + choices.pick(WORDS), choices.pick([0x77_0000, 0x88_00c3]));
  if (choices.rarely(3)) enterTo(world, choices, tcs, Do.READ, tcs.file.base + At.READ_ONLY + WORDS[0], 0);
  if (choices.rarely(8)) enterTo(world, choices, tcs, Do.LEAF | Enclu.EDECCSSA, 0, 0);
  world.do(`mprotect ${hex(page)} ${hex(PAGE)} ${RW}`);
  resumeAt(world, choices, tcs.address);
}

function resume(world: World, choices: Choices): void {
  const tcs = choices.pick(world.tcses());
  if (tcs !== undefined) resumeAt(world, choices, tcs.address);
}

/** A TCS that is none. */
function enterOdd(world: World, choices: Choices): void {
  const file = choices.pick(world.enclaves());
  const places = [
    Memory.ZEROS,
    Memory.NOWHERE,
    ...(file ? [file.base + At.DATA, file.base + Place.HOLE, file.base + 8] : []),
  ];
  const address = choices.pick(places)!;
  enterTo(world, choices, { address }, Do.READ, address, 0);
  if (choices.rarely(2)) resumeAt(world, choices, address);
}

/** EACCEPT, or EACCEPTCOPY, with a SECINFO that enclave code has written. */
export function accept(
  world: World,
  choices: Choices,
  file: EnclaveFile,
  page: number,
  secInfoFlags: number,
  { copyOf }: { readonly copyOf?: number } = {},
): void {
  const others = world.tcses().filter((one) => one.file === file && one.address !== page);
  const tcs = others.find((one) => world.hasFreeFrame(one)) ?? choices.pick(others);
  if (tcs === undefined) return;
  const secInfo = file.base + Operand.SECINFO;
  enterTo(
    world,
    choices,
    tcs,
    Do.WRITE,
    secInfo,
    choices.usually(secInfoFlags, [secInfoFlags ^ 1, PT_REG | RW, 0], 16),
  );
  const leaf = copyOf === undefined ? Enclu.EACCEPT : Enclu.EACCEPTCOPY;
  enterTo(world, choices, tcs, Do.LEAF | leaf, page, secInfo, copyOf ?? 0);
}

function acceptOdd(world: World, choices: Choices): void {
  const tcs = threadOf(world, choices);
  if (tcs === undefined) return;
  const page = addressOf(pageOf(addressIn(world, choices, tcs.file)));
  const flags = choices.pick([0x20b, 0x410, 0x221, 0x110, 0x20b | R, 0]);
  accept(world, choices, tcs.file, choices.usually(page, [page + 8], 12), flags);
}

function extend(world: World, choices: Choices): void {
  const tcs = threadOf(world, choices);
  if (tcs === undefined) return;
  const page = addressOf(pageOf(addressIn(world, choices, tcs.file)));
  const secInfo = tcs.file.base + Operand.SECINFO;
  enterTo(world, choices, tcs, Do.WRITE, secInfo, PT_REG | choices.pick([RW, RWX, R, RX]));
  enterTo(world, choices, tcs, Do.LEAF | Enclu.EMODPE, page, secInfo);
}

/** Seal, report, provision and launch key; and one that there is not. */
const keyNames = [4, 3, 1, 0, 9] as const;

function getKey(world: World, choices: Choices): void {
  const tcs = threadOf(world, choices);
  if (tcs === undefined) return;
  const { base } = tcs.file;
  const name = choices.pick(keyNames);
  const policy = choices.pick([1, 2, 0, 0x100]);
  enterTo(world, choices, tcs, Do.WRITE, base + Operand.KEYREQUEST, name | (policy << 16));
  const request = base + choices.usually(Operand.KEYREQUEST, [Operand.KEYREQUEST + 8, Place.HOLE], 12);
  const key = choices.usually(base + Operand.KEY, [base + At.READ_ONLY, base + Operand.KEY + 4, Memory.ZEROS], 8);
  const gave = enterTo(world, choices, tcs, Do.LEAF | Enclu.EGETKEY, key, request);
  if (gave !== '0') return;
  for (const offset of [0, 8]) enterTo(world, choices, tcs, Do.WRITE, key + offset, 0);
}

/** The report's body says MRENCLAVE, MRSIGNER, attributes and the data. CPUSVN, key id and MAC are the machine's. */
function report(world: World, choices: Choices): void {
  const tcs = threadOf(world, choices);
  if (tcs === undefined) return;
  const { base } = tcs.file;
  const out = choices.usually(base + Operand.REPORT, [base + At.READ_ONLY, base + Operand.REPORT + 8, Memory.ZEROS], 8);
  const target = base + choices.usually(Operand.TARGETINFO, [Operand.TARGETINFO + 8, Place.HOLE], 12);
  const gave = enterTo(world, choices, tcs, Do.LEAF | Enclu.EREPORT, base + Operand.REPORTDATA, target, out);
  if (gave !== '0') return;
  enterTo(world, choices, tcs, Do.SUM, out + 16, (384 - 16) / 8);
  for (const offset of [0, 8, 384, 392, 400, 408, 416, 424]) enterTo(world, choices, tcs, Do.WRITE, out + offset, 0);
}

/** EDECCSSA, the leaves that are none inside, and those that do not exist. */
function leafOdd(world: World, choices: Choices): void {
  const tcs = threadOf(world, choices);
  if (tcs === undefined) return;
  const leaf = choices.pick([Enclu.EDECCSSA, Enclu.EENTER, Enclu.ERESUME, 8, 10, 0xff]);
  enterTo(world, choices, tcs, Do.LEAF | leaf, tcs.address, tcs.address);
}

/** A second thread goes in and stays; or comes out. */
function spin(world: World, choices: Choices): void {
  if (world.run.spinsIn() !== undefined) {
    world.do('stop');
    return;
  }
  const tcs = threadOf(world, choices);
  if (tcs !== undefined && !isByVdso(world, choices, tcs.address)) world.do(`spin ${hex(tcs.address)}`);
}

/** What every page that can be read holds, as the enclave sees it. */
export function sumEverything(world: World): void {
  const plain = new Choices([]);
  for (const file of world.enclaves()) {
    const tcs = world.tcses().find((one) => one.file === file && world.hasFreeFrame(one));
    if (tcs === undefined) continue;
    for (const page of world.pages(file, PageType.REG).slice(0, 20)) {
      const [start, end] = world.isSaveArea(file, page) ? [0x800, 0xc00] : [0, PAGE];
      const gave = enterTo(world, plain, tcs, Do.SUM, page + start, (end - start) / 8);
      if (gave.startsWith('SIG') || gave.startsWith('exc')) break;
    }
  }
}

export const accessMoves = {
  touch: { weight: 6, move: touch },
  access: { weight: 14, move: access },
  interrupted: { weight: 4, move: interrupted },
  resume: { weight: 3, move: resume },
  enterOdd: { weight: 1, move: enterOdd },
  acceptOdd: { weight: 3, move: acceptOdd },
  extend: { weight: 3, move: extend },
  getKey: { weight: 2, move: getKey },
  report: { weight: 2, move: report },
  leafOdd: { weight: 2, move: leafOdd },
  spin: { weight: 4, move: spin },
  sum: { weight: 1, move: sumEverything },
};
