import { beforeAll, expect, it } from 'vitest';
import { buildElasticThreads, grow } from '../support/elastic-threads.ts';
import { buildPrograms } from '../support/target-run.ts';

beforeAll(() => {
  buildPrograms();
  buildElasticThreads();
}, 120_000);

it('1 to 256 to 1 threads, 50 times, under the load of 16 threads', async () => {
  const { epcPages, ...end } = await grow({ threads: 256, rounds: 50, workers: 16, pause: 0 });
  process.stdout.write(`${end.summary}; EPC pages after each round: ${epcPages.join(' ')}\n`);
  expect(end).toMatchObject({ exitCode: 0, stderr: '', epcPagesLeft: 0 });
  expect(new Set(epcPages).size).toBe(1);
  expect(epcPages).toHaveLength(51);
});
