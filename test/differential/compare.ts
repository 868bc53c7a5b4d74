/** Where a program first differs between virtual and real processes. */
import type { Case } from '../cases/language.ts';
import { SMALL_EPC_PAGES } from './world.ts';

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

const PRESENT = 1;

/**
 * Where EPC is small, what earlier programs had in it decides which pages are evicted, and so whether a fault finds its
 * page present.
 */
const withoutPresence = (text: string): string =>
  text.replace(/ error (0x\w+)/, (_, error: string) => ` error ${Number(error) & ~PRESENT}`);

export function firstDifference(
  { epcPages }: DiffMachine,
  program: Case,
  outcomes: readonly string[],
): Pick<Difference, 'at' | 'real' | 'next'> | undefined {
  const shown = epcPages <= SMALL_EPC_PAGES ? withoutPresence : (text: string) => text;
  const at = program.steps.findIndex(({ gives }, index) => shown(gives) !== shown(outcomes[index] ?? ''));
  return at < 0 ? undefined : { at, real: outcomes[at] ?? '', next: outcomes[at + 1] ?? '' };
}
