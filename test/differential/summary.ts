/** What a person reads. */
import type { Difference } from './compare.ts';
import type { Outcome } from './differ.ts';

export function summary({ programs, steps, virtualMs, realMs, differences }: Outcome, seed: number): string {
  const rate = (ms: number) => `${Math.round((programs / ms) * 1000)} a second`;
  return (
    `differential: ${programs} programs from seed ${seed}, ${steps} steps, ${differences.length} differ; ` +
    `virtual ${rate(virtualMs)}, real ${rate(realMs)}`
  );
}

export function described({ seed, at, real, next, program }: Difference): string {
  const { run, gives } = program.steps[at]!;
  return `program ${seed}, step ${at}: ${run.slice(0, 120)}\n  virtual ${gives}\n  real    ${real}, then ${next}`;
}

/** As a case for a table, up to the step that differs. */
export function written({ seed, machine, program, at, real }: Difference): string {
  const lines = program.steps.slice(1, at + 1).map((step) => {
    if (step.source !== undefined) return `    ${step.source},`;
    const gives = step.gives === '0' ? '' : `, '${step.gives}'`;
    return `    step('${step.run}'${gives}),`;
  });
  return [
    `  // ${machine.cpu}, ${machine.epcPages} pages of EPC. The last step gave ${real} in a real process.`,
    '  defineCase(',
    `    'program ${seed}',`,
    ...lines,
    '  ),',
  ].join('\n');
}
