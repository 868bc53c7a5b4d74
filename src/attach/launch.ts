/** Runs one program as a target: starts it under the stub, passes on signals that only we got, waits for the end. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';

/** A program's place in a machine. */
export interface Attachment {
  /** What the program inherits besides: descriptors of ours, by number. */
  readonly inherited: readonly ('ignore' | number)[];
  /** The program may start, with this end of its gate. */
  readonly ready: Promise<number>;
  /** The machine has ended in good order; rejects with what it threw. */
  readonly ended: Promise<void>;
  /** The program has its gate. */
  started(): void;
  /** The program has ended; what it has started may go on. */
  mainEnded(): void;
}

export interface LaunchOptions {
  readonly attachment: Attachment;
  /** Absolute path of the stub. */
  readonly stub: string;
  /** Absolute path of the program. */
  readonly executable: string;
  /** What the program gets, argv[0] included. */
  readonly argv: readonly string[];
}

/** How the program ended. */
export type Ending = { readonly exitCode: number } | { readonly signal: NodeJS.Signals };

/** Throws what the machine's thread or the start of the stub threw: both are our own failures, not the program's. */
export async function launch({ attachment, stub, executable, argv }: LaunchOptions): Promise<Ending> {
  const gate = await attachment.ready;
  // First: a program may be quicker than we are, and somebody sends us a signal for it as soon as it says that it is there.
  const stopForwarding = forwardSignals((signal) => child.kill(signal));
  const child = spawn(stub, [String(attachment.inherited.length), '0', executable, ...argv], {
    argv0: 'vitrine-stub',
    stdio: [...attachment.inherited, gate],
  });
  attachment.started();
  const ended = new Promise<Ending>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (exitCode, signal) => resolve(signal === null ? { exitCode: exitCode ?? 0 } : { signal }));
  });
  try {
    const ending = await Promise.race([ended, attachment.ended.then(() => ended)]);
    attachment.mainEnded();
    await attachment.ended;
    return ending;
  } catch (error) {
    // Without its machine the program must not go on as if it had never had one.
    child.kill('SIGKILL');
    throw error;
  } finally {
    stopForwarding();
  }
}

/** Signals that users and supervisors send to one process. */
const FORWARDED: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGINT', 'SIGQUIT'];
/** Those that a terminal sends to the whole foreground group, so that the program has got them already. */
const FROM_TERMINAL: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT'];

function forwardSignals(send: (signal: NodeJS.Signals) => void): () => void {
  const listeners = FORWARDED.map((signal) => {
    const listener = (): void => {
      if (!FROM_TERMINAL.includes(signal) || !isForegroundGroup()) send(signal);
    };
    process.on(signal, listener);
    return () => process.off(signal, listener);
  });
  return () => {
    for (const stop of listeners) stop();
  };
}

/** Whether our process group is the one that the terminal sends its signals to. */
function isForegroundGroup(): boolean {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const [, , processGroup, , , foregroundGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return processGroup === foregroundGroup;
}

/** Ends this process as the program ended: with its code, or by the same signal and without a core file of ours. */
export async function endLike(ending: Ending): Promise<never> {
  if ('exitCode' in ending) process.exit(ending.exitCode);
  const { forbidCoreDump } = await import('./linux/processes.ts');
  forbidCoreDump();
  process.kill(process.pid, ending.signal);
  // Signals that Node ignores, or that take their time.
  await new Promise((resolve) => setTimeout(resolve, 50));
  process.exit(128 + constants.signals[ending.signal]);
}
