/** Programs that nobody wrote: virtual processes and real ones give the same, step by step. */
import { beforeAll, expect, it } from 'vitest';
import { differ, smallest } from '../differential/differ.ts';
import { described, summary, written } from '../differential/summary.ts';
import { buildPrograms } from '../support/target-run.ts';

beforeAll(buildPrograms, 120_000);

/** Another one is another set of programs; `npm run soak` has more. */
const SEED = 1;
const PROGRAMS = 60;

it('generated programs do the same in virtual and in real processes', async () => {
  const outcome = await differ(SEED, PROGRAMS);
  console.log(summary(outcome, SEED));
  const [first] = outcome.differences;
  const found = first === undefined ? undefined : await smallest(first);
  const differences = outcome.differences.map(described).join('\n');
  expect(`${differences}${found === undefined ? '' : `\n${written(found)}`}${outcome.complaints}`).toBe('');
  expect(outcome.programs).toBe(PROGRAMS);
}, 300_000);
