/** Generated programs on virtual processes and on real ones, and what differs. */
import { readFileSync } from 'node:fs';
import { runReal } from '../cases/real.ts';
import type { RunOptions } from '../cases/virtual.ts';
import { firstDifference, type DiffMachine, type Difference } from './compare.ts';
import { caseOf, movesOf } from './generate.ts';
import { shrink } from './shrink.ts';

/** Programs go round: with EPC for everything, with so little that pages are evicted, without SGX2. */
const machines: readonly DiffMachine[] = [
  { cpu: 'sapphire-rapids', epcPages: 16384 },
  { cpu: 'sapphire-rapids', epcPages: 256 },
  { cpu: 'icelake', epcPages: 512 },
  { cpu: 'skylake', epcPages: 256 },
];
/** Programs in one process of the interpreter. */
const BATCH = 200;

const hasKeys = readFileSync('/proc/cpuinfo', 'latin1').includes(' ospke');

export interface Outcome {
  readonly programs: number;
  readonly steps: number;
  readonly virtualMs: number;
  readonly realMs: number;
  readonly differences: readonly Difference[];
  /** What the host or the interpreter complained about. */
  readonly complaints: string;
}

const machineOf = (seed: number): DiffMachine => machines[seed % machines.length]!;
const optionsOf = (machine: DiffMachine): RunOptions => ({ ...machine, hasKeys });

/** Programs `first` to `first + count`. `progress` hears how many are done. */
export async function differ(
  first: number,
  count: number,
  { progress = () => {} }: { readonly progress?: (done: number) => void } = {},
): Promise<Outcome> {
  const total = { programs: 0, steps: 0, virtualMs: 0, realMs: 0, complaints: '' };
  const differences: Difference[] = [];
  for (let start = first; start < first + count; start += BATCH) {
    const seeds = Array.from({ length: Math.min(BATCH, first + count - start) }, (_, index) => start + index);
    for (const machine of machines) {
      const here = seeds.filter((seed) => machineOf(seed) === machine);
      if (here.length === 0) continue;
      const begun = performance.now();
      const last = here.at(-1)!;
      const cases = here.map((seed) =>
        caseOf(`program ${seed}`, movesOf(seed), optionsOf(machine), seed === last || seed % 16 < machines.length),
      );
      const made = performance.now();
      const real = await runReal({ name: '', ...machine, cases });
      total.virtualMs += made - begun;
      total.realMs += performance.now() - made;
      total.programs += cases.length;
      for (const [index, program] of cases.entries()) {
        total.steps += program.steps.length;
        const difference = firstDifference(machine, program, real.outcomes[index]!);
        if (difference !== undefined) differences.push({ seed: here[index]!, machine, program, ...difference });
      }
      if (real.stderr !== '' || real.exitCode !== 0) total.complaints += `${real.stderr}exit code ${real.exitCode}\n`;
      progress(total.programs);
    }
  }
  return { ...total, differences };
}

/** The smallest program found that still differs; undefined when it does not happen again. */
export const smallest = (difference: Difference): Promise<Difference | undefined> =>
  shrink(difference, optionsOf(difference.machine));
