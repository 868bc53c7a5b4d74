/** examples/elastic-threads on a machine of its own, which is asked after each round how much EPC is in use. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { Runtime } from './standing.ts';

const root = path.join(import.meta.dirname, '..', '..');
const example = path.join(root, 'examples', 'elastic-threads');
const host = path.join(example, 'build', 'host');

/** Throws what the compiler said. */
export function buildElasticThreads(): void {
  const { status, stderr } = spawnSync('flock', [example, 'make', '-s', '-C', example], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`make -C ${example}: ${stderr}`);
}

export interface Growth {
  /** EPC pages in use with one thread: before the first round, and after each. */
  readonly epcPages: readonly number[];
  /** What the host printed at the end: `10 rounds, 4711 calls answered right, 0 wrong`. */
  readonly summary: string;
  readonly stderr: string;
  readonly exitCode: number | null;
  /** Of the machine, once the program has ended. */
  readonly epcPagesLeft: number;
}

/** @param inject on the machine, see docs/inject.md */
export async function grow(
  args: { readonly rounds: number; readonly threads: number; readonly workers: number; readonly pause?: number },
  inject: readonly string[] = [],
): Promise<Growth> {
  const runtime = new Runtime();
  try {
    const up = await runtime.machine('up', 'demo', ...inject.flatMap((rule) => ['--inject', rule]));
    if (up.exitCode !== 0) throw new Error(up.stderr);
    const options = Object.entries(args).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const program = spawn(
      path.join(root, 'bin', 'vitrine'),
      ['run', '--join', 'demo', '--', host, '--step', ...options],
      { env: { ...process.env, ...runtime.env } },
    );
    const ended = once(program, 'close') as Promise<[number | null]>;
    let stderr = '';
    let summary = '';
    program.stderr.on('data', (text) => (stderr += String(text)));
    program.stdin.on('error', () => {});
    const epcPages: number[] = [];
    for await (const line of createInterface(program.stdout)) {
      summary = line;
      if (!/^(?:ready|round \d+):/.test(line)) continue;
      epcPages.push((await runtime.status()).epcPagesInUse);
      program.stdin.write('\n');
    }
    const [exitCode] = await ended;
    return { epcPages, summary, stderr, exitCode, epcPagesLeft: (await runtime.status()).epcPagesInUse };
  } finally {
    await runtime.dispose();
  }
}
