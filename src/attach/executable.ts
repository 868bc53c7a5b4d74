/** Finds a program as a shell does. */
import { accessSync, constants, statSync } from 'node:fs';
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
  const directories = program.includes('/') ? [''] : searchPath.split(':');
  let denied: string | undefined;
  for (const directory of directories) {
    const candidate = path.resolve(directory, program);
    const reason = whyNotExecutable(candidate);
    if (reason === undefined) return { path: candidate };
    if (reason !== 'ENOENT') denied ??= `${candidate}: ${reason}`;
  }
  if (denied !== undefined) return { exitCode: NOT_EXECUTABLE, reason: denied };
  const where = program.includes('/') ? 'there is no such file' : 'it is in no directory of PATH';
  return { exitCode: NOT_FOUND, reason: `${program}: ${where}` };
}

function whyNotExecutable(candidate: string): string | undefined {
  try {
    if (statSync(candidate).isDirectory()) return 'this is a directory';
    accessSync(candidate, constants.X_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'ENOENT';
    return code === 'EACCES' ? 'you have no permission to execute it' : (code ?? String(error));
  }
}
