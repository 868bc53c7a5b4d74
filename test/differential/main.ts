/**
 * Runs generated programs on virtual and on real processes, and says which differ:
 * `scripts/node test/differential/main.ts [--seed N] [--programs N] [--shrink]`. A program is its number: with
 * `--seed N --programs 1` it is program N alone. `--shrink` prints the smallest program for each, to be put into a table.
 */
import { parseArgs } from 'node:util';
import { buildPrograms } from '../support/target-run.ts';
import { differ, smallest } from './differ.ts';
import { described, summary, written } from './summary.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    programs: { type: 'string', default: '1000' },
    shrink: { type: 'boolean', default: false },
  },
});
buildPrograms();
const seed = Number(values.seed);
const outcome = await differ(seed, Number(values.programs), {
  progress: (done) => process.stderr.write(`\r${done} programs`),
});
process.stderr.write('\n');
for (const difference of outcome.differences) {
  console.log(described(difference));
  if (!values.shrink) continue;
  const found = await smallest(difference);
  console.log(found === undefined ? 'it does not happen again' : written(found));
}
process.stdout.write(outcome.complaints);
console.log(summary(outcome, seed));
process.exitCode = outcome.differences.length === 0 && outcome.complaints === '' ? 0 : 1;
