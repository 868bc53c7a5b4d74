// Programs of all kinds under `vitrine run`: those that have nothing to do with enclaves must say what they say without
// it; those that build enclaves on runtimes that npm test has no compiler for must get through.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { deployInPlace } from '../deployment.ts';
import type { Suite, SuiteContext, SuiteResult } from '../suite.ts';

const TIMEOUT_MS = 300_000;
const sources = path.join(import.meta.dirname, '..', 'programs');
const examples = path.join(import.meta.dirname, '..', '..', 'examples');
const example = path.join(examples, 'hello-enclave');
const common = path.join(examples, 'common');

interface Program {
  readonly name: string;
  /** The program without which this one is not run, and the Debian package that has it. */
  readonly needs: { readonly program: string; readonly debian: string };
  /** Made beforehand and without vitrine, in the folder in which everything runs. */
  readonly build?: readonly string[];
  /** Started in an empty folder by `sh -c`; $SOURCES is conformance/programs, $BUILT what `build` made. */
  readonly command: string;
  /** What it must print. Absent: what it prints without vitrine. */
  readonly expected?: string | RegExp;
}

const musl = (name: string, flags: string): Program => ({
  name,
  needs: { program: 'musl-gcc', debian: 'musl-tools' },
  build: [
    `make -s -C ${example} > /dev/null`,
    `musl-gcc ${flags} -O2 -o host -I${common} -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu ` +
      [`${example}/host.c`, `${common}/loader.c`, `${common}/vdso.c`].join(' '),
    `ln -s ${path.join(example, 'build', 'enclave.elf')} ${path.join(example, 'build', 'enclave.sigstruct')} .`,
  ],
  command: '$BUILT/host | tail -1',
  expected: /^enclave entered: .*\bsum 1034\n$/,
});

const programs: readonly Program[] = [
  {
    name: 'bash: pipelines, job control, traps',
    needs: { program: 'bash', debian: 'bash' },
    command: 'bash $SOURCES/everything.sh',
  },
  {
    name: 'git: history, merge, clone, gc',
    needs: { program: 'git', debian: 'git' },
    command: 'bash $SOURCES/everything-git.sh',
  },
  {
    name: 'gcc and make: static, shared, static-PIE',
    needs: { program: 'gcc', debian: 'gcc' },
    command: 'bash $SOURCES/everything-gcc.sh',
  },
  {
    name: 'python3: threads, signals, children',
    needs: { program: '/usr/bin/python3', debian: 'python3' },
    command: '/usr/bin/python3 $SOURCES/everything.py',
  },
  {
    name: 'node: workers, children, signals',
    needs: { program: process.execPath, debian: 'nodejs' },
    command: `${process.execPath} $SOURCES/everything.mjs`,
  },
  {
    name: 'javac and java: threads, faults, children',
    needs: { program: 'javac', debian: 'default-jdk-headless' },
    command: 'javac -d . $SOURCES/Everything.java && java -cp . Everything',
  },
  {
    name: 'go: a static program builds, signs and enters an enclave',
    needs: { program: 'go', debian: 'golang-go' },
    build: [
      'cd $SOURCES/go && CGO_ENABLED=0 GOCACHE=$BUILT/cache GOPROXY=off GOFLAGS=-buildvcs=false go build -o $BUILT/host .',
    ],
    command: '$BUILT/host',
    expected:
      '[2000000 2000000 2000000 2000000]\nruntime error: invalid memory address or nil pointer dereference\na child\n',
  },
  musl('musl, dynamic: an enclave', ''),
  musl('musl, static: an enclave', '-static'),
];

interface Ending {
  readonly text: string;
  readonly status: string;
}

/** Everything it says and how it ends. */
function runIn(cwd: string, command: readonly string[], built: string): Ending {
  const [program = '', ...args] = command;
  mkdirSync(cwd, { recursive: true });
  const env = { ...process.env, SOURCES: sources, BUILT: built };
  const { stdout, stderr, status, signal, error } = spawnSync(program, args, {
    cwd,
    env,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  });
  return { text: stdout + stderr, status: error?.message ?? signal ?? `exit code ${status}` };
}

/** Whether a program is there, by name or path. */
const isInstalled = (program: string): boolean =>
  program.includes('/') ? existsSync(program) : spawnSync('sh', ['-c', 'command -v "$0"', program]).status === 0;

/** What did not hold; undefined when all did. */
function judge({ build = [], command, expected }: Program, folder: string): string | undefined {
  const built = path.join(folder, 'built');
  for (const step of build) {
    const { text, status } = runIn(built, ['sh', '-c', step], built);
    if (status !== 'exit code 0') return `it cannot be built: ${step}: ${status}\n${text}`;
  }
  const shell = ['sh', '-c', command];
  const alone = expected === undefined ? runIn(path.join(folder, 'alone'), shell, built) : undefined;
  const under = runIn(path.join(folder, 'under'), [...deployInPlace().vitrine, 'run', '--', ...shell], built);
  const wanted = alone ?? { text: expected!, status: 'exit code 0' };
  if (alone !== undefined && alone.status !== 'exit code 0') return `without vitrine it ends with ${alone.status}`;
  const same = wanted.text instanceof RegExp ? wanted.text.test(under.text) : wanted.text === under.text;
  if (same && under.status === wanted.status) return undefined;
  return `it ended with ${under.status} and said\n${under.text}instead of\n${String(wanted.text)}`;
}

function runAll(context: SuiteContext): SuiteResult {
  const problems: string[] = [];
  let passed = 0;
  let skipped = 0;
  for (const program of programs) {
    if (!isInstalled(program.needs.program)) {
      skipped++;
      problems.push(
        `${program.name}: skipped, there is no ${program.needs.program}; on Debian: apt-get install ${program.needs.debian}`,
      );
      continue;
    }
    for (let round = 0; round < context.repeat; round++) {
      const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-'));
      const problem = judge(program, folder);
      rmSync(folder, { recursive: true, force: true });
      if (problem === undefined && round === context.repeat - 1) passed++;
      if (problem === undefined) continue;
      problems.push(`${program.name}: ${problem}`);
      break;
    }
  }
  return { passed, total: programs.length, skipped, problems };
}

export const programsSuite: Suite = {
  name: 'programs',
  summary: 'bash, git, gcc, python3, node, java unharmed; enclaves from go and musl',
  withoutKernel: true,
  run: (context) => Promise.resolve(runAll(context)),
};
