import { beforeAll, expect, it } from 'vitest';
import { differ } from '../differential/differ.ts';
import { described, summary } from '../differential/summary.ts';
import { buildPrograms } from '../support/target-run.ts';

beforeAll(buildPrograms, 120_000);

const PROGRAMS = 1000;

it('1,000 generated programs, others each time', async () => {
  const seed = Math.floor(Math.random() * 1e9);
  const outcome = await differ(seed, PROGRAMS);
  process.stdout.write(`${summary(outcome, seed)}\n`);
  expect(outcome.differences.map(described).join('\n') + outcome.complaints).toBe('');
});
