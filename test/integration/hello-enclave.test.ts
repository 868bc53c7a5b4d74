// The example as `npm start` runs it: built by its own Makefile, signed by our own commands, run twice.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildPrograms, run, type Ended } from '../support/target-run.ts';

const example = path.join(import.meta.dirname, '..', '..', 'examples', 'hello-enclave');
const build = mkdtempSync(path.join(tmpdir(), 'vitrine-hello-'));
const state = path.join(build, 'state');

beforeAll(() => {
  buildPrograms();
  const { status, stderr } = spawnSync('make', ['-s', '-C', example, `BUILD=${build}`], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`make: ${stderr}`);
}, 120_000);
afterAll(() => rmSync(build, { recursive: true }));

const hello = (...options: string[]): Promise<Ended> => run(options, [path.join(build, 'host')]);

it('counts its runs in a sealed file, on one identity; another cannot unseal it', async () => {
  const first = await hello('--state', state);
  expect(first).toMatchObject({ exitCode: 0, stderr: '' });
  expect(first.stdout).toContain('run number 1: nothing was sealed before\n');
  expect((await hello('--state', state)).stdout).toContain('run number 2, unsealed and counted on\n');
  const other = await hello('--state', path.join(build, 'other-state'));
  expect(other.stdout).toContain('another enclave sealed it, or another machine, or it was changed. Starting anew\n');
  expect(other.stdout).toContain('run number 1: nothing was sealed before\n');
});

it('reports to a second enclave in another process, which notices a flipped bit', async () => {
  const { stdout, exitCode } = await hello('--state', state);
  expect(stdout).toMatch(/\n {2}the report: genuine, its enclave has counted \d+ runs\n/);
  expect(stdout).toContain('\n  the report with one bit flipped: REFUSED\n');
  expect(stdout).toMatch(/\nenclave entered: sum 1034\n$/);
  expect(exitCode).toBe(0);
});
