/** `vitrine doctor`: what this host offers, what follows from it, what to do. */
import { CommanderError, type Command } from 'commander';
import picocolors from 'picocolors';
import { diagnose, type Finding, type Level } from '../attach/doctor/checks.ts';
import { gatherFacts } from '../attach/doctor/facts.ts';
import { VITRINE_FAILED } from './exit-codes.ts';

/** By the worst that was found. */
const exitCodes: Readonly<Record<Level, number>> = { ok: 0, note: 0, limit: 1, fail: 2 };

const help = `
Examples:
  $ vitrine doctor
  $ vitrine doctor --json | jq '.checks[] | select(.level == "fail")'
  $ vitrine doctor > /dev/null; [ $? -lt 2 ] && npm test      in CI

Everything is tried, not looked up: by a small program, vitrine-probe, whose children do what the stub will do.

Exit codes:
  0  all well; there may be notes
  1  works, with limits
  2  cannot run enclaves here
  ${VITRINE_FAILED}  the command line is wrong`;

export function registerDoctor(program: Command): void {
  program
    .command('doctor')
    .summary('say what this machine can do for enclaves, and what to do about the rest')
    .description('Tries everything that Vitrine needs of this machine. Changes nothing and needs no privileges.')
    .option('--json', 'print one JSON object')
    .addHelpText('after', help)
    .exitOverride(({ exitCode, code, message }) => {
      throw new CommanderError(exitCode === 0 ? 0 : VITRINE_FAILED, code, message);
    })
    .action((options: { json?: true }) => {
      const findings = diagnose(gatherFacts());
      const exitCode = Math.max(...findings.map(({ level }) => exitCodes[level]));
      const colour = process.stdout.isTTY === true && process.env['NO_COLOR'] === undefined;
      console.log(
        options.json ? JSON.stringify({ exitCode, checks: findings }, undefined, 2) : report(findings, colour),
      );
      process.exitCode = exitCode;
    });
}

const NAME_COLUMNS = 17;
const INDENT = ' '.repeat(7);

/** Exported for tests. */
export function report(findings: readonly Finding[], colour: boolean): string {
  const { bold, dim, green, red, yellow } = picocolors.createColors(colour);
  const paint: Readonly<Record<Level, (text: string) => string>> = { ok: green, note: dim, limit: yellow, fail: red };
  const lines = findings.flatMap(({ level, name, found, consequence, remedy }) => [
    `${paint[level](level.padEnd(INDENT.length))}${bold(name.padEnd(NAME_COLUMNS))}${found}`,
    ...(consequence === undefined ? [] : [`${INDENT}${consequence}`]),
    ...(remedy === undefined ? [] : [`${INDENT}${yellow('remedy:')} ${remedy}`]),
  ]);
  return [...lines, '', summary(findings)].join('\n');
}

function summary(findings: readonly Finding[]): string {
  const named = (level: Level): string =>
    findings
      .filter((finding) => finding.level === level)
      .map(({ name }) => name)
      .join(', ');
  if (named('fail') !== '') return `Vitrine cannot run enclaves here: ${named('fail')}`;
  return named('limit') === ''
    ? 'Vitrine can do all it does here.'
    : `Vitrine runs here, with limits: ${named('limit')}`;
}
