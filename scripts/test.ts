// `npm test`: the source checks, the native tests and the unit and model tests, in this order.
// Arguments are passed on to vitest, and then only vitest runs: `npm test -- src/lib`.
// The last line is always `N passed, N failed`; a check counts as one.

import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { root, runCheck, runShown, sourceChecks } from './tools.ts';

interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numFailedTestSuites: number;
}

function runVitest(args: readonly string[]): { passed: number; failed: number } {
  const report = path.join(root, '.cache', `vitest-${process.pid}.json`);
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const code = runShown(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', ...reporters, ...args]);
  try {
    const { numPassedTests, numFailedTests, numPendingTests, numFailedTestSuites } = JSON.parse(
      readFileSync(report, 'utf8'),
    ) as VitestReport;
    // A skipped test is a hole in the net, and a file that fails to load has no failed tests: neither may pass unseen.
    const failed = numFailedTests + numPendingTests;
    return { passed: numPassedTests, failed: failed > 0 ? failed : code === 0 ? 0 : Math.max(1, numFailedTestSuites) };
  } catch {
    return { passed: 0, failed: 1 };
  } finally {
    rmSync(report, { force: true });
  }
}

const started = performance.now();
const vitestArgs = process.argv.slice(2);
const checks =
  vitestArgs.length > 0
    ? []
    : [...sourceChecks, { title: 'native tests', command: ['make', '-s', '-C', 'native', 'test'] } as const];
const failedChecks = checks.filter((check) => !runCheck(check)).length;
const tests = runVitest(vitestArgs);
const passed = tests.passed + checks.length - failedChecks;
const failed = tests.failed + failedChecks;
process.stdout.write(
  `${((performance.now() - started) / 1000).toFixed(0)} s in all\n${passed} passed, ${failed} failed\n`,
);
process.exitCode = failed === 0 ? 0 : 1;
