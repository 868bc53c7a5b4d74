// Running the project's own checks: each a program with a title, its output shown only when it fails.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

export const root = path.dirname(import.meta.dirname);

// Programs installed in node_modules start `node` by name: let that be the Node that runs us.
const env = {
  ...process.env,
  PATH: [path.dirname(process.execPath), path.join(root, 'node_modules', '.bin'), process.env['PATH']].join(':'),
};

export interface Check {
  readonly title: string;
  readonly command: readonly [program: string, ...args: string[]];
}

const node = process.execPath;

/** Every check that needs no process, no device and no compiler; a second or two each. */
export const sourceChecks: readonly Check[] = [
  { title: 'generated files are fresh', command: [node, 'scripts/generate.ts', '--check'] },
  { title: 'lint', command: ['oxlint', '--type-aware', '--deny-warnings', '--quiet'] },
  { title: 'types', command: ['tsc', '--noEmit'] },
];

/** What `npm run check` adds; these never decide whether the code works. */
export const tidinessChecks: readonly Check[] = [
  { title: 'format', command: ['oxfmt', '--check'] },
  { title: 'unused code and dependencies', command: ['knip', '--no-progress'] },
];

/** Runs one check; prints one line when it holds, and the check's whole output when it does not. */
export function runCheck({ title, command }: Check): boolean {
  const started = performance.now();
  const [program, ...args] = command;
  const result = spawnSync(program, args, { cwd: root, env, encoding: 'utf8', maxBuffer: 1 << 28 });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const ok = result.status === 0;
  if (!ok) process.stdout.write(`${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}\n`);
  process.stdout.write(`${ok ? 'ok    ' : 'FAILED'} ${title} (${seconds} s)\n`);
  return ok;
}

/** Runs a program in the foreground. Returns its exit code. */
export function runShown(program: string, args: readonly string[]): number {
  return spawnSync(program, args, { cwd: root, env, stdio: 'inherit' }).status ?? 1;
}

export function has(relativePath: string): boolean {
  return existsSync(path.join(root, relativePath));
}
