/** `vitrine run`: checks what can be checked before anything starts, then launches. */
import { writeSync } from 'node:fs';
import path from 'node:path';
import { findExecutable } from '../attach/executable.ts';
import { endLike, launch, type Ending } from '../attach/launch.ts';
import { loadIdentity } from '../attach/identity-store.ts';
import type { MachineThread } from '../attach/machine-thread.ts';
import type { MachineOrder } from '../attach/protocol.ts';
import { findNative } from '../attach/stub-file.ts';
import { VITRINE_FAILED } from './exit-codes.ts';
import { describeMachine, exitCodeOf, type MachineFlags } from './machine-options.ts';
import { startTraceFile, TRACE_FORMAT } from './trace-file.ts';

export interface RunOptions {
  readonly thread: MachineThread;
  readonly program: string;
  readonly args: readonly string[];
  readonly machine: MachineFlags;
  /** Where the trace goes: to standard error for '', else to a file. */
  readonly traces: readonly string[];
  readonly version: string;
}

export async function run({ thread, program, args, machine, traces, version }: RunOptions): Promise<never> {
  const found = findExecutable(program);
  if ('exitCode' in found) return fail(thread, `cannot run ${found.reason}`, found.exitCode);
  const stub = findNative('vitrine-stub');
  if (stub === undefined)
    return fail(thread, 'there is no stub yet; in a clone, `npm start` or `make -C native` builds it', VITRINE_FAILED);
  const made = await makeMachine(thread, machine);
  const command = [program, ...args];
  for (const file of traces.filter((name) => name !== '')) {
    try {
      const startedAt = new Date().toISOString();
      startTraceFile(file, { vitrine: version, format: TRACE_FORMAT, startedAt, machine: made.description, command });
    } catch (error) {
      return fail(thread, `cannot write the trace: ${(error as Error).message}`, VITRINE_FAILED);
    }
  }
  let ending: Ending;
  try {
    ending = await launch({
      thread,
      stub,
      executable: found.path,
      argv: command,
      machine: { ...made, listeners: traces.map(listenerFor) },
    });
  } catch (error) {
    // The stack helps us, not the user, who gets it on request.
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    const text = process.env['VITRINE_DEBUG'] === undefined ? message : stack;
    return fail(thread, `the machine failed: ${text}`, VITRINE_FAILED);
  }
  return endLike(ending);
}

function listenerFor(file: string): MachineOrder['listeners'][number] {
  const here = (name: string): string => new URL(`${name}${import.meta.url.slice(-3)}`, import.meta.url).href;
  if (file === '') return { module: here('trace-printer'), options: { colour: usesColour() } };
  return { module: here('trace-file'), options: { path: path.resolve(file) } };
}

/** The machine with its identity, or the end of the command. */
async function makeMachine(
  thread: MachineThread,
  flags: MachineFlags,
): Promise<Pick<MachineOrder, 'description' | 'identity'>> {
  try {
    const { description, state } = await describeMachine(flags);
    const { identity, temporaryBecause } = await loadIdentity(state);
    if (temporaryBecause !== undefined) {
      say(`${temporaryBecause}: sealed data will not outlive this run; --state DIR names a place for the identity`);
    }
    return { description, identity };
  } catch (error) {
    if (exitCodeOf(error) === undefined) throw error;
    return fail(thread, (error as Error).message, VITRINE_FAILED);
  }
}

/** Standard error, where the trace goes, is a terminal and nobody objects to colours. */
function usesColour(): boolean {
  return process.stderr.isTTY === true && process.env['NO_COLOR'] === undefined;
}

async function fail(thread: MachineThread, sentence: string, exitCode: number): Promise<never> {
  say(sentence);
  await thread.settle();
  process.exit(exitCode);
}

function say(sentence: string): void {
  writeSync(2, `vitrine: ${sentence}\n`);
}
