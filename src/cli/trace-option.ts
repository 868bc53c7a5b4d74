/**
 * `--trace` may stand alone, or before a file: `--trace PROGRAM`, `--trace -- PROGRAM`, `--trace FILE.jsonl PROGRAM`.
 * What follows is the trace's file exactly when its name ends in .jsonl. commander would take any word for it.
 */
import { InvalidArgumentError, type Command } from 'commander';

const SUFFIX = '.jsonl';
const TO_STANDARD_ERROR = '';

/** Ties every `--trace` of `run` to its file, or to none, by `=`. The program's own arguments are left alone. */
export function bindTraceFiles(argv: readonly string[], program: Command): string[] {
  const bound = [...argv];
  const run = program.commands.find((command) => command.name() === bound[2]);
  if (run?.name() !== 'run') return bound;
  for (let at = 3; at < bound.length && bound[at]!.startsWith('-') && bound[at] !== '--'; at++) {
    const word = bound[at]!;
    if (word === '--trace') {
      const file = bound[at + 1]?.endsWith(SUFFIX) === true ? bound[at + 1]! : TO_STANDARD_ERROR;
      bound.splice(at, file === TO_STANDARD_ERROR ? 1 : 2, `--trace=${file}`);
    } else if (run.options.find((option) => option.long === word)?.required === true) at++;
  }
  return bound;
}

/** Collects where traces go; '' is standard error. */
export function traceDestination(file: string, before: readonly string[] = []): readonly string[] {
  if (file !== TO_STANDARD_ERROR && !file.endsWith(SUFFIX)) {
    throw new InvalidArgumentError(`Expected the name of a file that ends in ${SUFFIX}.`);
  }
  return before.includes(file) ? before : [...before, file];
}
