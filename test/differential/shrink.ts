/**
 * Makes a program that differs smaller, step by step: what is left out is tried in many programs at once, since starting
 * a machine takes longer than a program.
 */
import type { Step } from '../cases/language.ts';
import { runReal } from '../cases/real.ts';
import { VirtualRun, type RunOptions } from '../cases/virtual.ts';
import { firstDifference, type Difference } from './compare.ts';

/** The smallest program found that differs in the same way; undefined when it does not do so again. */
export async function shrink(difference: Difference, options: RunOptions): Promise<Difference | undefined> {
  const { program, at } = difference;
  // The memory, which a case has anyway, and what comes after the step stay out of it.
  const [memory, ...rest] = program.steps.slice(0, at + 1);
  const attempt = async (lists: readonly (readonly Step[])[]) =>
    tryAll(
      lists.map((list) => [memory!, ...list]),
      difference,
      options,
    );
  let steps: readonly Step[] = rest;
  let [smallest] = await attempt([steps]);
  if (smallest === undefined) return undefined;
  for (let size = Math.ceil(steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (;;) {
      const parts = Array.from({ length: Math.ceil(steps.length / size) }, (_, index) => index * size);
      const found = await attempt(parts.map((start) => without(steps, [start], size)));
      const dispensable = parts.filter((_, index) => found[index] !== undefined);
      if (dispensable.length === 0) break;
      // All of them at once, if that will do; else the first half, or the first.
      const choices = [dispensable, dispensable.slice(0, Math.ceil(dispensable.length / 2)), dispensable.slice(0, 1)];
      const smaller = choices.map((starts) => without(steps, starts, size));
      const next = await attempt(smaller);
      const best = next.findIndex((one) => one !== undefined);
      if (best < 0) break;
      steps = smaller[best]!;
      smallest = next[best];
    }
  }
  return smallest;
}

const without = (steps: readonly Step[], starts: readonly number[], size: number): readonly Step[] =>
  steps.filter((_, index) => !starts.some((start) => index >= start && index < start + size));

/** For each list of steps the difference, where it is the one that is looked for. */
async function tryAll(
  lists: readonly (readonly Step[])[],
  { seed, machine, program, at, real }: Difference,
  options: RunOptions,
): Promise<(Difference | undefined)[]> {
  const { gives } = program.steps[at]!;
  const cases = lists.map((steps) => ({ title: program.title, steps: onVirtual(steps, options) }));
  const run = await runReal({ name: '', ...machine, cases });
  return cases.map((one, index) => {
    const found = firstDifference(machine, one, run.outcomes[index]!);
    if (found === undefined || found.real !== real || one.steps[found.at]!.gives !== gives) return undefined;
    return { seed, machine, program: one, ...found };
  });
}

/** What virtual processes give; nothing is left of a program that makes no sense to them. */
function onVirtual(steps: readonly Step[], options: RunOptions): readonly Step[] {
  const run = new VirtualRun(options);
  try {
    return steps.map((step) => ({ ...step, gives: run.step(step.run) }));
  } catch {
    return [];
  }
}
