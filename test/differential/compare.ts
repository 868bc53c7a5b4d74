/** Where a program first differs between virtual and real processes. */
import type { Case } from '../cases/language.ts';

export interface DiffMachine {
  readonly cpu: string;
  readonly epcPages: number;
}

export interface Difference {
  readonly seed: number;
  readonly machine: DiffMachine;
  readonly program: Case;
  /** Index of the first step that differs. */
  readonly at: number;
  readonly real: string;
  /** What the step after it gave, which may say more. */
  readonly next: string;
}

export function firstDifference(
  program: Case,
  outcomes: readonly string[],
): Pick<Difference, 'at' | 'real' | 'next'> | undefined {
  const at = program.steps.findIndex(({ gives }, index) => gives !== outcomes[index]);
  return at < 0 ? undefined : { at, real: outcomes[at]!, next: outcomes[at + 1] ?? '' };
}
