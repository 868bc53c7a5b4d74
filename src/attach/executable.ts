/** Finds a program as a shell does, and says what is wrong with it while that can still be said in detail. */
import { accessSync, closeSync, constants, openSync, readSync, statSync, type Stats } from 'node:fs';
import path from 'node:path';

/** Exit codes of shells for these two. */
export const NOT_EXECUTABLE = 126;
export const NOT_FOUND = 127;

export type Found =
  | { readonly path: string }
  | { readonly exitCode: typeof NOT_EXECUTABLE | typeof NOT_FOUND; readonly reason: string };

/** @param searchPath the environment's PATH; names with a slash are not searched for */
export function findExecutable(
  program: string,
  searchPath = process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin',
): Found {
  if (program === '') return { exitCode: NOT_FOUND, reason: 'a program without a name' };
  const directories = program.includes('/') ? [''] : searchPath.split(':');
  let denied: string | undefined;
  for (const directory of directories) {
    const candidate = path.resolve(directory, program);
    const reason = whyNotExecutable(candidate);
    if (reason === undefined) return whyNotStartable(candidate) ?? { path: candidate };
    if (reason !== 'ENOENT') denied ??= `${candidate}: ${reason}`;
  }
  if (denied !== undefined) return { exitCode: NOT_EXECUTABLE, reason: denied };
  const where = program.includes('/') ? 'there is no such file' : 'it is in no directory of PATH';
  return { exitCode: NOT_FOUND, reason: `${program}: ${where}` };
}

/** Where a shell looks on in PATH. */
function whyNotExecutable(candidate: string): string | undefined {
  try {
    const stats = statSync(candidate);
    if (stats.isDirectory()) return 'this is a directory';
    if (!stats.isFile()) return 'this is no regular file';
    accessSync(candidate, constants.X_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'ENOENT';
    if (code === 'EACCES') return 'you have no permission to execute it';
    return code === 'ELOOP' ? 'its symbolic links lead in a circle' : (code ?? String(error));
  }
}

/** As long as a `#!` line may be: BINPRM_BUF_SIZE in include/uapi/linux/binfmts.h. */
const HEAD_BYTES = 256;
const ELF_MAGIC = '\x7fELF';
/** Offset 4 of an ELF file: e_ident[EI_CLASS]. */
const ELFCLASS32 = '\x01';

/**
 * What the loader in the new process would refuse with less to say, or run otherwise than its owner meant. The loader
 * has the last word; what this lets pass it may still refuse.
 */
function whyNotStartable(file: string): Exclude<Found, { path: string }> | undefined {
  const refuse = (reason: string) => ({ exitCode: NOT_EXECUTABLE, reason: `${file}: ${reason}` }) as const;
  const privilege = privilegeOf(statSync(file, { throwIfNoEntry: false }));
  if (privilege !== undefined) {
    return refuse(`it runs with the rights of ${privilege}, which Vitrine cannot give; start vitrine as that one`);
  }
  const head = headOf(file);
  if (head === undefined) return refuse('it may be executed but not read, and Vitrine has to read it');
  if (head === '') return refuse('the file is empty');
  if (head.startsWith(ELF_MAGIC + ELFCLASS32)) return refuse('a 32-bit program; enclaves need a 64-bit one (x86-64)');
  if (head.startsWith(ELF_MAGIC)) return undefined;
  if (!head.startsWith('#!'))
    return refuse('neither an ELF program nor a script that begins with #! and its interpreter');
  const [, interpreter] = /^#![ \t]*([^ \t\n]*)/.exec(head)!;
  if (interpreter === '') return refuse('a script that names no interpreter after #!');
  try {
    statSync(interpreter!);
    return undefined;
  } catch {
    return { exitCode: NOT_FOUND, reason: `${file}: its interpreter ${JSON.stringify(interpreter)} is not there` };
  }
}

/** Whose rights the file gives to who runs it, when those are others than one has. */
function privilegeOf(stats: Stats | undefined): string | undefined {
  if (stats === undefined) return undefined;
  const { mode, uid, gid } = stats;
  const { S_IXGRP } = constants;
  if ((mode & S_ISUID) !== 0 && uid !== process.geteuid!()) return `user ${uid} (set-user-ID)`;
  if ((mode & S_ISGID) !== 0 && (mode & S_IXGRP) !== 0 && gid !== process.getegid!())
    return `group ${gid} (set-group-ID)`;
  return undefined;
}

/** node:fs has no names for them. */
const S_ISUID = 0o4000;
const S_ISGID = 0o2000;

function headOf(file: string): string | undefined {
  try {
    const fd = openSync(file, 'r');
    try {
      const head = Buffer.alloc(HEAD_BYTES);
      return head.toString('latin1', 0, readSync(fd, head, 0, HEAD_BYTES, 0));
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}
