import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildPrograms, programsFolder, run, TargetRun } from '../support/target-run.ts';

beforeAll(buildPrograms, 120_000);

const allOk = /\n[1-9]\d* checks, 0 failed\n/;

describe('odd and hostile targets', () => {
  it('mappings: covered, cut, protected, moved over; bad pointers into every ioctl', async () => {
    const { stdout, stderr, exitCode } = await run([], ['mappings']);
    expect(stdout).toMatch(allOk);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  }, 60_000);

  it('processes: forks, execs, kills and cut rights while threads are inside; a child outlives its parent', async () => {
    const targets = new TargetRun([], ['processes']);
    const { stdout, stderr, exitCode } = await targets.ended;
    expect(stdout).toMatch(allOk);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    expect(stdout).toContain('\norphan: 0 failed\n');
    expect(await targets.gone(0)).toBe(0);
  }, 90_000);

  it('sharing: processes that know each other by a socket only build, map and enter one enclave', async () => {
    const targets = new TargetRun([], ['sharing']);
    const { stdout, stderr, exitCode } = await targets.ended;
    expect(stdout).toMatch(allOk);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    expect(await targets.gone(0)).toBe(0);
  }, 90_000);

  it('midway: forks, vforks that are killed, ends and execs in the middle of what others do', async () => {
    const { stdout, stderr, exitCode } = await run([], ['midway']);
    expect(stdout).toMatch(allOk);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  }, 90_000);

  it('hostile: whoever destroys its session, its channel or its descriptors suffers alone', async () => {
    // Its standard input is a socket that is at its end, so that it has one to send to the machine.
    const { stdout, stderr, exitCode } = await new TargetRun([], ['hostile'], {}, '').ended;
    expect(stderr).not.toContain('the machine failed');
    expect(stdout).toMatch(allOk);
    expect(exitCode).toBe(0);
  }, 90_000);

  it('a host without descriptors: ENFILE for the program, and the machine goes on', async () => {
    const limited = spawnSync(
      'sh',
      ['-c', 'ulimit -n 1100; exec ../../bin/vitrine run build/hostile descriptors-of-host'],
      { cwd: programsFolder, encoding: 'utf8' },
    );
    expect({ stderr: limited.stderr, exitCode: limited.status }).toEqual({ stderr: '', exitCode: 0 });
    expect(limited.stdout).toMatch(allOk);
  });

  it('a program for another processor, by exec: one sentence, exit code 126', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-test-'));
    const program = path.join(folder, 'i386');
    const header = Buffer.alloc(128);
    // ELFCLASS32, little-endian; ET_EXEC, EM_386.
    header.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
    header.set([2, 0, 3, 0, 1], 16);
    writeFileSync(program, header, { mode: 0o755 });
    const { stderr, exitCode } = await run([], ['/bin/sh', '-c', `exec ${program}`]);
    rmSync(folder, { recursive: true });
    expect(stderr).toContain('only x86-64 programs can be started');
    expect(exitCode).toBe(126);
  });
});
