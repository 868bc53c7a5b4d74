// What `vitrine run` adds to the start of a program that touches no enclave; of the built package, not of the sources.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { clone, inProcess, nativeProgram, type Measure } from '../batch-program.ts';
import type { BenchCase } from '../case.ts';

const env = { ...process.env, PATH: `${path.dirname(process.execPath)}:${process.env['PATH']}` };

function must(program: string, ...args: string[]): void {
  const result = spawnSync(program, args, { cwd: clone, env, encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`${program} ${args.join(' ')} failed:\n${result.stdout}${result.stderr}`);
}

/** Packs and unpacks; its dependencies are found in the clone's node_modules above it. Returns its bin/vitrine. */
function builtPackage(): string {
  const folder = path.join(clone, '.cache', 'bench', 'package');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  must(process.execPath, 'scripts/build.ts');
  must('npm', 'pack', '--ignore-scripts', '--loglevel=error', '--pack-destination', folder);
  const archive = readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? '';
  must('tar', '-xzf', path.join(folder, archive), '-C', folder);
  return path.join(folder, 'package', 'bin', 'vitrine');
}

function starting(...command: [program: string, ...args: string[]]): Measure {
  const [program, ...args] = command;
  return inProcess(() => {
    const start = performance.now();
    const { status } = spawnSync(program, args, { env, stdio: 'ignore' });
    if (status !== 0) throw new Error(`${command.join(' ')} ended with exit code ${status}`);
    return (performance.now() - start) * 1e6;
  });
}

export const startup: BenchCase = {
  name: 'startup',
  summary: 'what a program that touches no enclave starts later under `vitrine run`, beside its start without',
  unit: 's',
  rounds: 11,
  bar: { of: 'value', is: '<=', limit: 0.5 },
  convert: (nanoseconds) => nanoseconds / 1e9,
  added: true,
  subject: () => starting(builtPackage(), 'run', '--', nativeProgram('nothing')),
  yardstick: () => starting(nativeProgram('nothing')),
};
