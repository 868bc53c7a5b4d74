// What running under Vitrine costs a program that has nothing to do with enclaves: each trapped call, a call that is
// not trapped, and work without calls.

import { traps } from '../../src/abi/traps.ts';
import { batchProgram, nativeProgram, vitrineRun } from '../batch-program.ts';
import type { BenchCase } from '../case.ts';

/** Traps that no ordinary program meets in a loop, or that it cannot time by themselves. */
const leftOut = new Map([
  ['execve', 'a program that starts another: see startup'],
  ['execveat', 'likewise'],
  ['rt_sigsuspend', 'waits for a signal'],
  ['rt_sigreturn', 'the end of a handler: see call-signal'],
  ['ioctl', 'only of enclave devices: see ioctl-round-trip'],
  ['close', "only of the stub's own descriptors"],
  ['dup2', 'likewise'],
  ['dup3', 'likewise'],
  ['arch_prctl', 'only CPUID faulting'],
  ['prctl', 'only PR_GET_DUMPABLE and PR_SET_DUMPABLE'],
  ['pkey_mprotect', 'as mprotect'],
  ['remap_file_pages', 'deprecated'],
]);

function timed(filter: 1 | 2): string[] {
  const names = traps.filter((trap) => trap.filter === filter && trap.errno === undefined).map(({ name }) => name);
  return [...new Set(names)].filter((name) => !leftOut.has(name));
}

const common = {
  unit: 'us',
  rounds: 31,
  convert: (nanoseconds: number) => nanoseconds / 1e3,
  added: true,
} as const;

function call(args: readonly string[], name: string, summary: string, limitUs: number): BenchCase {
  const command = [nativeProgram('calls'), ...args];
  return {
    ...common,
    name,
    summary,
    bar: { of: 'value', is: '<=', limit: limitUs },
    subject: () => batchProgram([...vitrineRun, ...command]),
    yardstick: () => batchProgram(command),
  };
}

/** What is left of a trapped call when the kernel's part, a signal there and back, is taken away. */
const trap: BenchCase = {
  name: 'trap',
  summary: 'a trapped call that is answered at once, against one bare SIGSYS trap',
  unit: 'us',
  rounds: 31,
  bar: { of: 'ratio', is: '<=', limit: 1.25 },
  convert: common.convert,
  subject: () => batchProgram([...vitrineRun, nativeProgram('calls'), 'sigaltstack']),
  yardstick: () => batchProgram([nativeProgram('sigsys')]),
};

const inAnyProgram = timed(1).map((name) =>
  call([name], `call-${name}`, `what ${name} costs more, always trapped`, 2.5),
);

/** Trapped, too, from the moment a process opens a device. */
const withDevice = timed(2)
  .filter((name) => !timed(1).includes(name))
  .map((name) => call([name, 'device'], `call-${name}`, `what ${name} costs more once a device was opened`, 2.5));

/** Sent and handled: tgkill is not trapped, the handler's start goes by the stub, its end is a trapped rt_sigreturn. */
const signal = call(['signal'], 'call-signal', 'what a signal costs more that a program sends itself and handles', 5);

const untrapped = call(['getppid'], 'call-untrapped', 'what a call costs more that is not trapped', 0.025);

const arithmetic: BenchCase = {
  ...common,
  name: 'cpu-bound',
  summary: 'work without system calls, against the same without Vitrine',
  rounds: 101,
  bar: { of: 'ratio', is: '<=', limit: 1.02 },
  subject: () => batchProgram([...vitrineRun, nativeProgram('calls'), 'arithmetic']),
  yardstick: () => batchProgram([nativeProgram('calls'), 'arithmetic']),
};

export const ordinaryPrograms: readonly BenchCase[] = [
  trap,
  ...inAnyProgram,
  ...withDevice,
  signal,
  untrapped,
  arithmetic,
];
