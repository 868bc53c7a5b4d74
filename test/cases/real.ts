/** Runs cases in real processes: the C program test/programs/driver-cases.c under `vitrine run`, a process per case. */
import { TargetRun } from '../support/target-run.ts';
import type { Table } from './language.ts';

export interface RealRun {
  /** What each step of each case gave, in order. */
  readonly outcomes: readonly (readonly string[])[];
  readonly stderr: string;
  readonly exitCode: number | null;
}

export async function runReal({ cpu, epcPages, inject = [], cases }: Table): Promise<RealRun> {
  const lines = cases.flatMap(({ title, steps }) => [`case ${title}`, ...steps.map(({ run }) => run)]);
  const input = lines.map((line) => `${line}\n`).join('');
  const { stdout, stderr, exitCode } = await new TargetRun(
    ['--cpu', cpu, '--epc', `${epcPages * 4}K`, ...inject.flatMap((rule) => ['--inject', rule])],
    ['driver-cases'],
    {},
    input,
  ).ended;
  const given = new Map<number, string>();
  for (const line of stdout.trimEnd().split('\n')) {
    const space = line.indexOf(' ');
    given.set(Number(line.slice(0, space)), line.slice(space + 1));
  }
  let at = 0;
  const outcomes = cases.map(({ steps }) => {
    at++;
    return steps.map(() => given.get(at++) ?? 'nothing');
  });
  return { outcomes, stderr, exitCode };
}
