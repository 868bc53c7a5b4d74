/**
 * Where standing machines are found: one directory per machine in a runtime directory of the user's own, with the
 * socket on which it listens, its process id and its log. A machine lives as long as somebody listens on its socket,
 * so what a killed one left behind is known as such, and removed by whoever comes upon it.
 */
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Errno } from '../../lib/errno.ts';
import { close, tryLock } from '../linux/files.ts';
import { HostError } from '../linux/library.ts';
import { connectTo, listenAt } from '../linux/sockets.ts';
import { checkPrivate, codeOf, makeDirectory, StateError } from '../state-directory.ts';
import { NameError } from './errors.ts';

const NAME_RULE = 'letters, digits, dots, dashes and underscores, at most 64, the first a letter or digit';
const isName = (name: string): boolean => /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name);

/** Throws a NameError. */
export function checkName(name: string): void {
  if (!isName(name)) throw new NameError(`${JSON.stringify(name)} is no name for a machine: ${NAME_RULE}`);
}

/** $XDG_RUNTIME_DIR/vitrine where there is that directory and it is the user's; else one in /tmp. */
export function runtimeDirectory(env: NodeJS.ProcessEnv = process.env): string {
  const user = process.geteuid!();
  const xdg = env['XDG_RUNTIME_DIR'] ?? '';
  const stats = path.isAbsolute(xdg) ? statSync(xdg, { throwIfNoEntry: false }) : undefined;
  if (stats?.isDirectory() === true && stats.uid === user) return path.join(xdg, 'vitrine');
  return `/tmp/vitrine-${user}`;
}

const ELSEWHERE = 'XDG_RUNTIME_DIR names another place';

const directoryOf = (name: string): string => path.join(runtimeDirectory(), name);
export const logOf = (name: string): string => path.join(directoryOf(name), 'log');

/** Connects to a machine. Throws a NameError when none listens there. */
export function connectToMachine(name: string): number {
  checkName(name);
  const socket = tryConnect(name);
  if (typeof socket === 'number') return socket;
  if (socket === 'stale')
    throw new NameError(`machine ${name} was killed; \`vitrine machine up ${name}\` starts it again`);
  const names = namesIn(runtimeDirectory());
  const others = names.length === 0 ? 'nor any other' : `these are: ${names.join(', ')}`;
  throw new NameError(`no machine ${name} is up, ${others}; \`vitrine machine up ${name}\` brings it up`);
}

/** The process of a machine, as far as it is known without asking it. */
export function pidOf(name: string): number | undefined {
  try {
    return Number(readFileSync(path.join(directoryOf(name), 'pid'), 'utf8')) || undefined;
  } catch {
    return undefined;
  }
}

export interface Listing {
  readonly names: readonly string[];
  /** Of machines that were killed; what they left is gone now. */
  readonly removed: readonly string[];
}

/** All machines of the user. */
export async function listMachines(): Promise<Listing> {
  const removed: string[] = [];
  if (!isThere(runtimeDirectory())) return { names: [], removed };
  return locked((directory) => {
    for (const name of namesIn(directory)) {
      const socket = tryConnect(name);
      if (typeof socket === 'number') close(socket);
      else removed.push(name);
    }
    for (const name of removed) remove(name);
    return { names: namesIn(directory), removed };
  });
}

export interface Place {
  /** Descriptors of this process. */
  readonly listener: number;
  readonly log: number;
}

/** Takes a name. Throws a NameError when it is none, or taken, or a StateError. */
export function takePlace(name: string): Promise<Place> {
  checkName(name);
  return locked(() => {
    const socket = tryConnect(name);
    if (typeof socket === 'number') {
      close(socket);
      throw new NameError(
        `machine ${name} is up already (process ${pidOf(name) ?? 'unknown'}); \`vitrine run --join ${name} -- PROGRAM\` uses it, ` +
          `\`vitrine machine down ${name}\` ends it`,
      );
    }
    remove(name);
    mkdirSync(directoryOf(name), { mode: 0o700 });
    // Ours, until the machine has a process of its own.
    writePid(name, process.pid);
    return { listener: throughDirectory(name, listenAt), log: openSync(logOf(name), 'ax', 0o600) };
  });
}

export function writePid(name: string, pid: number): void {
  writeFileSync(path.join(directoryOf(name), 'pid'), `${pid}\n`, { mode: 0o600 });
}

/** When the machine has ended. */
export async function leavePlace(name: string): Promise<void> {
  if (isThere(runtimeDirectory())) await locked(() => remove(name));
}

const isThere = (directory: string): boolean => statSync(directory, { throwIfNoEntry: false }) !== undefined;

const remove = (name: string): void => rmSync(directoryOf(name), { recursive: true, force: true });

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).filter(isName).toSorted();
  } catch {
    return [];
  }
}

function tryConnect(name: string): number | 'stale' | 'unknown' {
  try {
    return throughDirectory(name, connectTo);
  } catch (error) {
    if (error instanceof HostError && error.errno === Errno.ECONNREFUSED) return 'stale';
    // Somebody is there who accepts nothing at the moment: to be asked in vain, but alive.
    if (error instanceof HostError && error.errno === Errno.EAGAIN)
      throw new NameError(unresponsive(name), { cause: error });
    if ((error instanceof HostError && error.errno === Errno.ENOENT) || codeOf(error) === 'ENOENT') return 'unknown';
    throw new StateError(`${directoryOf(name)}: ${(error as Error).message}`, { cause: error });
  }
}

export const unresponsive = (name: string): string =>
  `machine ${name} (process ${pidOf(name) ?? 'unknown'}) does not answer; if nobody has stopped it, kill -9 ends it and its programs`;

/** By a short way to the socket, however long the path is: a socket's address has room for 107 bytes. */
function throughDirectory(name: string, use: (socketPath: string) => number): number {
  const runtime = runtimeDirectory();
  if (isThere(runtime)) checkPrivate(runtime, statSync(runtime), 'directory', ELSEWHERE);
  const directory = openSync(directoryOf(name), 'r');
  try {
    return use(`/proc/self/fd/${directory}/socket`);
  } finally {
    closeSync(directory);
  }
}

const LOCK_PATIENCE_MS = 10_000;
const LOCK_RETRY_MS = 5;

/**
 * Does something while nobody else changes the runtime directory, which is made before if need be, and removed after
 * it if nothing is in it. Throws a StateError.
 */
async function locked<T>(change: (directory: string) => T): Promise<T> {
  const directory = runtimeDirectory();
  const giveUpAt = performance.now() + LOCK_PATIENCE_MS;
  for (;;) {
    const lock = openRuntimeDirectory(directory);
    try {
      while (!tryLock(lock)) {
        if (performance.now() > giveUpAt)
          throw new StateError(`${directory} is held by another Vitrine that does not go on; end it`);
        await sleep(LOCK_RETRY_MS);
      }
      // Whoever held it before may have removed it.
      if (statSync(directory, { throwIfNoEntry: false })?.ino !== fstatSync(lock).ino) continue;
      try {
        return change(directory);
      } finally {
        removeIfEmpty(directory);
      }
    } finally {
      closeSync(lock);
    }
  }
}

function openRuntimeDirectory(directory: string): number {
  try {
    makeDirectory(directory);
    const fd = openSync(directory, 'r');
    checkPrivate(directory, fstatSync(fd), 'directory', ELSEWHERE);
    return fd;
  } catch (error) {
    if (error instanceof StateError) throw error;
    throw new StateError(`${directory}: ${(error as Error).message}; ${ELSEWHERE}`, { cause: error });
  }
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Others are in it.
  }
}
