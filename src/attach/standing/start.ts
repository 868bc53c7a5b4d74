/** Brings up a standing machine: in a process of its own, or in this one. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, readFileSync } from 'node:fs';
import { MachineThread } from '../machine-thread.ts';
import type { MachineOrder } from '../protocol.ts';
import { statusOf } from './client.ts';
import { StartError } from './errors.ts';
import { leavePlace, logOf, takePlace, writePid } from './place.ts';
import type { Status } from './protocol.ts';

/** Which of its descriptors is the socket, in a machine's own process. */
const LISTENER_FD = 4;
/** On a machine with much to do, a process takes its time to start. */
const START_PATIENCE_MS = 60_000;

/** Returns when the machine answers. Throws a NameError, a StateError, or an Error with what the machine said at its end. */
export async function startInBackground(name: string, order: MachineOrder): Promise<Status> {
  const { listener, log } = await takePlace(name);
  const child = fork(new URL(`machine.process${import.meta.url.slice(-3)}`, import.meta.url), [], {
    detached: true,
    cwd: '/',
    stdio: ['ignore', log, log, 'ipc', listener],
    serialization: 'advanced',
  });
  closeSync(listener);
  closeSync(log);
  const ended = once(child, 'exit');
  child.send({ ...order, standing: { name, since: new Date().toISOString(), listener: LISTENER_FD } });
  if (child.pid !== undefined) writePid(name, child.pid);
  let status: Status;
  try {
    status = await statusOf(name, START_PATIENCE_MS);
  } catch (error) {
    child.kill('SIGKILL');
    await ended;
    const said = readFileSync(logOf(name), 'utf8').trim();
    await leavePlace(name);
    throw new StartError(`the machine failed: ${said === '' ? (error as Error).message : said}`, { cause: error });
  }
  child.disconnect();
  child.unref();
  return status;
}

/** Returns when the machine has ended. `onReady` is called when it answers. */
export async function runHere(name: string, order: MachineOrder, onReady: (status: Status) => void): Promise<void> {
  const { listener, log } = await takePlace(name);
  closeSync(log);
  const thread = new MachineThread();
  const ended = endBySignals(thread, { ...order, standing: { name, since: new Date().toISOString(), listener } });
  await Promise.race([ended, statusOf(name, START_PATIENCE_MS).then(onReady)]);
  await ended;
}

const ENDING: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'];

/** Lets the thread be this machine until it is told to end, by a command or by a signal. Rejects with what it threw. */
export async function endBySignals(thread: MachineThread, order: MachineOrder): Promise<void> {
  for (const signal of ENDING) process.on(signal, () => thread.mainEnded());
  thread.order(order);
  await thread.ended;
  await leavePlace(order.standing!.name);
}
