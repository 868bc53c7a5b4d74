/** Every case on virtual processes and on real ones: both give what the kernel's source says, and the same. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { runReal } from '../cases/real.ts';
import { tables } from '../cases/tables.ts';
import { runVirtual } from '../cases/virtual.ts';
import { buildPrograms } from '../support/target-run.ts';

beforeAll(buildPrograms, 120_000);

/** On a processor without protection keys the cases that want them run on virtual processes alone. */
const hasKeys = readFileSync('/proc/cpuinfo', 'latin1').includes(' ospke');

/** Steps that gave something else, one a line. */
function differences(steps: readonly { run: string; gives: string }[], outcomes: readonly string[]): string[] {
  return steps.flatMap(({ run, gives }, index) =>
    gives === outcomes[index] ? [] : [`${run.slice(0, 100)}: ${outcomes[index]} instead of ${gives}`],
  );
}

describe.each(tables)('driver cases, $name', (table) => {
  it('virtual and real processes give what the kernel gives', async () => {
    const { cases } = table;
    const titles = cases.map(({ title }) => title);
    expect(titles.filter((title, index) => titles.indexOf(title) !== index)).toEqual([]);
    const here = cases.filter(({ wantsKeys }) => hasKeys || wantsKeys !== true);
    const real = await runReal({ ...table, cases: here });
    const wrong = cases.flatMap((one) => {
      const outcomes = real.outcomes[here.indexOf(one)];
      const results = [
        ...(outcomes === undefined ? [] : [{ name: 'real', differs: differences(one.steps, outcomes) }]),
        ...(one.realOnly ? [] : [{ name: 'virtual', differs: differences(one.steps, runVirtual(table, one)) }]),
      ];
      return results
        .filter(({ differs }) => differs.length > 0)
        .map(({ name, differs }) => `${name}: ${one.title}\n    ${differs.slice(0, 3).join('\n    ')}`);
    });
    const shared = cases.filter(({ realOnly }) => !realOnly).length;
    const failed = (name: string) => wrong.filter((text) => text.startsWith(name)).length;
    console.log(
      `driver cases, ${table.name}: ${cases.length} cases, virtual ${shared - failed('virtual')} of ${shared} passed, ` +
        `real ${here.length - failed('real')} of ${here.length} passed, ${wrong.length} differ`,
    );
    expect(`${wrong.join('\n')}${real.stderr}`).toBe('');
    expect(real.exitCode).toBe(0);
  }, 120_000);
});
