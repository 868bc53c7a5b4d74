// A program that runs one batch each time it is asked, so that two of them can take turns (bench/native/batch.h).

import { spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import path from 'node:path';

export const clone = path.dirname(import.meta.dirname);
const programs = path.join(import.meta.dirname, 'native', 'build');

/** What `vitrine` is in the cases: the clone's own. */
export const vitrineRun = [path.join(clone, 'bin/vitrine'), 'run', '--'];

export function nativeProgram(name: string): string {
  return path.join(programs, name);
}

/** Compiles bench/native; silent unless it fails. */
export function buildPrograms(): void {
  const make = spawnSync('make', ['-s', '-C', path.join(import.meta.dirname, 'native')], { stdio: 'inherit' });
  if (make.status !== 0) throw new Error('bench/native does not compile');
}

/** A figure that can be taken again and again: nanoseconds per operation. */
export interface Measure extends AsyncDisposable {
  round(): Promise<number>;
}

/** Starts `command`; each round is one line to its stdin and one figure from its stdout. */
export function batchProgram(command: readonly string[]): Measure {
  const [program = '', ...args] = command;
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.on('error', () => {}); // a program that is gone is reported by the round that misses its answer
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const ended = new Promise<void>((resolve) => {
    child.on('close', () => resolve());
  });
  return {
    async round() {
      child.stdin.write('\n');
      const line = await lines.next();
      if (line.done === true) throw new Error(`${command.join(' ')} ended early`);
      return Number(line.value);
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await ended;
    },
  };
}

/** A measure that runs in this process. */
export function inProcess(nanosecondsPerOperation: () => number | Promise<number>): Measure {
  return {
    round: async () => await nanosecondsPerOperation(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
