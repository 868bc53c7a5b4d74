/** Real programs under `bin/vitrine run`, and what they leave behind. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const root = path.join(import.meta.dirname, '..', '..');
const vitrine = path.join(root, 'bin', 'vitrine');
export const programsFolder = path.join(root, 'test', 'programs');

/** Makes test/programs and, for it, the stub; one test file at a time. Throws what the compiler said. */
export function buildPrograms(): void {
  for (const folder of [path.join(root, 'native'), programsFolder]) {
    const { status, stderr, error } = spawnSync('flock', [folder, 'make', '-s', '-C', folder], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`make -C ${folder}: ${error?.message ?? stderr}`);
  }
}

export interface Ended {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One `vitrine run`, recognised by a word in the environment that all its processes inherit. */
export class TargetRun {
  readonly host: ChildProcess;
  readonly ended: Promise<Ended>;
  readonly #word = `VITRINE_TEST_RUN=${crypto.randomUUID()}`;

  /**
   * @param command a program of test/programs/build and its arguments, or anything with a slash
   * @param input its standard input
   */
  constructor(
    options: readonly string[],
    [program = '', ...args]: readonly string[],
    environment: Readonly<Record<string, string>> = {},
    input?: string,
  ) {
    const file = program.includes('/') ? program : path.join('build', program);
    const [name = '', value = ''] = this.#word.split('=');
    this.host = spawn(vitrine, ['run', ...options, '--', file, ...args], {
      cwd: programsFolder,
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...environment, [name]: value },
    });
    // A program may end before it has read everything.
    this.host.stdin?.on('error', () => {});
    this.host.stdin?.end(input);
    this.ended = this.#end();
  }

  async #end(): Promise<Ended> {
    const texts = { stdout: '', stderr: '' };
    this.host.stdout!.on('data', (text) => (texts.stdout += text));
    this.host.stderr!.on('data', (text) => (texts.stderr += text));
    const [exitCode, signal] = (await once(this.host, 'close')) as [number | null, NodeJS.Signals | null];
    return { ...texts, exitCode, signal };
  }

  /** The program's process; undefined while it has not started. */
  get target(): number | undefined {
    return this.processes().find((pid) => pid !== this.host.pid);
  }

  /** Everything of this run that is alive, the host included. */
  processes(): number[] {
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => pid > 0 && this.#owns(pid));
  }

  /** Waits until no process is left, at most `patienceMs`; how many are left then. */
  async gone(patienceMs: number): Promise<number> {
    const giveUpAt = performance.now() + patienceMs;
    while (this.processes().length > 0 && performance.now() < giveUpAt) await sleep(5);
    return this.processes().length;
  }

  /** A zombie has no environment any more. */
  #owns(pid: number): boolean {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(this.#word);
    } catch {
      return false;
    }
  }
}

export const run = (options: readonly string[], command: readonly string[]): Promise<Ended> =>
  new TargetRun(options, command).ended;
