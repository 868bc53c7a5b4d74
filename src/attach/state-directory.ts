/**
 * The directory in which Vitrine keeps what must outlive a run: where it is, that it is private to the user, and files
 * in it that are read whole and replaced whole.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  type Stats,
} from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A sentence for the user: what is wrong with the state directory, and the remedy. */
export class StateError extends Error {
  override name = 'StateError';
}

/** There is no place for the directory; a run can do without. */
export class NoStateError extends StateError {
  override name = 'NoStateError';
}

export interface StatePlace {
  readonly directory: string;
  /** Whether somebody named this directory; then it is no choice of ours to do without. */
  readonly chosen: boolean;
}

/**
 * @param named by the command line or a machine file. Then count $VITRINE_STATE_DIR, $XDG_STATE_HOME/vitrine and
 *   ~/.local/state/vitrine, in this order. Throws a NoStateError when there is no home directory either.
 */
export function stateDirectory(named: string | undefined, env: NodeJS.ProcessEnv = process.env): StatePlace {
  const chosen = named ?? nonEmpty(env['VITRINE_STATE_DIR']);
  if (chosen !== undefined) return { directory: path.resolve(chosen), chosen: true };
  const xdg = nonEmpty(env['XDG_STATE_HOME']);
  // The XDG specification has relative paths ignored.
  if (xdg !== undefined && path.isAbsolute(xdg)) return { directory: path.join(xdg, 'vitrine'), chosen: false };
  const home = homeDirectory(env);
  if (home === undefined) throw new NoStateError('there is no home directory');
  return { directory: path.join(home, '.local', 'state', 'vitrine'), chosen: false };
}

const nonEmpty = (text: string | undefined): string | undefined => (text === '' ? undefined : text);

/** A home that is only named, as that of `nobody`, is none: it is not for us to make. */
function homeDirectory(env: NodeJS.ProcessEnv): string | undefined {
  try {
    const home = nonEmpty(env['HOME']) ?? homedir();
    return path.isAbsolute(home) && statSync(home).isDirectory() ? home : undefined;
  } catch {
    return undefined;
  }
}

/** What mkdir or open say where a file cannot be made for reasons that the user may not be able to change. */
const NO_PLACE: readonly string[] = ['EACCES', 'EPERM', 'EROFS', 'ENOENT', 'ENOTDIR', 'ENOSPC', 'EDQUOT'];

/** How long to wait for others that change the directory; each needs a few milliseconds. */
const LOCK_PATIENCE_MS = 10_000;
const LOCK_RETRY_MS = 5;

const { O_RDONLY, O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;

export class StateDirectory {
  readonly path: string;
  readonly #chosen: boolean;

  constructor({ directory, chosen }: StatePlace) {
    this.path = directory;
    this.#chosen = chosen;
  }

  /** The text of a file; undefined when it, or the directory, is not there. Throws a StateError. */
  read(name: string): string | undefined {
    if (!this.#checkDirectory()) return undefined;
    const file = path.join(this.path, name);
    let fd: number;
    try {
      fd = openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw new StateError(`${file}: ${reasonOf(error)}`, { cause: error });
    }
    try {
      checkPrivate(file, fstatSync(fd), 'file', ELSEWHERE);
      return readFileSync(fd, 'utf8');
    } catch (error) {
      if (error instanceof StateError) throw error;
      throw new StateError(`${file}: ${reasonOf(error)}`, { cause: error });
    } finally {
      closeSync(fd);
    }
  }

  /** Does something while nobody else changes the directory, which is made if need be. Throws a StateError. */
  async locked<T>(change: (directory: StateDirectory) => T): Promise<T> {
    // Only who changes something needs system calls that Node does not have.
    const { tryLock } = await import('./linux/files.ts');
    const lock = this.#attempt(() => {
      makeDirectory(this.path);
      this.#checkDirectory();
      return openSync(path.join(this.path, 'lock'), O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    });
    try {
      const giveUpAt = performance.now() + LOCK_PATIENCE_MS;
      while (!this.#attempt(() => tryLock(lock))) {
        if (performance.now() > giveUpAt)
          throw new StateError(
            `${path.join(this.path, 'lock')} is held by another Vitrine that does not go on; end it`,
          );
        await sleep(LOCK_RETRY_MS);
      }
      return this.#attempt(() => change(this));
    } finally {
      closeSync(lock);
    }
  }

  /** Replaces a file: at every moment, power cuts included, the old one or the new one is there. Only when locked. */
  write(name: string, text: string): void {
    const fresh = path.join(this.path, `${name}.new`);
    rmSync(fresh, { force: true });
    writeFileSync(fresh, text, { mode: 0o600, flag: 'wx', flush: true });
    renameSync(fresh, path.join(this.path, name));
    const directory = openSync(this.path, O_RDONLY);
    fsyncSync(directory);
    closeSync(directory);
  }

  /** False when it is not there. */
  #checkDirectory(): boolean {
    let stats: Stats;
    try {
      stats = statSync(this.path);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false;
      throw this.#refusal(error);
    }
    checkPrivate(this.path, stats, 'directory', ELSEWHERE);
    return true;
  }

  #attempt<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw error instanceof Error && 'syscall' in error ? this.#refusal(error) : error;
    }
  }

  #refusal(error: unknown): StateError {
    const sentence = `${this.path} cannot be used (${reasonOf(error)})`;
    if (!this.#chosen && NO_PLACE.includes(codeOf(error))) return new NoStateError(sentence, { cause: error });
    return new StateError(`${sentence}; ${ELSEWHERE}`, { cause: error });
  }
}

/**
 * With its parents, all private. Not by mkdirSync's `recursive`: that never returns where mkdir(2) answers ENOENT below
 * a directory that exists, as in /proc.
 */
export function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return;
    const parent = path.dirname(directory);
    if (codeOf(error) !== 'ENOENT' || parent === directory || existsSync(parent)) throw error;
    makeDirectory(parent);
    makeDirectory(directory);
  }
}

const ELSEWHERE = '--state DIR or VITRINE_STATE_DIR names another directory';

/**
 * What decides over keys, and over who uses a machine, must be nobody else's to read or change. Throws a StateError
 * that ends with how to do without this file.
 */
export function checkPrivate(file: string, stats: Stats, kind: 'file' | 'directory', elsewhere: string): void {
  const right = kind === 'file' ? stats.isFile() : stats.isDirectory();
  if (!right) throw new StateError(`${file} is no ${kind}; move it away, or ${elsewhere}`);
  const user = process.geteuid!();
  if (stats.uid !== user)
    throw new StateError(`${file} belongs to user ${stats.uid}, and you are user ${user}; ${elsewhere}`);
  if ((stats.mode & 0o077) !== 0) {
    const mode = (stats.mode & 0o777).toString(8).padStart(3, '0');
    const remedy = `chmod ${kind === 'file' ? '600' : '700'} ${file}`;
    throw new StateError(
      `${file} is open to others (mode ${mode}); if nobody changed it, ${remedy}; else ${elsewhere}`,
    );
  }
}

export const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? '';

/** `EACCES: permission denied` out of Node's longer sentence. */
const reasonOf = (error: unknown): string => (error as Error).message.split(',')[0]!;
