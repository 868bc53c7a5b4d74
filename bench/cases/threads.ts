// Threads on demand: what one more TCS takes (EAUG, EACCEPT, EACCEPTCOPY, EMODT, EACCEPT), and whether many make it slower.

import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { batchProgram, clone, nativeProgram, vitrineRun, type Measure } from '../batch-program.ts';
import type { BenchCase } from '../case.ts';

const ADDED = 15;

/** From so many threads on; examples/elastic-threads adds and removes, and times the adding. */
function growing(from: number): Measure {
  const example = path.join(clone, 'examples', 'elastic-threads');
  const make = spawnSync('make', ['-s', '-C', example], { encoding: 'utf8' });
  if (make.status !== 0) throw new Error(`${example} does not compile:\n${make.stderr}`);
  return batchProgram([...vitrineRun, path.join(example, 'build', 'host'), '--time', String(from), String(ADDED)]);
}

const common = { unit: 'us', rounds: 31, convert: (nanoseconds: number) => nanoseconds / 1e3 } as const;

export const addedThread: BenchCase = {
  ...common,
  name: 'thread-added',
  summary: 'a thread that an enclave of one gets more, against pthread_create and pthread_join',
  bar: { of: 'ratio', is: '<=', limit: 12 },
  subject: () => growing(1),
  yardstick: () => batchProgram([nativeProgram('threads')]),
};

export const addedToMany: BenchCase = {
  ...common,
  name: 'thread-added-to-240',
  summary: 'a thread that an enclave of 240 gets more, against one that an enclave of one gets',
  bar: { of: 'ratio', is: '<=', limit: 1.25 },
  subject: () => growing(240),
  yardstick: () => growing(1),
};
