// The kernel's source: Debian's package, unpacked once into the ignored cache, or a tree that the caller names.
// Works as an ordinary user; nothing is installed.

import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { NotObtainable } from './suite.ts';

export interface KernelSource {
  /** Top of the tree; only read, never written. */
  readonly root: string;
  /** e.g. `6.12` */
  readonly release: string;
  /** Where it comes from, with the exact version. */
  readonly origin: string;
}

const PACKAGE = 'linux-source-6.12';

/** What the suites need of the tree: 12 MB of 1.5 GB. Kept in the shape of the tree, since its headers include by path. */
const NEEDED = [
  'Makefile',
  'arch/x86/include',
  'tools/arch/x86/include',
  'tools/include',
  'tools/scripts',
  'tools/testing/selftests/kselftest.h',
  'tools/testing/selftests/kselftest_harness.h',
  'tools/testing/selftests/lib.mk',
  'tools/testing/selftests/sgx',
  'tools/testing/selftests/x86/check_cc.sh',
  'tools/testing/selftests/x86/trivial_64bit_program.c',
  'scripts',
];

/** Takes the tree at `given`, or the cached one, or fetches it. Throws NotObtainable with the remedy. */
export function obtainKernelSource(given: string | undefined, cacheDir: string): KernelSource {
  if (given !== undefined) {
    const root = path.resolve(given);
    if (!existsSync(path.join(root, 'tools/testing/selftests/sgx'))) {
      throw new NotObtainable(`${root} is no kernel source: it has no tools/testing/selftests/sgx`);
    }
    const { release, exact } = versionOf(root);
    return { root, release, origin: `${root} (Linux ${exact})` };
  }
  const home = path.join(cacheDir, PACKAGE);
  if (readOr(path.join(home, 'needed')) !== NEEDED.join('\n')) fetchInto(home);
  const root = path.join(home, PACKAGE);
  const { release, exact } = versionOf(root);
  return { root, release, origin: `Linux ${exact} (Debian ${PACKAGE} ${readOr(path.join(home, 'version'))})` };
}

function versionOf(root: string): { release: string; exact: string } {
  const makefile = readFileSync(path.join(root, 'Makefile'), 'utf8');
  const field = (name: string): string => new RegExp(`^${name} = *(.*)$`, 'm').exec(makefile)?.[1] ?? '';
  const release = `${field('VERSION')}.${field('PATCHLEVEL')}`;
  return { release, exact: `${release}.${field('SUBLEVEL')}${field('EXTRAVERSION')}` };
}

function fetchInto(home: string): void {
  mkdirSync(path.dirname(home), { recursive: true });
  const staging = mkdtempSync(`${home}.`);
  try {
    const size = /^Size: (\d+)$/m.exec(output('apt-cache', 'show', '--no-all-versions', PACKAGE))?.[1];
    const about = size === undefined ? '' : ` (about ${(Number(size) / 1e6).toFixed(0)} MB)`;
    process.stderr.write(`Fetching ${PACKAGE} from Debian's packages${about}\n`);
    // apt's own sandbox user could not write into our folder.
    const asRoot = process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : [];
    must(
      staging,
      `apt-get could not download it; as root: apt-get update`,
      'apt-get',
      '-q',
      ...asRoot,
      'download',
      PACKAGE,
    );
    const deb = readdirSync(staging).find((name) => name.endsWith('.deb')) ?? '';
    process.stderr.write('Unpacking what the suites need (12 MB of 1.5 GB; about 15 s)\n');
    must(staging, 'the package could not be unpacked', 'dpkg-deb', '-x', deb, 'package');
    const archive = path.join('package/usr/src', `${PACKAGE}.tar.xz`);
    const members = NEEDED.map((name) => `${PACKAGE}/${name}`);
    must(staging, 'its archive could not be unpacked (apt-get install xz-utils)', 'tar', '-xJf', archive, ...members);
    writeFileSync(path.join(staging, 'version'), output('dpkg-deb', '-f', path.join(staging, deb), 'Version').trim());
    rmSync(path.join(staging, 'package'), { recursive: true });
    rmSync(path.join(staging, deb));
    writeFileSync(path.join(staging, 'needed'), NEEDED.join('\n'));
    rmSync(home, { recursive: true, force: true });
    chmodSync(staging, 0o755);
    renameSync(staging, home);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

function must(cwd: string, otherwise: string, program: string, ...args: string[]): void {
  const result = spawnSync(program, args, { cwd, stdio: ['ignore', 2, 2] });
  if (result.status === 0) return;
  throw new NotObtainable(
    `${PACKAGE} is not obtainable here: ${otherwise}. Or name a kernel source yourself: --kernel-source PATH`,
  );
}

function output(program: string, ...args: string[]): string {
  return spawnSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).stdout ?? '';
}

function readOr(file: string): string {
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}
