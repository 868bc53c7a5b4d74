// Reads the TAP that the kernel's test harness (tools/testing/selftests/kselftest_harness.h) prints. Strict: a run that
// stops early, skips what it should not, repeats a number or contradicts its own totals is a failed run.

export interface TapCase {
  readonly number: number;
  readonly name: string;
  readonly outcome: 'ok' | 'not ok' | 'skip';
}

export interface TapReport {
  readonly planned: number;
  readonly cases: readonly TapCase[];
  /** Why this is not the report of a complete, clean run; failed and wrongly skipped cases are among them. */
  readonly problems: readonly string[];
}

const RESULT = /^(ok|not ok) (\d+)\b ?(.*?)(?: ?# ?(\w+).*)?$/;
const TOTALS = /^# Totals: pass:(\d+) fail:(\d+) xfail:(\d+) xpass:(\d+) skip:(\d+) error:(\d+)$/;

/** @param skips the cases that must skip themselves; all others must be ok */
export function parseTap(text: string, skips: readonly string[] = []): TapReport {
  const problems: string[] = [];
  const cases: TapCase[] = [];
  let planned: number | undefined;
  let totals: number[] | undefined;

  const lines = text.split('\n');
  if (lines[0] !== 'TAP version 13') problems.push(`the first line is not "TAP version 13" but "${lines[0]}"`);
  for (const line of lines) {
    const plan = /^1\.\.(\d+)$/.exec(line);
    if (plan !== null) {
      if (planned !== undefined) problems.push('there are two plans');
      planned = Number(plan[1]);
    }
    const result = RESULT.exec(line);
    if (result !== null) {
      if (planned === undefined) problems.push(`"${line}" comes before the plan`);
      const [, verdict = '', number, name = '', directive] = result;
      if (directive !== undefined && directive !== 'SKIP') problems.push(`${name} ended as ${directive}`);
      const outcome = verdict === 'ok' ? (directive === 'SKIP' ? 'skip' : 'ok') : 'not ok';
      cases.push({ number: Number(number), name, outcome });
    }
    const sums = TOTALS.exec(line);
    if (sums !== null) {
      if (totals !== undefined) problems.push('there are two lines of totals');
      totals = sums.slice(1).map(Number);
    }
  }

  if (planned === undefined) problems.push('there is no plan (1..N)');
  if (planned === 0) problems.push('the plan is empty');
  cases.forEach(({ number }, index) => {
    if (number !== index + 1) problems.push(`result number ${number} stands in place ${index + 1}`);
  });
  if (planned !== undefined && cases.length !== planned)
    problems.push(`${planned} tests planned, ${cases.length} reported`);
  for (const { name, outcome } of cases) {
    const expected = skips.includes(name) ? 'skip' : 'ok';
    if (outcome !== expected)
      problems.push(`${name}: ${outcome}${expected === 'skip' ? ', where it should skip' : ''}`);
  }
  for (const name of skips) if (!cases.some((test) => test.name === name)) problems.push(`there is no case ${name}`);

  const count = (outcome: TapCase['outcome']): number => cases.filter((test) => test.outcome === outcome).length;
  const counted = [count('ok'), count('not ok'), 0, 0, count('skip'), 0];
  if (totals === undefined) problems.push('there is no line of totals');
  else if (totals.some((sum, index) => sum !== counted[index])) problems.push('the totals contradict the results');
  return { planned: planned ?? 0, cases, problems };
}
