// `npm run conformance`: lets foreign suites judge Vitrine and prints one line for each.

import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type KernelSource, obtainKernelSource } from './kernel-source.ts';
import { NotObtainable, type Suite, type SuiteContext } from './suite.ts';
import { packageSuite } from './suites/package.ts';
import { programsSuite } from './suites/programs.ts';
import { sgxLayout } from './suites/sgx-layout.ts';
import { sgxSelftest, sgxSelftestIcelake, sgxSelftestSkylake, sgxSelftestUser } from './suites/sgx-selftest.ts';

const suites: readonly Suite[] = [
  sgxLayout,
  sgxSelftest,
  sgxSelftestUser,
  sgxSelftestIcelake,
  sgxSelftestSkylake,
  programsSuite,
  packageSuite,
];

const usage = `usage: npm run conformance -- [options]

  --suite NAME          run only this suite (may be given several times)
  --repeat N            run each program of a suite N times and count the failed runs
  --kernel-source PATH  use this kernel tree instead of Debian's linux-source-6.12
  --as-user NAME        the unprivileged account for sgx-selftest-user (default: nobody)

suites:
${suites.map(({ name, summary }) => `  ${name.padEnd(20)}  ${summary}`).join('\n')}

exit codes: 0 every suite holds, 1 a suite fails, 2 wrong usage,
            3 the kernel source or something needed to build a suite is not obtainable here (no verdict)
`;

const OK = 0;
const FAILED = 1;
const USAGE = 2;
const NOT_OBTAINABLE = 3;

function fail(code: number, message: string): never {
  process.stderr.write(`conformance: ${message}\n`);
  process.exit(code);
}

function readOptions(): { suites: readonly Suite[]; repeat: number; kernelSource: string | undefined; user: string } {
  try {
    const { values } = parseArgs({
      options: {
        suite: { type: 'string', multiple: true },
        repeat: { type: 'string', default: '1' },
        'kernel-source': { type: 'string' },
        'as-user': { type: 'string', default: 'nobody' },
        help: { type: 'boolean' },
      },
    });
    if (values.help === true) {
      process.stdout.write(usage);
      process.exit(OK);
    }
    const names = values.suite;
    const unknown = names?.find((name) => suites.every((suite) => suite.name !== name));
    if (unknown !== undefined)
      fail(USAGE, `there is no suite ${unknown}; there are ${suites.map((suite) => suite.name).join(', ')}`);
    const repeat = Number(values.repeat);
    if (!Number.isSafeInteger(repeat) || repeat < 1)
      fail(USAGE, `--repeat takes a positive number, not ${values.repeat}`);
    const chosen = suites.filter((suite) => names === undefined || names.includes(suite.name));
    return { suites: chosen, repeat, kernelSource: values['kernel-source'], user: values['as-user'] };
  } catch (error) {
    return fail(USAGE, `${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
  }
}

/** The suite's name, and which kernel's it is. */
const titleOf = ({ name, withoutKernel }: Suite, context: SuiteContext): string =>
  withoutKernel === true ? name : `${name} ${context.kernel.release}`;

/** Runs one suite and prints its line. Returns whether it holds. */
async function judge(suite: Suite, context: SuiteContext): Promise<boolean> {
  const { passed, total, skipped, problems, note } = await suite.run(context);
  for (const problem of problems) process.stdout.write(`  ${problem}\n`);
  const counts = `${passed}/${total} passed, ${skipped} skipped`;
  const mustSkip = suite.skips ?? 0;
  const holds = problems.length === 0 && passed + mustSkip === total && skipped === mustSkip && passed > 0;
  process.stdout.write(`${titleOf(suite, context)}: ${counts}${note === undefined ? '' : `; ${note}`}\n`);
  return holds;
}

const options = readOptions();
const cache = path.join(import.meta.dirname, '..', '.cache', 'conformance');
mkdirSync(cache, { recursive: true });
try {
  let source: KernelSource | undefined;
  const context: SuiteContext = {
    get kernel() {
      if (source === undefined) {
        source = obtainKernelSource(options.kernelSource, cache);
        process.stdout.write(`kernel source: ${source.origin}\n`);
      }
      return source;
    },
    workDir: cache,
    repeat: options.repeat,
    user: options.user,
  };
  let failed = 0;
  for (const suite of options.suites) {
    const redundant = suite.redundant?.();
    if (redundant !== undefined) {
      process.stdout.write(`${titleOf(suite, context)}: left out, ${redundant}\n`);
    } else if (!(await judge(suite, context))) {
      failed++;
    }
  }
  process.exitCode = failed === 0 ? OK : FAILED;
} catch (error) {
  if (error instanceof NotObtainable) fail(NOT_OBTAINABLE, error.message);
  throw error;
}
