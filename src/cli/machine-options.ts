/** Options that say which machine: of `run` and `machine up`, and in part of other commands. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import { DEFAULT_SGX_UAPI, sgxUapis, type SgxUapi } from '../abi/sgx-uapi/generations.ts';
import { NameError, StartError } from '../attach/standing/errors.ts';
import { StateError } from '../attach/state-directory.ts';
import {
  DEFAULT_CPU,
  DEFAULT_EPC,
  DescriptionError,
  parseEpc,
  type MachineDescription,
} from '../machine/description.ts';
import { IdentityError } from '../machine/identity.ts';
import { parseInjection } from '../machine/injection.ts';
import { processorProfiles } from '../machine/profiles.ts';
import { ExitCode } from './exit-codes.ts';

export interface MachineFlags {
  readonly machine?: string;
  readonly cpu?: string;
  readonly epc?: readonly number[];
  readonly sgxUapi?: SgxUapi;
  readonly state?: string;
  readonly inject?: readonly string[];
}

/** All of them. */
export const machineOptions = (): Option[] => [
  machineOption(),
  cpuOption(),
  epcOption(),
  sgxUapiOption(),
  stateOption(),
  injectOption(),
];

const machineOption = (): Option => new Option('--machine <file>', 'a machine file, instead of the default machine');
const cpuOption = (): Option =>
  new Option(
    '--cpu <profile>',
    `which processor it sees, without the file's features (default: ${DEFAULT_CPU})`,
  ).choices(Object.keys(processorProfiles));
const epcOption = (): Option =>
  new Option('--epc <size>', `how much enclave page cache there is (default: ${DEFAULT_EPC})`).argParser(epc);
const sgxUapiOption = (): Option =>
  new Option(
    '--sgx-uapi <generation>',
    `which generation of the SGX interface it has: docs/generations.md (default: ${DEFAULT_SGX_UAPI})`,
  ).choices(sgxUapis);
export const stateOption = (): Option =>
  new Option('--state <dir>', "where the identity is kept (default: $VITRINE_STATE_DIR, or the user's)");

const injectOption = (): Option =>
  new Option(
    '--inject <rule>',
    'let a leaf or a function of the kernel fail as the rule says (docs/inject.md); may be given again and again',
  ).argParser<readonly string[] | undefined>((text, before) => [...(before ?? []), checked(parseInjection, text).text]);

const epc = (text: string): readonly number[] => checked(parseEpc, text);

function checked<T>(parse: (text: string) => T, text: string): T {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof DescriptionError) throw new InvalidArgumentError(error.message);
    throw error;
  }
}

/** A file that somebody named and that cannot be read or written. */
export class FileError extends Error {
  override name = 'FileError';
}

/** The exit code for what is the user's to mend and whose message says how; undefined for our own failures. */
export function exitCodeOf(error: unknown): number | undefined {
  if (error instanceof FileError || error instanceof StateError) return ExitCode.FILE;
  if (error instanceof DescriptionError || error instanceof IdentityError) return ExitCode.MACHINE;
  if (error instanceof NameError) return ExitCode.NAME;
  if (error instanceof StartError) return ExitCode.START;
  return undefined;
}

/** The machine and, where options or the file name one, its state directory. Throws a DescriptionError or FileError. */
export async function describeMachine(
  flags: MachineFlags,
): Promise<{ readonly description: MachineDescription; readonly state: string | undefined }> {
  const file = flags.machine === undefined ? undefined : await readMachineFile(flags.machine);
  const { cpu, features } =
    flags.cpu !== undefined || file === undefined ? { cpu: flags.cpu ?? DEFAULT_CPU, features: {} } : file;
  return {
    description: {
      cpu,
      features,
      epc: flags.epc ?? file?.epc ?? parseEpc(DEFAULT_EPC),
      sgxUapi: flags.sgxUapi ?? file?.sgxUapi ?? DEFAULT_SGX_UAPI,
      inject: [...(file?.inject ?? []), ...(flags.inject ?? [])],
    },
    state: flags.state ?? file?.state,
  };
}

async function readMachineFile(file: string): Promise<MachineDescription & { readonly state: string | undefined }> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new FileError(`cannot read the machine file ${file}: ${(error as Error).message}`, { cause: error });
  }
  const { parseMachineFile } = await import('../machine/machine-file.ts');
  const described = parseMachineFile(text, file);
  return { ...described, state: described.state && path.resolve(path.dirname(file), described.state) };
}
