/** The `vitrine` command as a process: what it printed and how it ended. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import type { Ended } from './target-run.ts';

const root = path.join(import.meta.dirname, '..', '..');

export interface Surroundings {
  /** Instead of the test's own variables; undefined takes one away. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

export const vitrine = (...args: readonly string[]): Promise<Ended> => vitrineIn({}, ...args);

/** Without a terminal and without input. */
export async function vitrineIn({ env, cwd }: Surroundings, ...args: readonly string[]): Promise<Ended> {
  const child = spawn(path.join(root, 'bin', 'vitrine'), args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    ...(cwd !== undefined && { cwd }),
  });
  const texts = { stdout: '', stderr: '' };
  child.stdout.on('data', (text) => (texts.stdout += text));
  child.stderr.on('data', (text) => (texts.stderr += text));
  const [exitCode, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { ...texts, exitCode, signal };
}
