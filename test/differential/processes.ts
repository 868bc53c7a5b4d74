/** Moves on processes and descriptors: fork, exit, kill, descriptors duplicated, closed and passed on. */
import { Attributes, Secs } from '../../src/abi/sgx-arch.ts';
import { EnclaveCreate, enclaveIoctls } from '../../src/abi/sgx-uapi.ts';
import { BASE, hex, Memory, SIZE } from '../cases/language.ts';
import type { Choices } from './choices.ts';
import type { World } from './world.ts';

function fork(world: World, choices: Choices): void {
  if (!world.canFork) return;
  const parent = world.run.turn;
  world.do('fork');
  if (choices.rarely(2)) world.do(`turn ${parent}`);
}

function turn(world: World, choices: Choices): void {
  const to = choices.pick(world.run.living.filter((number) => number !== world.run.turn));
  if (to !== undefined) world.do(`turn ${to}`);
}

/** What the second thread was doing is lost with it. */
function forgetSpinner(world: World, number: number): void {
  const tcs = world.run.spinsIn(number);
  if (tcs !== undefined) world.lost.add(tcs);
}

/** The first process stays. */
function exit(world: World): void {
  if (world.run.turn === 0) return;
  forgetSpinner(world, world.run.turn);
  world.do('exit');
}

function kill(world: World, choices: Choices): void {
  const victim = choices.pick(world.run.living.filter((number) => number !== 0 && number !== world.run.turn));
  if (victim === undefined) return;
  forgetSpinner(world, victim);
  world.do(`kill ${victim}`);
}

function dup(world: World, choices: Choices): void {
  const fd = choices.pick(world.enclaveFds());
  if (fd !== undefined) world.do(`dup2 ${fd} ${choices.usually(world.freeFd(), world.enclaveFds())}`);
}

function close(world: World, choices: Choices): void {
  const fd = choices.pick(world.process.descriptors());
  if (fd !== undefined) world.do(`close ${fd}`);
}

/** Under way a descriptor keeps its file. */
function pass(world: World, choices: Choices): void {
  const fd = choices.pick(world.enclaveFds());
  const to = choices.pick(world.run.living);
  if (fd === undefined || to === undefined) return;
  world.do(`pass ${fd} ${to}`);
  if (choices.rarely(3)) world.do(`close ${fd}`);
  if (choices.rarely(4)) return;
  if (to !== world.run.turn) world.do(`turn ${to}`);
  take(world);
}

function take(world: World): void {
  world.do(`take ${world.freeFd()}`);
}

/** How many more enclaves there is EPC for: what is free or can be evicted. */
export function capacity(world: World): void {
  const secs = Secs.encode({
    size: BigInt(SIZE),
    baseAddr: BigInt(BASE),
    ssaFrameSize: 1,
    attributes: Attributes.mask.MODE64BIT,
    xfrm: 3n,
  });
  world.words(Memory.SECS, ...new BigUint64Array(secs.slice(0, 64).buffer));
  world.words(
    Memory.ARGUMENT,
    ...new BigUint64Array(EnclaveCreate.encode({ src: BigInt(Memory.SECS) }).slice().buffer),
  );
  world.do(`capacity ${hex(enclaveIoctls.numbers.SGX_IOC_ENCLAVE_CREATE)} ${hex(Memory.ARGUMENT)}`);
}

/** Every process but the first ends, and that lets everything go. */
export function endEverything(world: World): void {
  for (const number of world.run.living.toReversed()) {
    if (world.run.turn !== number) world.do(`turn ${number}`);
    if (world.run.spinsIn() !== undefined) world.do('stop');
    if (number !== 0) world.do('exit');
  }
  if (world.run.turn !== 0) world.do('turn 0');
  for (const fd of world.process.descriptors()) world.do(`close ${fd}`);
  for (const { startPage, endPage } of world.process.mm.vmas()) {
    world.do(`munmap ${hex(startPage * 0x1000)} ${hex((endPage - startPage) * 0x1000)}`);
  }
}

export const processMoves = {
  fork: { weight: 4, move: fork },
  turn: { weight: 5, move: turn },
  exit: { weight: 2, move: exit },
  kill: { weight: 1, move: kill },
  dup: { weight: 2, move: dup },
  close: { weight: 2, move: close },
  pass: { weight: 3, move: pass },
  take: { weight: 2, move: take },
};
