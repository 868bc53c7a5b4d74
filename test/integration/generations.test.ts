/** One program per generation of the SGX interface: each on its own machine, by its trace, and each on every other. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sgxUapis } from '../../src/abi/sgx-uapi/generations.ts';
import { table } from '../../scripts/markdown.ts';
import { buildPrograms, run, type Ended } from '../support/target-run.ts';

const root = path.join(import.meta.dirname, '..', '..');
const build = mkdtempSync(path.join(tmpdir(), 'vitrine-generations-'));

beforeAll(() => {
  buildPrograms();
  const folder = path.join(root, 'examples', 'generations');
  const { status, stderr } = spawnSync('make', ['-s', '-C', folder, `BUILD=${build}`], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`make: ${stderr}`);
}, 120_000);
afterAll(() => rmSync(build, { recursive: true }));

const runOn = (device: string, program: string, ...options: string[]): Promise<Ended> =>
  run(['--sgx-uapi', device, ...options], [path.join(build, program)]);

/**
 * What does not change from run to run: the enclave's addresses by their offset, no other addresses, no thread numbers,
 * no times. A processor without protection keys says so first.
 */
function stable(trace: string): string {
  const base = BigInt(/baseAddr=(0x[0-9a-f]+)/.exec(trace)?.[1] ?? 0);
  const size = BigInt(/ size=(0x[0-9a-f]+)/.exec(trace)?.[1] ?? 0);
  return trace
    .split('\n')
    .filter((line) => !/^ *\d+ {2}(?:host|end) /.test(line))
    .map((line) =>
      line
        .replace(/^ *\d+ {2}/, '')
        .replace(/ {2}[\d.]+ (?:us|ms|s)$/, '')
        .replaceAll(/0x[0-9a-f]{9,}/g, (text) => {
          const offset = BigInt(text) - base;
          return offset >= 0n && offset < size ? `BASE+0x${offset.toString(16)}` : 'ADDRESS';
        })
        // Beyond the entry it is the compiler's.
        .replace(/ rip=BASE\+0x(?!1000 )[\da-f]+/, ' rip=CODE'),
    )
    .join('\n');
}

describe.each(sgxUapis)('%s', (uapi) => {
  it('its program does its job, and the trace has the names of the generation', async () => {
    const { stdout, stderr, exitCode } = await runOn(uapi, uapi, '--trace');
    expect([exitCode, stdout]).toEqual([0, expect.stringMatching(/: the enclave says 42\n/)]);
    await expect(stable(stderr)).toMatchFileSnapshot(`generations/${uapi}.trace`);
    expect(stderr).toMatch(/EPC in use: 0 pages, evicted: 0 pages, enclaves: 0\n$/);
  });
});

it.each(['proposal-2018', 'draft-2018'])(
  '%s: descriptors, other builders, and what goes with them',
  async (uapi) => {
    const { stdout, stderr, exitCode } = await run(['--sgx-uapi', uapi], [uapi]);
    // It maps the device, to see that it cannot.
    const told = uapi === 'proposal-2018' ? /^vitrine: process \d+ maps \/dev\/sgx: [^\n]*\n$/ : /^$/;
    expect(stderr).toMatch(told);
    expect([stdout, exitCode]).toEqual([expect.stringMatching(/^[1-9]\d* checks, 0 failed\n$/), 0]);
  },
  60_000,
);

/** What a program says in the end, without its name; and whether a person is told what it was built for. */
function cell(program: string, { stdout, stderr, exitCode, signal }: Ended): string {
  const lines = stdout.trimEnd().split('\n');
  const says = lines.at(-1)!.replace(`${program}: `, '');
  const told = /^vitrine: process \d+ .*: it was built for ([^;]*), this machine has [^;]*; run it with /m.exec(stderr);
  const sentence = told === null ? '' : ` (told: built for ${told[1]})`;
  const codes = [...stdout.matchAll(/(?:without W|EMODPE): error code (0x[0-9a-f]+)/g)].map(([, code]) => code);
  if (exitCode === 0) return codes.length === 0 ? 'works' : `works: ${codes.join(', then ')}`;
  return `${says.replace('BUG_ON', '')}${sentence}${signal === null ? '' : ` ${signal}`}`;
}

it('every program on every machine: the errno of the real pair, and a sentence that says what it was built for', async () => {
  const pairs = sgxUapis.flatMap((program) => sgxUapis.map((device) => ({ program, device })));
  const cells = new Map<string, string>();
  const lane = async (): Promise<void> => {
    for (let pair = pairs.shift(); pair !== undefined; pair = pairs.shift()) {
      const { program, device } = pair;
      cells.set(`${program} ${device}`, cell(program, await runOn(device, program)));
    }
  };
  await Promise.all([lane(), lane()]);
  const rows = sgxUapis.map((program) => [program, ...sgxUapis.map((device) => cells.get(`${program} ${device}`)!)]);
  const matrix = table(['program for', ...sgxUapis.map((device) => `on ${device}`)], rows);
  console.log(`programs and machines:\n${matrix}`);
  expect(readFileSync(path.join(root, 'docs', 'generations.md'), 'utf8')).toContain(matrix);
}, 120_000);
