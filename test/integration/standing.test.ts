// `vitrine machine up`, `ps`, `down` and `vitrine run --join`, from outside.
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { vitrineIn } from '../support/command.ts';
import { Runtime, until } from '../support/standing.ts';
import { buildPrograms, run } from '../support/target-run.ts';

// A hundred processes, one after the other, on a machine that may have much else to do.
vi.setConfig({ testTimeout: 90_000 });
beforeAll(buildPrograms, 120_000);

let runtime: Runtime;
beforeEach(() => {
  runtime = new Runtime();
});
afterEach(() => runtime.dispose());

/** Says `ready` with a device open, then goes on until it is ended. */
const HOLDER = ['/bin/sh', '-c', 'exec 3<>/dev/sgx_enclave; echo ready; while :; do sleep 0.05; done'];
const ready = (joined: ReturnType<Runtime['join']>): Promise<void> =>
  new Promise((resolve) => joined.host.stdout!.once('data', () => resolve()));

describe('vitrine machine up', () => {
  it('returns when the machine answers; ps shows it, down leaves nothing', async () => {
    const up = await runtime.machine('up', 'demo', '--epc', '8M', '--cpu', 'icelake');
    expect(up).toMatchObject({ exitCode: 0, stderr: '' });
    const ps = JSON.parse((await runtime.machine('ps', '--json')).stdout) as { pid: number }[];
    const { pid } = ps[0]!;
    expect(up.stdout).toBe(`machine demo is up: icelake, 2048 EPC pages, process ${pid}\n`);
    expect(ps).toEqual([
      {
        name: 'demo',
        pid: expect.any(Number),
        since: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
        cpu: 'icelake',
        epcPages: 2048,
        epcPagesInUse: 0,
        evictedPages: 0,
        processes: 0,
        enclaves: 0,
        programs: [],
      },
    ]);
    expect((await runtime.machine('ps')).stdout).toMatch(
      /^NAME +PID +SINCE .*\ndemo +\d+ +\S+ \S+ +0 of 2048 pages +0 +0\n$/,
    );
    expect(await runtime.machine('down', 'demo')).toEqual({ stdout: '', stderr: '', exitCode: 0, signal: null });
    expect(runtime.left()).toEqual([]);
    expect(await until(() => !isThere(pid))).toBe(true);
  });

  it('gives a name to one machine only, whoever comes first', async () => {
    const both = await Promise.all([runtime.machine('up', 'demo'), runtime.machine('up', 'demo')]);
    const [won, lost] = both.toSorted((a, b) => a.exitCode! - b.exitCode!);
    expect(won).toMatchObject({ exitCode: 0 });
    expect(lost).toMatchObject({
      exitCode: 6,
      stderr: expect.stringMatching(/machine demo is up already \(process \d+\); `vitrine run --join demo/),
    });
  });

  it('refuses what cannot be, before anything starts', async () => {
    expect(await runtime.machine('up', 'a/b')).toMatchObject({ exitCode: 6, stderr: expect.stringContaining('"a/b"') });
    expect(await runtime.machine('up', 'demo', '--trace')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('--trace FILE.jsonl, or --foreground'),
    });
    expect(await runtime.machine('up', 'demo', '--machine', '/no/such')).toMatchObject({ exitCode: 2 });
    expect(runtime.left()).toEqual([]);
  });

  it('says what the machine said when it cannot start', async () => {
    const trace = path.join(runtime.folder, 'gone', 'trace.jsonl');
    mkdirSync(path.dirname(trace));
    const env = {
      ...runtime.env,
      NODE_OPTIONS: '--import=data:text/javascript,if(process.send)throw(Error(%22no%22))',
    };
    const up = await vitrineIn({ env }, 'machine', 'up', 'demo');
    expect(up).toMatchObject({
      exitCode: 7,
      stderr: expect.stringMatching(/error: the machine failed: [^]*Error: no/),
    });
    rmSync(path.dirname(trace), { recursive: true });
    expect(runtime.left()).toEqual([]);
  });

  it('stays in the foreground on request, traces to standard error, and ends at Ctrl-C', async () => {
    const ended = vitrineIn({ env: runtime.env }, 'machine', 'up', '--foreground', 'demo', '--trace');
    expect(await until(() => existsSync(runtime.socketOf('demo')))).toBe(true);
    expect(await runtime.join('demo', ['/bin/sh', '-c', 'exec 3<>/dev/sgx_enclave']).ended).toMatchObject({
      exitCode: 0,
      stderr: '',
    });
    process.kill((await runtime.status()).pid, 'SIGINT');
    const { stdout, stderr, exitCode } = await ended;
    expect({ stdout, exitCode }).toEqual({ stdout: expect.stringMatching(/^machine demo is up: /), exitCode: 0 });
    expect(stderr).toMatch(/a program joins[^]*open path=\/dev\/sgx_enclave[^]*EPC in use: 0 pages/);
    expect(runtime.left()).toEqual([]);
  });

  it('writes what all programs do into one trace file', async () => {
    const trace = path.join(runtime.folder, 'trace.jsonl');
    await runtime.machine('up', 'demo', '--trace', trace);
    await Promise.all([1, 2].map(() => runtime.join('demo', ['/bin/sh', '-c', ': 3<>/dev/sgx_enclave']).ended));
    await runtime.machine('down', 'demo');
    const lines = readFileSync(trace, 'utf8').trim().split('\n');
    const [header, ...events] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    rmSync(trace);
    expect(header).toMatchObject({ format: 1, command: [] });
    const opens = events.filter(({ kind }) => kind === 'open');
    expect(new Set(opens.map(({ pid }) => pid)).size).toBe(2);
    expect(events.at(-1)).toMatchObject({ name: 'end', args: { pages: 0, enclaves: 0 } });
  });
});

describe('vitrine run --join', () => {
  it('passes through input, output, exit code, and signals either way', async () => {
    await runtime.machine('up', 'demo');
    const { stdout, stderr, exitCode } = await runtime.join(
      'demo',
      ['/bin/sh', '-c', 'cat; echo oops >&2; exit 42'],
      'in',
    ).ended;
    expect({ stdout, stderr, exitCode }).toEqual({ stdout: 'in', stderr: 'oops\n', exitCode: 42 });
    expect(await runtime.join('demo', ['/bin/sh', '-c', 'kill -SEGV $$']).ended).toMatchObject({ signal: 'SIGSEGV' });
    const trap = runtime.join('demo', [
      '/bin/sh',
      '-c',
      'trap "exit 3" TERM; echo ready; while :; do sleep 0.05; done',
    ]);
    await ready(trap);
    trap.host.kill('SIGTERM');
    expect(await trap.ended).toMatchObject({ exitCode: 3 });
    // Nothing of the way to the machine is the program's, and nothing stays with the machine.
    const list = ['/bin/sh', '-c', 'ls /proc/self/fd'];
    expect((await runtime.join('demo', list).ended).stdout).toBe((await run([], list)).stdout);
    expect(await runtime.status()).toMatchObject({ processes: 0, programs: [] });
  });

  it('refuses options of machines, machines that are not up, and says which are', async () => {
    await runtime.machine('up', 'demo');
    const refusal = async (...options: string[]) => {
      const { stderr, exitCode } = await vitrineIn({ env: runtime.env }, 'run', ...options, '--', 'true');
      expect(exitCode).toBe(125);
      return stderr;
    };
    expect(await refusal('--join', 'demo', '--cpu', 'skylake')).toContain(
      '--cpu is for the machine, and demo has its own',
    );
    expect(await refusal('--trace', '--join', 'demo')).toContain('--trace is for the machine');
    expect(await refusal('--join', 'other')).toBe(
      'vitrine: no machine other is up, these are: demo; `vitrine machine up other` brings it up\n',
    );
    expect(await refusal('--join', '../demo')).toContain('"../demo" is no name for a machine');
  });

  it('is a word that programs may have, too', async () => {
    const { stdout } = await vitrineIn({ env: runtime.env }, 'run', 'echo', '--join', 'demo');
    expect(stdout).toBe('--join demo\n');
  });

  it('leaves in the machine what its program leaves running', async () => {
    await runtime.machine('up', 'demo');
    const joined = runtime.join('demo', [
      '/bin/sh',
      '-c',
      '(exec 3<>/dev/sgx_enclave; sleep 0.5; : 4<>/dev/sgx_enclave) >/dev/null 2>&1 & exit 5',
    ]);
    expect(await joined.ended).toMatchObject({ exitCode: 5, stderr: '' });
    expect(await until(async () => (await runtime.status()).enclaves === 1)).toBe(true);
    expect(await until(async () => (await runtime.status()).processes === 0)).toBe(true);
    expect(await runtime.status()).toMatchObject({ enclaves: 0 });
  });

  it('ends its program when it is killed itself', async () => {
    await runtime.machine('up', 'demo');
    const joined = runtime.join('demo', HOLDER);
    await ready(joined);
    expect(await runtime.status()).toMatchObject({
      enclaves: 1,
      programs: [{ pid: joined.host.pid, command: HOLDER }],
    });
    joined.host.kill('SIGKILL');
    expect((await joined.ended).stderr).toMatch(/vitrine: the host process has gone; [^\n]*\n$/);
    expect(await joined.gone(2000)).toBe(0);
    expect(await runtime.status()).toMatchObject({ processes: 0, enclaves: 0, programs: [] });
  });
});

describe('the end of a machine', () => {
  it('by kill -9 ends its programs with a last line; the next command removes what is left', async () => {
    await runtime.machine('up', 'demo');
    const joined = runtime.join('demo', HOLDER);
    await ready(joined);
    process.kill((await runtime.status()).pid, 'SIGKILL');
    expect(await joined.ended).toMatchObject({
      signal: 'SIGKILL',
      stderr: expect.stringMatching(/vitrine: the host process has gone; [^\n]*\n$/),
    });
    expect(await joined.gone(2000)).toBe(0);
    expect(await runtime.join('demo', ['/bin/true']).ended).toMatchObject({
      exitCode: 125,
      stderr: 'vitrine: machine demo was killed; `vitrine machine up demo` starts it again\n',
    });
    expect(await runtime.machine('down', 'demo')).toMatchObject({
      exitCode: 0,
      stderr: 'vitrine: machine demo was killed; what it left behind is removed\n',
    });
    expect(runtime.left()).toEqual([]);
  });

  it('by kill -9 does not stand in the way of the next up', async () => {
    await runtime.machine('up', 'demo');
    process.kill((await runtime.status()).pid, 'SIGKILL');
    await sleep(50);
    expect(await runtime.machine('up', 'demo')).toMatchObject({ exitCode: 0, stderr: '' });
  });

  it('asks programs to end, stopped ones too, and kills those that do not', async () => {
    await runtime.machine('up', 'demo');
    const [polite, stopped] = [runtime.join('demo', HOLDER), runtime.join('demo', HOLDER)];
    const stubborn = runtime.join('demo', ['/bin/sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 0.05; done']);
    await Promise.all([polite, stopped, stubborn].map(ready));
    process.kill(stopped.target!, 'SIGSTOP');
    const down = await runtime.machine('down', 'demo', '--grace', '0.7');
    expect(down).toMatchObject({
      exitCode: 0,
      stderr: expect.stringMatching(/^vitrine: demo: \d+ processes are asked/),
    });
    const said = 'vitrine: machine demo is being ended, and its programs with it\n';
    expect(await polite.ended).toMatchObject({ signal: 'SIGTERM', stderr: said });
    expect(await stopped.ended).toMatchObject({ signal: 'SIGTERM', stderr: said });
    expect(await stubborn.ended).toMatchObject({ signal: 'SIGKILL', stderr: said });
    expect(runtime.left()).toEqual([]);
  });

  it('of one that is stopped is not waited for', async () => {
    await runtime.machine('up', 'demo');
    const { pid } = await runtime.status();
    process.kill(pid, 'SIGSTOP');
    const [ps, join, down] = await Promise.all([
      runtime.machine('ps', '--json'),
      runtime.join('demo', ['/bin/true']).ended,
      runtime.machine('down', 'demo'),
    ]);
    process.kill(pid, 'SIGCONT');
    const sentence = `machine demo (process ${pid}) does not answer; if nobody has stopped it, kill -9 ends it and its programs`;
    expect(JSON.parse(ps.stdout)).toEqual([{ name: 'demo', pid, problem: sentence }]);
    expect(join).toMatchObject({ exitCode: 125, stderr: `vitrine: ${sentence}\n` });
    expect(down).toMatchObject({ exitCode: 6, stderr: expect.stringContaining(sentence) });
  });
});

describe('who may use a machine', () => {
  it('its own user, in a directory that is closed to others', async () => {
    await runtime.machine('up', 'demo');
    const directory = path.join(runtime.folder, 'vitrine');
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    chmodSync(directory, 0o755);
    for (const { stderr } of [await runtime.machine('ps'), await runtime.join('demo', ['/bin/true']).ended])
      expect(stderr).toContain(`${directory} is open to others (mode 755); if nobody changed it, chmod 700`);
    chmodSync(directory, 0o700);
  });

  it('who attacks it suffers alone, and hears of it', async () => {
    await runtime.machine('up', 'demo');
    const other = runtime.join('demo', HOLDER);
    await ready(other);
    const { stdout, stderr, exitCode } = await runtime.join('demo', ['hostile', 'forged-hello']).ended;
    expect({ stdout, exitCode }).toEqual({ stdout: expect.stringMatching(/, 0 failed\n$/), exitCode: 0 });
    const sentence = /^vitrine: process \d+ introduced itself with 5 bytes instead of 32; it is killed$/m;
    expect(stderr).toMatch(sentence);
    expect(readFileSync(path.join(runtime.folder, 'vitrine', 'demo', 'log'), 'utf8')).toMatch(sentence);
    expect(await runtime.status()).toMatchObject({ enclaves: 1, programs: [{ command: HOLDER }] });
    other.host.kill('SIGTERM');
    expect(await other.ended).toMatchObject({ signal: 'SIGTERM', stderr: '' });
  }, 60_000);

  it('is told by a machine to whoever sends it nonsense, too much, or nothing, and it goes on', async () => {
    await runtime.machine('up', 'demo');
    const socket = runtime.socketOf('demo');
    const talk = (text: string): Promise<string> =>
      new Promise((resolve) => {
        let heard = '';
        const client = connect(socket, () => client.write(text));
        client.on('data', (bytes) => {
          heard += bytes;
          client.end();
        });
        client.on('close', () => resolve(heard)).on('error', () => {});
      });
    const refused = '{"refused":"this is no request"}\n';
    for (const text of ['\n', 'hello\n', '[]\n', '{"ask":"join"}\n', '{"ask":"down","graceMs":-1}\n', 'null\n'])
      expect(await talk(text)).toBe(refused);
    expect(await talk('{"ask":"join","protocol":0,"command":[]}\n')).toContain('runs another version of Vitrine');
    expect(await talk('x'.repeat(2 << 20))).toBe('');
    const silent = Array.from({ length: 200 }, () => connect(socket).on('error', () => {}));
    // Who never reads is forgotten at last.
    const deaf = connect(socket)
      .on('error', () => {})
      .pause();
    deaf.write('{"ask":"status"}\n'.repeat(20_000));
    expect(await until(async () => (await runtime.status()).name === 'demo')).toBe(true);
    for (const client of [...silent, deaf]) client.destroy();
    expect(await runtime.machine('down', 'demo')).toMatchObject({ exitCode: 0 });
  });
});

function isThere(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}
