import { spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const repository = path.join(import.meta.dirname, '..', '..');
let clone: string;

/** A clone with one native source, and a PATH that holds stand-ins: what setup calls is recorded in `calls`. */
beforeEach(() => {
  clone = mkdtempSync(path.join(tmpdir(), 'vitrine-setup-'));
  for (const part of ['scripts/setup.mjs', 'scripts/pinned-node', 'package-lock.json']) {
    cpSync(path.join(repository, part), path.join(clone, part), { recursive: true });
  }
  for (const folder of ['native', 'path']) mkdirSync(path.join(clone, folder));
  writeFileSync(path.join(clone, 'native', 'stub.c'), '// a source\n');
  standIn('flock', 'while [ "$1" != "${1#-}" ]; do [ "$1" = -E ] && shift; shift; done; shift; exec "$@"');
  standIn('npm', `echo "npm $*" >> ${clone}/calls; mkdir -p ${clone}/node_modules`);
  for (const tool of ['sh', 'mkdir']) symlinkSync(path.join('/bin', tool), path.join(clone, 'path', tool));
});

afterEach(() => {
  rmSync(clone, { recursive: true });
});

function standIn(name: string, script: string): void {
  const file = path.join(clone, 'path', name);
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
}

function withCompiler(): void {
  standIn('gcc', 'exit 0');
  standIn('make', `echo "make $*" >> ${clone}/calls`);
}

function setup(mode: string): SpawnSyncReturns<string> {
  const env = { PATH: path.join(clone, 'path') };
  return spawnSync(process.execPath, [path.join(clone, 'scripts', 'setup.mjs'), mode], { encoding: 'utf8', env });
}

function calls(): string[] {
  const { stdout } = spawnSync('cat', [path.join(clone, 'calls')], { encoding: 'utf8' });
  return stdout.trim().split('\n');
}

describe('setup', () => {
  it('names the missing compiler and the remedy before it fetches anything', () => {
    const { status, stderr } = setup('run');
    expect(status).toBe(2);
    expect(stderr).toMatch(/no gcc and no make\. On Debian or Ubuntu: apt-get install gcc make/);
    expect(existsSync(path.join(clone, 'calls'))).toBe(false);
  });

  it('installs no development tools for a run, and says how much it fetches', () => {
    withCompiler();
    const { status, stderr } = setup('run');
    expect({ status, stderr }).toMatchObject({ status: 0, stderr: expect.stringMatching(/\(about \d+ MB/) as string });
    expect(calls()).toContainEqual(expect.stringMatching(/^npm ci --omit=dev --ignore-scripts/));
    expect(calls()).toContain('make -s -C native');
  });

  it('does and says nothing the second time', () => {
    withCompiler();
    setup('dev');
    const before = calls();
    expect(setup('dev')).toMatchObject({ status: 0, stderr: '', stdout: '' });
    expect(setup('run')).toMatchObject({ status: 0, stderr: '', stdout: '' });
    expect(calls()).toEqual(before);
  });

  it('adds the development tools later, and never takes them away', () => {
    withCompiler();
    setup('run');
    setup('dev');
    writeFileSync(path.join(clone, 'package-lock.json'), '{}');
    setup('run');
    const installs = calls().filter((call) => call.startsWith('npm ci') && !call.includes('--prefix'));
    expect(installs.map((call) => /--(omit|include)=dev/.exec(call)?.[1])).toEqual(['omit', 'include', 'include']);
  });

  it('compiles again when a source changes', () => {
    withCompiler();
    setup('run');
    writeFileSync(path.join(clone, 'native', 'stub.c'), '// another source\n');
    setup('run');
    expect(calls().filter((call) => call.startsWith('make'))).toHaveLength(2);
  });

  it('shows the output of a step that failed', () => {
    withCompiler();
    standIn('make', 'echo "stub.c:1: error"; exit 2');
    const { status, stderr } = setup('run');
    expect(status).toBe(1);
    expect(stderr).toContain('stub.c:1: error');
  });

  it('refuses an unknown mode', () => {
    expect(setup('install')).toMatchObject({ status: 1, stderr: 'usage: node scripts/setup.mjs run|dev\n' });
  });
});
