import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildSharedEnclave, callTogether, killInTurn } from '../support/shared-enclave.ts';
import { Runtime } from '../support/standing.ts';

const runtime = new Runtime();
beforeAll(async () => {
  buildSharedEnclave();
  await runtime.machine('up', 'demo');
}, 120_000);
afterAll(() => runtime.dispose());

it('three processes, each with four threads and 100,000 calls a thread, in an enclave of three threads', async () => {
  const startMs = performance.now();
  const { owner, guests } = await callTogether(runtime, 4, 100_000);
  process.stdout.write(`shared enclave: ${owner} in ${((performance.now() - startMs) / 1000).toFixed(1)} s\n`);
  expect(owner).toBe('the enclave has counted 1200000 calls');
  expect(guests).toEqual(Array.from({ length: 3 }, () => '400000 calls on 4 threads, all answers right'));
});

it('three processes beside a program that attacks the machine', async () => {
  // Its standard input is a socket that is at its end, so that it has one to send to the machine.
  const [{ owner }, { stdout, exitCode }] = await Promise.all([
    callTogether(runtime, 2, 50_000),
    runtime.join('demo', ['hostile'], '').ended,
  ]);
  expect(owner).toBe('the enclave has counted 300000 calls');
  expect({ stdout, exitCode }).toEqual({ stdout: expect.stringMatching(/, 0 failed\n$/), exitCode: 0 });
});

it('kill -9 of each in turn, thirty times in one machine', async () => {
  for (let round = 0; round < 30; round++) expect(await killInTurn(runtime, () => Math.random() * 200)).toEqual([]);
  process.stdout.write('shared enclave: 30 rounds of kills in turn, no EPC page left\n');
});
