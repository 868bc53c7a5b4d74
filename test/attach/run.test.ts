// `vitrine run` from outside: the program's input, output, exit code and signals pass through; our own refusals do not
// look like the program's.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const vitrine = path.join(import.meta.dirname, '..', '..', 'bin', 'vitrine.mjs');

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'vitrine-test-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function start(...args: string[]): ChildProcess {
  return spawn(process.execPath, [vitrine, ...args], { stdio: 'pipe' });
}

async function end(child: ChildProcess, input = '') {
  const texts = { stdout: '', stderr: '' };
  child.stdout!.on('data', (text) => (texts.stdout += text));
  child.stderr!.on('data', (text) => (texts.stderr += text));
  child.stdin!.end(input);
  const [exitCode, signal] = (await once(child, 'close')) as [number | null, string | null];
  return { ...texts, exitCode, signal };
}

const run = (...command: string[]) => end(start('run', '--', ...command));

/** A zombie waits for a parent that may never ask. */
function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

describe('vitrine run passes through', () => {
  it('arguments, output and exit code', async () => {
    const result = await run('sh', '-c', 'echo "$0" "$1"; echo oops >&2; exit 42', 'a b', '--trace');
    expect(result).toEqual({ stdout: 'a b --trace\n', stderr: 'oops\n', exitCode: 42, signal: null });
  });

  it('standard input', async () => {
    expect((await end(start('run', 'cat'), 'through\n')).stdout).toBe('through\n');
  });

  it('the signal that ended the program', async () => {
    expect((await run('sh', '-c', 'kill -TERM $$')).signal).toBe('SIGTERM');
    expect((await run('sh', '-c', 'kill -SEGV $$')).signal).toBe('SIGSEGV');
    expect((await run('sh', '-c', 'kill -KILL $$')).signal).toBe('SIGKILL');
  });

  it('a signal that only vitrine got', async () => {
    const child = start('run', 'sh', '-c', 'trap "echo caught; exit 3" TERM; echo ready; while :; do sleep 0.05; done');
    child.stdout!.once('data', () => child.kill('SIGTERM'));
    expect(await end(child)).toMatchObject({ stdout: 'ready\ncaught\n', exitCode: 3 });
  });

  it('descriptors beyond standard error', async () => {
    writeFileSync(path.join(folder, 'input'), 'from five\n');
    const shell = spawn('sh', [
      '-c',
      `exec "$0" "$1" run cat /dev/fd/5 5<"$2"`,
      process.execPath,
      vitrine,
      path.join(folder, 'input'),
    ]);
    expect((await end(shell)).stdout).toBe('from five\n');
  });
});

describe('vitrine run refuses by itself', () => {
  it('a program that is not there, with 127', async () => {
    expect(await run('no-such-program')).toMatchObject({
      exitCode: 127,
      stderr: expect.stringContaining('no-such-program'),
    });
    expect(await run('/no/such/program')).toMatchObject({ exitCode: 127 });
  });

  it('a file that is not executable, with 126', async () => {
    const file = path.join(folder, 'plain');
    writeFileSync(file, 'text');
    chmodSync(file, 0o644);
    const result = await run(file);
    // Root may execute nothing that has no execute bit either.
    expect(result).toMatchObject({ exitCode: 126, stderr: expect.stringContaining('permission') });
    expect(await run(folder)).toMatchObject({ exitCode: 126, stderr: expect.stringContaining('directory') });
  });

  it('options that it does not know or cannot read, with 125 and the valid ones', async () => {
    const profile = await end(start('run', '--cpu', 'z80', 'true'));
    expect(profile).toMatchObject({
      exitCode: 125,
      stderr: expect.stringContaining('skylake, icelake, sapphire-rapids'),
    });
    const size = await end(start('run', '--epc', 'much', 'true'));
    expect(size).toMatchObject({ exitCode: 125, stderr: expect.stringMatching(/--epc.*64M/) });
  });
});

describe('the machine', () => {
  it('gives the program its devices', async () => {
    const result = await run(
      'sh',
      '-c',
      'exec 3<>/dev/sgx_enclave 4<>/dev/sgx_provision; stat -c %F /dev/sgx_enclave; stat -c %F - <&4',
    );
    expect(result).toMatchObject({ exitCode: 0, stdout: 'character special file\ncharacter special file\n' });
  });

  it('says what was opened in the trace', async () => {
    const result = await end(start('run', '--trace', 'sh', '-c', 'exec 3<>/dev/sgx_enclave'));
    expect(result.stderr).toMatch(/open path=\/dev\/sgx_enclave flags=O_RDWR.* = 0/);
  });

  it('says once, and first, that enclave memory is open where there are no protection keys', async () => {
    const { stderr } = await end(start('run', '--trace', 'true'));
    const lines = stderr.split('\n').map((line) => line.includes('no protection keys here'));
    const keys = /^flags\s*:.*\bospke\b/m.test(readFileSync('/proc/cpuinfo', 'latin1'));
    expect(lines).toEqual(keys ? [false, false] : [true, false, false]);
  });

  it('ends like its program when that is killed', async () => {
    const child = start('run', 'sh', '-c', 'exec 3<>/dev/sgx_enclave; echo $$; exec sleep 60');
    const pid = await new Promise<number>((resolve) => child.stdout!.once('data', (text) => resolve(Number(text))));
    process.kill(pid, 'SIGKILL');
    expect(await end(child)).toMatchObject({ signal: 'SIGKILL' });
  });

  it('stays for a process in the background that has a device, and ends after it', async () => {
    const child = start('run', 'sh', '-c', 'exec 3<>/dev/sgx_enclave; (sleep 1; echo last) & exit 5');
    expect(await end(child)).toMatchObject({ stdout: 'last\n', stderr: '', exitCode: 5 });
  });

  it('serves programs in other network namespaces and with other root directories', async () => {
    const look = 'exec 3<>/dev/sgx_enclave; stat -c %F /dev/sgx_enclave';
    for (const command of [
      ['unshare', '-rn'],
      ['unshare', '-rR', '/'],
    ]) {
      const result = await run(...command, 'sh', '-c', look);
      expect(result).toEqual({ stdout: 'character special file\n', stderr: '', exitCode: 0, signal: null });
    }
  });

  it('ends its program with a last line when it is killed itself', async () => {
    const child = start(
      'run',
      'sh',
      '-c',
      'exec 3<>/dev/sgx_enclave; echo $$; sleep 0.3; : 4<>/dev/sgx_enclave; sleep 60',
    );
    const pid = await new Promise<number>((resolve) => child.stdout!.once('data', (text) => resolve(Number(text))));
    child.kill('SIGKILL');
    const { stderr } = await end(child);
    expect(stderr).toContain('the host process has gone');
    expect(isRunning(pid)).toBe(false);
  });
});
