/** The commands of `vitrine machine` that change the identity, or carry it from one machine to another. */
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { InvalidArgumentError, type Command } from 'commander';
import { changeIdentity, readIdentity, replaceIdentity, systemEntropy } from '../attach/identity-store.ts';
import { stateDirectory, type StatePlace } from '../attach/state-directory.ts';
import {
  fingerprintOf,
  formatIdentity,
  IdentityError,
  isCpuSvn,
  MAX_CPU_SVN,
  newIdentity,
  parseIdentity,
  withNewOwnerEpoch,
  type Identity,
} from '../machine/identity.ts';
import { exitCodeOf, FileError, stateOption } from './machine-options.ts';

export interface StateFlag {
  readonly state?: string;
}

interface ConfirmFlag extends StateFlag {
  readonly yes?: true;
}

/** Does it; what is the user's to mend ends the command with its sentence. */
export async function told(command: Command, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    const exitCode = exitCodeOf(error);
    if (exitCode === undefined) throw error;
    command.error(`error: ${(error as Error).message}`, { exitCode });
  }
}

const YES = '--yes';
const LOST = 'What was sealed so far could then be opened no more.';

export function registerIdentityCommands(machine: Command): void {
  machine
    .command('export')
    .summary('write the identity to a file')
    .description('Writes the identity, secrets included. Who has it can open what was sealed here.')
    .argument('[file]', 'where to write it; an existing file is never replaced (default: standard output)')
    .addOption(stateOption())
    .action((file: string | undefined, options: StateFlag, command: Command) =>
      told(command, async () => {
        const place = stateDirectory(options.state);
        const text = formatIdentity(present(readIdentity(place), place));
        if (file === undefined) process.stdout.write(text);
        else writeNew(file, text);
      }),
    );

  machine
    .command('import')
    .summary('take an exported identity')
    .description('Replaces the identity by an exported one: what was sealed there can then be opened here.')
    .argument('<file>', 'what `vitrine machine export` wrote')
    .option(YES, 'without asking')
    .addOption(stateOption())
    .action((file: string, options: ConfirmFlag, command: Command) =>
      told(command, async () => {
        const identity = parse(file);
        const place = stateDirectory(options.state);
        await confirm(command, options, place, `This replaces the identity in ${place.directory}. ${LOST}`);
        await replaceIdentity(place, identity);
        console.log(about(identity));
      }),
    );

  machine
    .command('reset')
    .summary('make a new identity')
    .description('Makes a new identity, or gives the present one a new owner: sealed data are lost either way.')
    .option('--owner-epoch', 'change the owner epoch only, as a new owner of the hardware would')
    .option(YES, 'without asking')
    .addOption(stateOption())
    .action((options: ConfirmFlag & { ownerEpoch?: true }, command: Command) =>
      told(command, async () => {
        const place = stateDirectory(options.state);
        if (options.ownerEpoch) present(readIdentity(place), place);
        await confirm(command, options, place, `This changes the identity in ${place.directory}. ${LOST}`);
        const fresh = newIdentity(systemEntropy);
        if (options.ownerEpoch) {
          const change = (found: Identity | undefined) => withNewOwnerEpoch(present(found, place), systemEntropy);
          console.log(about(await changeIdentity(place, change)));
        } else {
          await replaceIdentity(place, fresh);
          console.log(about(fresh));
        }
      }),
    );

  machine
    .command('update')
    .summary('change the CPUSVN, as a microcode update does')
    .description(
      'Raises the CPUSVN. Keys of lower ones can still be derived, so sealed data stay readable. A lower CPUSVN is that\n' +
        'of an older microcode: what was sealed at a higher one is out of reach until it is back.',
    )
    .option('--cpusvn <number>', 'what it shall be (default: one more)', cpuSvn)
    .addOption(stateOption())
    .action((options: StateFlag & { cpusvn?: number }, command: Command) =>
      told(command, async () => {
        const place = stateDirectory(options.state);
        const identity = await changeIdentity(place, (found) => {
          const before = present(found, place);
          return { ...before, cpuSvn: options.cpusvn ?? Math.min(before.cpuSvn + 1, MAX_CPU_SVN) };
        });
        console.log(about(identity));
      }),
    );
}

const about = (identity: Identity): string => `identity  ${fingerprintOf(identity)}\nCPUSVN    ${identity.cpuSvn}`;

function present(identity: Identity | undefined, { directory }: StatePlace): Identity {
  if (identity !== undefined) return identity;
  throw new IdentityError(
    `there is no identity in ${directory} yet; the first \`vitrine run\` or \`vitrine machine reset\` makes it`,
  );
}

function parse(file: string): Identity {
  try {
    return parseIdentity(readFileSync(file, 'utf8'));
  } catch (error) {
    if (error instanceof IdentityError) throw new IdentityError(`${file}: ${error.message}`, { cause: error });
    throw new FileError(`cannot read ${file}: ${(error as Error).message}`, { cause: error });
  }
}

function writeNew(file: string, text: string): void {
  try {
    writeFileSync(file, text, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    throw new FileError(`cannot write ${file}: ${(error as Error).message}`, { cause: error });
  }
}

/** Asks before an identity is lost; a damaged one is lost already, but not by us. */
async function confirm(command: Command, { yes }: ConfirmFlag, place: StatePlace, question: string): Promise<void> {
  if (yes || isAbsent(place)) return;
  if (!process.stdin.isTTY) command.error(`error: ${question} Say ${YES} if that is meant.`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`${question} Go on? [y/N] `);
  terminal.close();
  if (!/^y(es)?$/i.test(answer.trim())) command.error('nothing was changed');
}

function isAbsent(place: StatePlace): boolean {
  try {
    return readIdentity(place) === undefined;
  } catch (error) {
    if (error instanceof IdentityError) return false;
    throw error;
  }
}

function cpuSvn(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !isCpuSvn(value))
    throw new InvalidArgumentError(`Expected a number from 0 to ${MAX_CPU_SVN}.`);
  return value;
}
