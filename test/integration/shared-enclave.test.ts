// One enclave in several processes that were started separately: examples/shared-enclave and test/programs/handover.
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { buildSharedEnclave, callTogether, killInTurn } from '../support/shared-enclave.ts';
import { Runtime } from '../support/standing.ts';

beforeAll(buildSharedEnclave, 120_000);

let runtime: Runtime;
beforeEach(() => {
  runtime = new Runtime();
});
afterEach(() => runtime.dispose());

it('a process that never opened the device finishes an enclave that it got over a socket', async () => {
  const trace = path.join(runtime.folder, 'trace.jsonl');
  await runtime.machine('up', 'demo', '--trace', trace);
  const socket = path.join(runtime.folder, 'socket');
  const [begin, finish] = ['begin', 'finish'].map((role) => runtime.join('demo', ['handover', role, socket]));
  expect(await begin!.ended).toMatchObject({
    exitCode: 0,
    stdout: expect.stringMatching(/who began it has called it 1000 times\n$/),
  });
  expect(await finish!.ended).toMatchObject({
    exitCode: 0,
    stdout: expect.stringMatching(/init .*\nwho finished it has called it 1000 times\n$/),
  });
  expect(await runtime.status()).toMatchObject({ epcPagesInUse: 0, enclaves: 0 });
  await runtime.machine('down', 'demo');
  const lines = readFileSync(trace, 'utf8').trim().split('\n');
  rmSync(trace);
  const events = lines.slice(1).map((line) => JSON.parse(line) as { name: string; pid: number; result?: string });
  const pidsOf = (name: string): Set<number> =>
    new Set(events.filter((event) => event.name === name && event.result === '0').map(({ pid }) => pid));
  const [opener] = pidsOf('open');
  const [builder] = pidsOf('SGX_IOC_ENCLAVE_INIT');
  expect(pidsOf('SGX_IOC_ENCLAVE_CREATE')).toEqual(new Set([opener]));
  expect(builder).not.toBe(opener);
  expect([pidsOf('open').size, pidsOf('SGX_IOC_ENCLAVE_ADD_PAGES')]).toEqual([1, new Set([builder])]);
}, 60_000);

it('three processes make 102,000 calls in it at the same time, with more threads than it has, all answers right', async () => {
  await runtime.machine('up', 'demo');
  expect(await callTogether(runtime, 4, 8500)).toEqual({
    owner: 'the enclave has counted 102000 calls',
    guests: Array.from({ length: 3 }, () => '34000 calls on 4 threads, all answers right'),
  });
  expect(await runtime.status()).toMatchObject({ epcPagesInUse: 0, evictedPages: 0, enclaves: 0, processes: 0 });
}, 60_000);

it('kill -9 of each in turn, one while it is stopped, leaves the others working, and no EPC page after the last', async () => {
  await runtime.machine('up', 'demo');
  expect(await killInTurn(runtime, () => 0)).toEqual([]);
}, 90_000);
