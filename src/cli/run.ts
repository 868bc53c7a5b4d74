/** `vitrine run`: checks what can be checked before anything starts, then launches. */
import { writeSync } from 'node:fs';
import { findExecutable } from '../attach/executable.ts';
import { endLike, launch, type Attachment, type Ending } from '../attach/launch.ts';
import { MachineThread } from '../attach/machine-thread.ts';
import { findNative } from '../attach/stub-file.ts';
import { VITRINE_FAILED } from './exit-codes.ts';
import { exitCodeOf } from './machine-options.ts';
import { orderMachine, type WantedMachine } from './machine-order.ts';

export interface RunOptions extends Omit<WantedMachine, 'command'> {
  /** The machine's thread, when it was started early. */
  readonly thread: MachineThread | undefined;
  /** A standing machine, instead of one for this program. */
  readonly join: string | undefined;
  readonly program: string;
  readonly args: readonly string[];
}

export async function run(options: RunOptions): Promise<never> {
  const { program, args, join } = options;
  const found = findExecutable(program);
  if ('exitCode' in found) return fail(options, `cannot run ${found.reason}`, found.exitCode);
  const stub = findNative('vitrine-stub');
  if (stub === undefined)
    return fail(options, 'there is no stub yet; in a clone, `npm start` or `make -C native` builds it', VITRINE_FAILED);
  const command = [program, ...args];
  const attachment = await attach(options, command);
  let ending: Ending;
  try {
    ending = await launch({ attachment, stub, executable: found.path, argv: command });
  } catch (error) {
    // The stack helps us, not the user, who gets it on request.
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    const text = process.env['VITRINE_DEBUG'] === undefined ? message : stack;
    return fail(options, `${join === undefined ? 'the machine failed' : 'cannot start'}: ${text}`, VITRINE_FAILED);
  }
  return endLike(ending);
}

/** A place in the machine, or the end of the command. */
async function attach(options: RunOptions, command: readonly string[]): Promise<Attachment> {
  try {
    if (options.join !== undefined) {
      const { Joined } = await import('../attach/standing/client.ts');
      return await Joined.join(options.join, command, say);
    }
    const order = await orderMachine({ ...options, command }, say);
    const thread = options.thread ?? new MachineThread();
    thread.order(order);
    return thread;
  } catch (error) {
    if (exitCodeOf(error) === undefined) throw error;
    return fail(options, (error as Error).message, VITRINE_FAILED);
  }
}

async function fail({ thread }: RunOptions, sentence: string, exitCode: number): Promise<never> {
  say(sentence);
  await thread?.settle();
  process.exit(exitCode);
}

function say(sentence: string): void {
  writeSync(2, `vitrine: ${sentence}\n`);
}
