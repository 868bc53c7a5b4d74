/** `vitrine run`: checks what can be checked before anything starts, then launches. */
import { writeSync } from 'node:fs';
import { findExecutable } from '../attach/executable.ts';
import { endLike, launch, type Ending } from '../attach/launch.ts';
import type { MachineThread } from '../attach/machine-thread.ts';
import { findStub } from '../attach/stub-file.ts';
import { VITRINE_FAILED } from './exit-codes.ts';

export interface RunOptions {
  readonly thread: MachineThread;
  readonly program: string;
  readonly args: readonly string[];
  readonly cpu: string;
  readonly epcSizeBytes: number;
  readonly trace: boolean;
}

export async function run({ thread, program, args, cpu, epcSizeBytes, trace }: RunOptions): Promise<never> {
  const found = findExecutable(program);
  if ('exitCode' in found) return fail(`cannot run ${found.reason}`, found.exitCode);
  const stub = findStub();
  if (stub === undefined)
    return fail('the stub has not been built yet; in a clone, `npm start` or `make -C native` does', VITRINE_FAILED);
  const module = new URL(`trace-printer${import.meta.url.slice(-3)}`, import.meta.url).href;
  let ending: Ending;
  try {
    ending = await launch({
      thread,
      stub,
      executable: found.path,
      argv: [program, ...args],
      machine: { cpu, epcSizeBytes, ...(trace && { listener: { module, options: { colour: usesColour() } } }) },
    });
  } catch (error) {
    // The stack helps us, not the user, who gets it on request.
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    return fail(`the machine failed: ${process.env['VITRINE_DEBUG'] === undefined ? message : stack}`, VITRINE_FAILED);
  }
  return endLike(ending);
}

/** Standard error, where the trace goes, is a terminal and nobody objects to colours. */
function usesColour(): boolean {
  return process.stderr.isTTY === true && process.env['NO_COLOR'] === undefined;
}

function fail(sentence: string, exitCode: number): never {
  writeSync(2, `vitrine: ${sentence}\n`);
  process.exit(exitCode);
}
