// Which Vitrine a suite runs: this clone as it is, or a copy that an unprivileged account can read.

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { NotObtainable } from './suite.ts';

export interface Deployment {
  /** The command, e.g. `['/clone/bin/vitrine']`. */
  readonly vitrine: readonly string[];
  readonly env: Record<string, string | undefined>;
}

interface UserDeployment extends Deployment, Disposable {
  /** A folder that the account owns. */
  readonly home: string;
  readonly uid: number;
  readonly gid: number;
}

const clone = path.dirname(import.meta.dirname);

export function deployInPlace(): Deployment {
  return { vitrine: [path.join(clone, 'bin/vitrine')], env: process.env };
}

/**
 * Copies what `vitrine run` needs into a temporary folder, since a clone below a private home directory is out of the
 * account's reach. Needs root. Disposing removes the folder.
 */
export function deployForUser(user: string): UserDeployment {
  const [uid, gid] = [userId('-u', user), userId('-g', user)];
  const home = mkdtempSync(path.join(tmpdir(), 'vitrine-'));
  chmodSync(home, 0o755);
  for (const part of ['bin', 'src', 'native/build', 'package.json', ...runtimePackages()]) {
    if (existsSync(path.join(clone, part))) cpSync(path.join(clone, part), path.join(home, part), { recursive: true });
  }
  const node = path.join(home, '.cache/node/bin/node');
  mkdirSync(path.dirname(node), { recursive: true });
  copyFileSync(process.execPath, node);
  chmodSync(node, 0o755);
  spawnSync('chmod', ['-R', 'a+rX', home]);
  chownSync(home, uid, gid);
  return {
    home,
    uid,
    gid,
    vitrine: ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--init-groups', path.join(home, 'bin/vitrine')],
    env: { PATH: process.env['PATH'], HOME: home, USER: user },
    [Symbol.dispose]: () => rmSync(home, { recursive: true, force: true }),
  };
}

function userId(option: '-u' | '-g', user: string): number {
  const id = spawnSync('id', [option, user], { encoding: 'utf8' });
  if (id.status !== 0) throw new NotObtainable(`there is no account ${user} here; name another: --as-user NAME`);
  return Number(id.stdout);
}

/** The folders of node_modules that are no development tools, from the lock file. */
function runtimePackages(): string[] {
  const lock = JSON.parse(readFileSync(path.join(clone, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean }>;
  };
  return Object.entries(lock.packages).flatMap(([folder, { dev }]) => (folder === '' || dev === true ? [] : [folder]));
}
