// Threads on demand: an enclave of one thread grows to many and back while it is called, again and again.
import { beforeAll, expect, it } from 'vitest';
import { buildElasticThreads, grow } from '../support/elastic-threads.ts';
import { buildPrograms } from '../support/target-run.ts';

beforeAll(() => {
  buildPrograms();
  buildElasticThreads();
}, 120_000);

it('1 to 256 to 1 threads, ten times, under load: right answers, and EPC is back to what it was after each round', async () => {
  const { epcPages, ...end } = await grow({ threads: 256, rounds: 10, workers: 8 });
  expect(end).toMatchObject({ exitCode: 0, stderr: '', epcPagesLeft: 0 });
  expect(end.summary).toMatch(/^10 rounds, [1-9]\d* calls answered right, 0 wrong$/);
  expect(epcPages).toEqual(Array.from({ length: 11 }, () => epcPages[0]));
}, 240_000);

it('a host that goes on from `count` grows all the same when the kernel is busy now and then', async () => {
  const inject = [
    'load:EBUSY@every=7',
    'unmark:EBUSY@every=5',
    'emodt:SGX_EPC_PAGE_CONFLICT@every=6',
    'eaccept:SGX_NOT_TRACKED@every=4',
    'etrack:SGX_PREV_TRK_INCMPL@every=3',
  ];
  const { epcPages, ...end } = await grow({ threads: 32, rounds: 2, workers: 2 }, inject);
  expect(end).toMatchObject({ exitCode: 0, stderr: '', epcPagesLeft: 0 });
  const [before] = epcPages;
  expect(epcPages).toEqual([before, before, before]);
}, 120_000);
