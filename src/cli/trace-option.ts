/**
 * `--trace` may stand alone, or before a file: `--trace PROGRAM`, `--trace -- PROGRAM`, `--trace FILE.jsonl PROGRAM`.
 * What follows is the trace's file exactly when its name ends in .jsonl. commander would take any word for it.
 */
import { InvalidArgumentError, Option, type Command } from 'commander';

const SUFFIX = '.jsonl';
const TO_STANDARD_ERROR = '';

/**
 * Ties every `--trace` of `run` and `machine up` to its file, or to none, by `=`. A program's own arguments are left
 * alone.
 */
export function bindTraceFiles(argv: readonly string[], program: Command): string[] {
  const bound = [...argv];
  const ofMachine = bound[2] === 'machine' && bound[3] === 'up';
  if (bound[2] !== 'run' && !ofMachine) return bound;
  const named = (parent: Command | undefined, name: string) => parent?.commands.find((each) => each.name() === name);
  const command = ofMachine ? named(named(program, 'machine'), 'up') : named(program, 'run');
  for (let at = ofMachine ? 4 : 3; at < bound.length && bound[at] !== '--'; at++) {
    const word = bound[at]!;
    if (!word.startsWith('-')) {
      if (ofMachine) continue;
      break;
    }
    if (word === '--trace') {
      const file = bound[at + 1]?.endsWith(SUFFIX) === true ? bound[at + 1]! : TO_STANDARD_ERROR;
      bound.splice(at, file === TO_STANDARD_ERROR ? 1 : 2, `--trace=${file}`);
    } else if (command?.options.find((option) => option.long === word)?.required === true) at++;
  }
  return bound;
}

export const traceOption = (): Option =>
  new Option(
    '--trace [file.jsonl]',
    'print every ioctl, mapping, leaf, fault and AEX, and why something was refused; or write that to a file, as data',
  ).argParser(traceDestination);

/** Collects where traces go; '' is standard error. */
export function traceDestination(file: string, before: readonly string[] = []): readonly string[] {
  if (file !== TO_STANDARD_ERROR && !file.endsWith(SUFFIX)) {
    throw new InvalidArgumentError(`Expected the name of a file that ends in ${SUFFIX}.`);
  }
  return before.includes(file) ? before : [...before, file];
}
