// `npm run bench`: every figure beside a yardstick of the same run; exit code 1 when a bar does not hold.

import { parseArgs } from 'node:util';
import { buildPrograms } from './batch-program.ts';
import { measureCase, type BenchCase, type BenchResult } from './case.ts';
import { bookkeeping } from './cases/bookkeeping.ts';
import { ordinaryPrograms } from './cases/calls.ts';
import { buildGibibyte, encluRoundTrip, getKey, ioctlRoundTrip, makeReport, measuredPages } from './cases/enclave.ts';
import { startup } from './cases/startup.ts';
import { addedThread, addedToMany } from './cases/threads.ts';

const cases: readonly BenchCase[] = [
  encluRoundTrip,
  ioctlRoundTrip,
  getKey,
  makeReport,
  measuredPages,
  buildGibibyte,
  addedThread,
  addedToMany,
  bookkeeping,
  startup,
  ...ordinaryPrograms,
];

const usage = `usage: npm run bench -- [--json] [--only NAME]

--only NAME takes the cases whose names begin so.

cases:
${cases.map(({ name, summary }) => `  ${name.padEnd(22)}${summary}`).join('\n')}

exit codes: 0 every bar holds, 1 one does not or could not be measured, 2 wrong usage
`;

function fail(message: string): never {
  process.stderr.write(`bench: ${message}\n\n${usage}`);
  process.exit(2);
}

function readOptions(): { json: boolean; chosen: readonly BenchCase[] } {
  try {
    const { values } = parseArgs({
      options: { json: { type: 'boolean', default: false }, only: { type: 'string' }, help: { type: 'boolean' } },
    });
    if (values.help === true) {
      process.stdout.write(usage);
      process.exit(0);
    }
    const chosen = cases.filter(({ name }) => values.only === undefined || name.startsWith(values.only));
    if (chosen.length === 0) fail(`there is no case ${values.only}`);
    return { json: values.json, chosen };
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

function figure(value: number): string {
  return value >= 1000 ? value.toFixed(0) : value.toPrecision(3);
}

function row(cells: readonly string[]): string {
  const [name = '', ...rest] = cells;
  return `${name.padEnd(22)}${rest.map((cell) => cell.padStart(12)).join('')}`;
}

function asRow({ name, value, unit, yardstick, ratio, bar, holds }: BenchResult): string {
  const cells = [name, figure(value), figure(yardstick), unit, ratio.toFixed(2)];
  return `${row(cells)}    ${bar} ${holds ? 'holds' : 'DOES NOT HOLD'}`;
}

const { json, chosen } = readOptions();
buildPrograms();
if (!json) process.stdout.write(`${row(['case', 'value', 'yardstick', 'unit', 'ratio'])}    bar\n`);
const results: BenchResult[] = [];
for (const benchCase of chosen) {
  try {
    const result = await measureCase(benchCase);
    results.push(result);
    if (!json) process.stdout.write(`${asRow(result)}\n`);
  } catch (error) {
    process.stderr.write(
      `${benchCase.name} could not be measured: ${error instanceof Error ? error.message : String(error)}\n`,
    );
  }
}
// JSON has no room for the noise of the last digits.
const rounded = results.map((result) => ({
  ...result,
  value: Number(result.value.toPrecision(5)),
  yardstick: Number(result.yardstick.toPrecision(5)),
  ratio: Number(result.ratio.toPrecision(4)),
}));
if (json) process.stdout.write(`${JSON.stringify(rounded, null, 2)}\n`);
process.exitCode = results.length === chosen.length && results.every(({ holds }) => holds) ? 0 : 1;
