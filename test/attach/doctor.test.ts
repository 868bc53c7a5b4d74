// `vitrine doctor` on this very host, which can run enclaves, or the tests beside this one would fail.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { checks, type Finding } from '../../src/attach/doctor/checks.ts';
import { gatherFacts } from '../../src/attach/doctor/facts.ts';
import { buildPrograms } from '../support/target-run.ts';

const vitrine = path.join(import.meta.dirname, '..', '..', 'bin', 'vitrine');

beforeAll(buildPrograms, 120_000);

function doctor(command: string): { exitCode: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync('sh', ['-c', command, vitrine], { encoding: 'utf8' });
  return { exitCode: status, stdout, stderr };
}

describe('vitrine doctor', () => {
  it('gets an answer to every question', () => {
    const { answers, probeFailure } = gatherFacts();
    expect(probeFailure).toBeUndefined();
    const unasked = checks
      .map(({ name }) => name)
      .filter((name) => !['kernel', 'stub', 'no-new-privs', 'real-sgx'].includes(name) && !answers.has(name));
    expect(unasked).toEqual([]);
  });

  it('--json: the findings, and the exit code that the worst of them gives', () => {
    const { exitCode, stdout } = doctor('"$0" doctor --json');
    const answer = JSON.parse(stdout) as { exitCode: number; checks: Finding[] };
    const levels = new Map(answer.checks.map(({ name, level }) => [name, level]));
    expect([...levels.keys()]).toEqual(checks.map(({ name }) => name));
    const keys = /^flags\s*:.*\bospke\b/m.test(readFileSync('/proc/cpuinfo', 'latin1'));
    expect(levels.get('protection-keys')).toBe(keys ? 'ok' : 'limit');
    expect([...levels.values()]).not.toContain('fail');
    expect(exitCode).toBe(answer.exitCode);
    expect(exitCode).toBe([...levels.values()].includes('limit') ? 1 : 0);
  });

  it('for people: a line for each, and a last one that says it all', () => {
    const { stdout } = doctor('"$0" doctor');
    const lines = stdout.trimEnd().split('\n');
    for (const { name } of checks) expect(lines.filter((line) => line.slice(7).startsWith(`${name} `))).toHaveLength(1);
    expect(lines.at(-1)).toMatch(/^Vitrine (can do all it does here\.|runs here, with limits: .+)$/);
    expect(stdout).not.toContain('\x1b');
  });

  it('sees what is taken away: a low limit of file size', () => {
    const { exitCode, stdout } = doctor('ulimit -f 1000; "$0" doctor --json');
    const answer = JSON.parse(stdout) as { checks: Finding[] };
    expect(answer.checks.find(({ name }) => name === 'address-space')).toMatchObject({
      level: 'limit',
      found: expect.stringMatching(/EFBIG|SIGXFSZ/),
    });
    expect(exitCode).toBe(1);
  });

  it('is no limit, when the command line is wrong: 125', () => {
    expect(doctor('"$0" doctor --jsn')).toMatchObject({ exitCode: 125, stderr: expect.stringContaining('--json') });
    expect(doctor('"$0" doctor --help')).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('Exit codes:') });
  });
});
