/** From a list of moves to a case: the moves are made on virtual processes, and what these gave is what each step has to give. */
import * as fc from 'fast-check';
import type { Case } from '../cases/language.ts';
import type { RunOptions } from '../cases/virtual.ts';
import { accessMoves, sumEverything } from './accesses.ts';
import { buildMoves, prepare } from './build.ts';
import { changeMoves } from './changes.ts';
import { Choices, programs, type Move } from './choices.ts';
import { mappingMoves } from './mappings.ts';
import { capacity, endEverything, processMoves } from './processes.ts';
import { SMALL_EPC_PAGES, World } from './world.ts';

interface MoveMaker {
  readonly weight: number;
  readonly move: (world: World, choices: Choices) => void;
}

const moves: Readonly<Record<string, MoveMaker>> = {
  ...buildMoves,
  ...accessMoves,
  ...changeMoves,
  ...mappingMoves,
  ...processMoves,
};

const MAX_MOVES = 40;

const programMoves: fc.Arbitrary<Move[]> = programs(
  Object.fromEntries(Object.entries(moves).map(([name, { weight }]) => [name, weight])),
  MAX_MOVES,
);

/** Without an enclave most moves find nothing to do. */
const FIRST_MOVE: Move = { name: 'enclave', numbers: [] };

/** The moves of the program with this number, always the same. */
export function movesOf(seed: number): Move[] {
  const [one] = fc.sample(programMoves, { seed, numRuns: 1 });
  return [FIRST_MOVE, ...one!];
}

/** @param measures whether it is to end with how much EPC there is, which takes longer than all the rest */
export function caseOf(title: string, list: readonly Move[], options: RunOptions, measures: boolean): Case {
  const world = new World(options);
  prepare(world);
  for (const { name, numbers } of list) moves[name]!.move(world, new Choices(numbers));
  sumEverything(world);
  endEverything(world);
  if (measures && options.epcPages <= SMALL_EPC_PAGES) capacity(world);
  return { title, steps: world.steps };
}
