// The kernel's own SGX selftest, built untouched and run under `vitrine run`: as we are, and as an ordinary user.

import { spawn, spawnSync } from 'node:child_process';
import { chownSync, cpSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { deployForUser, type Deployment, deployInPlace } from '../deployment.ts';
import { NotObtainable, type Suite, type SuiteContext, type SuiteResult } from '../suite.ts';
import { parseTap } from '../tap.ts';

/** The whole suite takes seconds; its own longest limit for one test is 900 s, which only a hang would reach. */
const RUN_TIMEOUT_MS = 300_000;

/** Builds with the selftest's own Makefile. Returns the folder with test_sgx and test_encl.elf. */
function build({ kernel, workDir }: SuiteContext): string {
  const out = path.join(workDir, `sgx-selftest-${kernel.release}`);
  mkdirSync(out, { recursive: true });
  const openssl = spawnSync('gcc', ['-E', '-x', 'c', '-'], {
    input: '#include <openssl/evp.h>\n',
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  if (openssl.status !== 0) {
    throw new NotObtainable(
      'the selftest signs its enclave with OpenSSL, whose headers are missing; on Debian: apt-get install libssl-dev',
    );
  }
  const folder = path.join(kernel.root, 'tools/testing/selftests/sgx');
  const make = spawnSync('make', ['-s', '-C', folder, 'CC=gcc', `OUTPUT=${out}`], { encoding: 'utf8' });
  if (make.status !== 0) throw new NotObtainable(`the selftest does not build here:\n${make.stdout}${make.stderr}`);
  return out;
}

interface Run {
  readonly stdout: string;
  readonly log: string;
  /** How it ended if not with exit code 0. */
  readonly ending: string | undefined;
}

function runOnce(deployment: Deployment, cwd: string, machine: readonly string[]): Promise<Run> {
  const [program, ...args] = [...deployment.vitrine, 'run', ...machine, '--', './test_sgx'];
  return new Promise((resolve) => {
    const child = spawn(program ?? '', args, {
      cwd,
      env: deployment.env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let log = '';
    let timedOut = false;
    child.stdout.on('data', (data: Buffer) => {
      stdout += data.toString();
      log += data.toString();
    });
    child.stderr.on('data', (data: Buffer) => (log += data.toString()));
    const timer = setTimeout(() => {
      timedOut = true;
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    }, RUN_TIMEOUT_MS);
    child.on('error', (error) => (log += error.message));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const how = timedOut
        ? `did not end within ${RUN_TIMEOUT_MS / 1000} s`
        : `ended with ${signal ?? `exit code ${code}`}`;
      resolve({ stdout, log, ending: code === 0 && !timedOut ? undefined : how });
    });
  });
}

/** What machine it runs on, and the cases that skip themselves there. */
interface MachineCase {
  readonly options?: readonly string[];
  readonly skips?: readonly string[];
}

async function runRepeatedly(
  name: string,
  deployment: Deployment,
  cwd: string,
  context: SuiteContext,
  { options = [], skips = [] }: MachineCase = {},
): Promise<SuiteResult> {
  let worst: SuiteResult | undefined;
  let failedRuns = 0;
  for (let run = 1; run <= context.repeat; run++) {
    const { stdout, log, ending } = await runOnce(deployment, cwd, options);
    const { planned, cases, problems } = parseTap(stdout, skips);
    const all = ending === undefined ? problems : [...problems, `the run ${ending}`];
    const count = (outcome: string): number => cases.filter((test) => test.outcome === outcome).length;
    const result = { passed: count('ok'), total: planned, skipped: count('skip'), problems: all };
    if (all.length > 0) {
      failedRuns++;
      const file = path.join(context.workDir, `${name}-run-${run}.log`);
      writeFileSync(file, log);
      process.stderr.write(`${name}: run ${run} failed; its output is in ${file}\n`);
    } else if (context.repeat > 1 && run % 10 === 0) {
      process.stderr.write(`${name}: ${run} of ${context.repeat} runs, ${failedRuns} failed\n`);
    }
    if (worst === undefined || all.length > worst.problems.length) worst = result;
  }
  if (worst === undefined) throw new RangeError('repeat must be at least 1');
  return context.repeat === 1 ? worst : { ...worst, note: `${context.repeat} runs, ${failedRuns} failed` };
}

export const sgxSelftest: Suite = {
  name: 'sgx-selftest',
  summary: "the kernel's SGX selftest under vitrine run",
  run(context) {
    return runRepeatedly(this.name, deployInPlace(), build(context), context);
  },
};

export const sgxSelftestIcelake: Suite = {
  name: 'sgx-selftest-icelake',
  summary: 'the same on a processor without AEX-Notify',
  run(context) {
    return runRepeatedly(this.name, deployInPlace(), build(context), context, { options: ['--cpu', 'icelake'] });
  },
};

/** What asks for SGX2 by its ioctls' ENODEV or by CPUID. */
const SGX2_CASES = [
  'unclobbered_vdso_oversubscribed_remove',
  'tcs_permissions',
  'epcm_permissions',
  'augment',
  'augment_via_eaccept',
  'tcs_create',
  'remove_added_page_no_eaccept',
  'remove_added_page_invalid_access',
  'remove_added_page_invalid_access_after_eaccept',
  'remove_untouched_page',
].map((name) => `enclave.${name}`);

export const sgxSelftestSkylake: Suite = {
  name: 'sgx-selftest-skylake',
  summary: 'the same on a processor without SGX2, where ten cases must skip themselves',
  skips: SGX2_CASES.length,
  run(context) {
    const machine = { options: ['--cpu', 'skylake'], skips: SGX2_CASES };
    return runRepeatedly(this.name, deployInPlace(), build(context), context, machine);
  },
};

export const sgxSelftestUser: Suite = {
  name: 'sgx-selftest-user',
  summary: 'the same as an ordinary user, when started by root',
  redundant: () => (process.getuid?.() === 0 ? undefined : 'this already runs as an ordinary user'),
  async run(context) {
    const built = build(context);
    using deployment = deployForUser(context.user);
    const cwd = path.join(deployment.home, 'selftest');
    cpSync(built, cwd, { recursive: true });
    chownSync(cwd, deployment.uid, deployment.gid);
    return await runRepeatedly(this.name, deployment, cwd, context);
  },
};
