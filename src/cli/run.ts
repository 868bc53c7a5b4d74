/** `vitrine run`: checks what can be checked before anything starts, then launches. */
import { writeSync } from 'node:fs';
import path from 'node:path';
import { findExecutable } from '../attach/executable.ts';
import { endLike, launch, type Ending } from '../attach/launch.ts';
import type { MachineThread } from '../attach/machine-thread.ts';
import type { MachineOrder } from '../attach/protocol.ts';
import { findNative } from '../attach/stub-file.ts';
import { VITRINE_FAILED } from './exit-codes.ts';
import { startTraceFile, TRACE_FORMAT } from './trace-file.ts';

export interface RunOptions {
  readonly thread: MachineThread;
  readonly program: string;
  readonly args: readonly string[];
  readonly cpu: string;
  readonly epcSizeBytes: number;
  /** Where the trace goes: to standard error for '', else to a file. */
  readonly traces: readonly string[];
  readonly version: string;
}

export async function run({ thread, program, args, cpu, epcSizeBytes, traces, version }: RunOptions): Promise<never> {
  const found = findExecutable(program);
  if ('exitCode' in found) return fail(`cannot run ${found.reason}`, found.exitCode);
  const stub = findNative('vitrine-stub');
  if (stub === undefined)
    return fail('the stub has not been built yet; in a clone, `npm start` or `make -C native` does', VITRINE_FAILED);
  const machine = { cpu, epcSizeBytes };
  const command = [program, ...args];
  for (const file of traces.filter((name) => name !== '')) {
    try {
      const startedAt = new Date().toISOString();
      startTraceFile(file, { vitrine: version, format: TRACE_FORMAT, startedAt, machine, command });
    } catch (error) {
      return fail(`cannot write the trace: ${(error as Error).message}`, VITRINE_FAILED);
    }
  }
  let ending: Ending;
  try {
    ending = await launch({
      thread,
      stub,
      executable: found.path,
      argv: command,
      machine: { ...machine, listeners: traces.map(listenerFor) },
    });
  } catch (error) {
    // The stack helps us, not the user, who gets it on request.
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    return fail(`the machine failed: ${process.env['VITRINE_DEBUG'] === undefined ? message : stack}`, VITRINE_FAILED);
  }
  return endLike(ending);
}

function listenerFor(file: string): MachineOrder['listeners'][number] {
  const here = (name: string): string => new URL(`${name}${import.meta.url.slice(-3)}`, import.meta.url).href;
  if (file === '') return { module: here('trace-printer'), options: { colour: usesColour() } };
  return { module: here('trace-file'), options: { path: path.resolve(file) } };
}

/** Standard error, where the trace goes, is a terminal and nobody objects to colours. */
function usesColour(): boolean {
  return process.stderr.isTTY === true && process.env['NO_COLOR'] === undefined;
}

function fail(sentence: string, exitCode: number): never {
  writeSync(2, `vitrine: ${sentence}\n`);
  process.exit(exitCode);
}
