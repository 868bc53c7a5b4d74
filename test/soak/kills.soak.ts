import { beforeAll, expect, it } from 'vitest';
import { killAtRandomMoments, summary } from '../support/kills.ts';
import { buildPrograms } from '../support/target-run.ts';

beforeAll(buildPrograms, 120_000);

it('kill -9 at 200 random moments', async () => {
  const report = await killAtRandomMoments(200);
  process.stdout.write(`${summary(report)}\n`);
  expect(report.problems).toEqual([]);
});
