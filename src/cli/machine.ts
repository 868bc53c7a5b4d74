/** `vitrine machine`: what processors there are, what a machine is, which are up, and the identity behind them. */
import type { Command } from 'commander';
import { readIdentity } from '../attach/identity-store.ts';
import { hostXcr0 } from '../attach/host-processor.ts';
import { stateDirectory } from '../attach/state-directory.ts';
import { Attributes, MiscSelect, Xfrm } from '../abi/sgx-arch.ts';
import type { SgxUapi } from '../abi/sgx-uapi/generations.ts';
import { epcSections, processorOf, DEFAULT_CPU } from '../machine/description.ts';
import { fingerprintOf } from '../machine/identity.ts';
import { limitToHost, processorProfiles, type ProcessorProfile } from '../machine/profiles.ts';
import { cpuidOverrides, type CpuidOverride, type CpuidRegisters } from '../processor/cpuid.ts';
import { ExitCode } from './exit-codes.ts';
import { registerIdentityCommands, type StateFlag, told } from './identity.ts';
import { describeMachine, stateOption } from './machine-options.ts';
import { registerStandingCommands } from './standing.ts';
import { table } from './table.ts';

const help = `
Examples:
  $ vitrine machine list
  $ vitrine machine show icelake
  $ echo '{ "cpu": "icelake", "features": { "kss": false }, "epc": "64M" }' >small.json
  $ vitrine run --machine small.json -- ./my-enclave-host
  $ vitrine machine up demo --machine small.json

Exit codes:
  0  done
  1  the command line is wrong, or a question was answered with no
  ${ExitCode.FILE}  a file or the state directory cannot be read or written
  ${ExitCode.MACHINE}  a machine file or an identity is not valid; the message names what is wrong
  ${ExitCode.NAME}  a machine of that name is up already, or is not up, or does not answer
  ${ExitCode.START}  the machine did not start`;

export function registerMachine(program: Command, version: string): void {
  const machine = program
    .command('machine')
    .summary('processors, machines that stay up, and the identity of yours')
    .description(
      'Shows processors and machines, keeps machines up that several programs share, and keeps the identity on which\n' +
        'sealed data depend.',
    )
    .addHelpText('after', help);

  machine
    .command('list')
    .summary('the processors there are')
    .option('--json', 'print a JSON array')
    .action((options: { json?: true }) => {
      const profiles = Object.values(processorProfiles);
      console.log(options.json ? json(profiles.map(processorAsJson)) : profileTable(profiles));
    });

  machine
    .command('show')
    .summary('one machine: processor, EPC, CPUID, identity')
    .description('Shows a machine as programs on this host would see it.')
    .argument('[name or file]', 'a processor of `machine list`, or a machine file', DEFAULT_CPU)
    .addOption(stateOption())
    .option('--json', 'print one JSON object')
    .action((name: string, options: StateFlag & { json?: true }, command: Command) =>
      told(command, async () => {
        const known = Object.hasOwn(processorProfiles, name);
        const shown = await describe({ ...(known ? { cpu: name } : { machine: name }), ...options });
        console.log(options.json ? json(asJson(shown)) : asText(shown));
      }),
    );

  machine
    .command('schema')
    .summary('print the JSON Schema of machine files')
    .description('Prints the JSON Schema of machine files; a file names it as "$schema", and editors then help.')
    .action(async () => {
      const { machineFileSchema } = await import('../machine/machine-file.ts');
      console.log(json(machineFileSchema()));
    });

  registerStandingCommands(machine, version);
  registerIdentityCommands(machine);
}

interface ShownMachine {
  /** As described. */
  readonly profile: ProcessorProfile;
  /** As far as this host has what enclave code needs. */
  readonly here: ProcessorProfile;
  readonly epc: readonly number[];
  readonly sgxUapi: SgxUapi;
  readonly inject: readonly string[];
  readonly cpuid: readonly CpuidOverride[];
  readonly directory: string;
  /** undefined when the first run is still to make it. */
  readonly identity: { readonly fingerprint: string; readonly cpuSvn: number } | undefined;
}

async function describe(flags: Parameters<typeof describeMachine>[0]): Promise<ShownMachine> {
  const { description, state } = await describeMachine(flags);
  const profile = processorOf(description);
  const here = limitToHost(profile, hostXcr0());
  const place = stateDirectory(state);
  const identity = readIdentity(place);
  return {
    profile,
    here,
    epc: description.epc,
    sgxUapi: description.sgxUapi,
    inject: description.inject,
    cpuid: cpuidOverrides(here, epcSections(description.epc)),
    directory: place.directory,
    identity: identity && { fingerprint: fingerprintOf(identity), cpuSvn: identity.cpuSvn },
  };
}

const json = (value: unknown): string => JSON.stringify(value, undefined, 2);

const namesIn = (text: string): string[] => (text === '0' ? [] : text.split('|'));

/** In the words of a machine file, so that it can be one. */
function processorAsJson(profile: ProcessorProfile): Record<string, unknown> {
  const { sgx2, kss, aexNotify, maxEnclaveSizeLog2_64, maxEnclaveSizeLog2_32 } = profile;
  return {
    cpu: profile.name,
    features: {
      sgx2,
      kss,
      aexNotify,
      miscSelect: namesIn(MiscSelect.format(profile.miscSelect)),
      attributes: namesIn(Attributes.format(profile.attributes)),
      xfrm: namesIn(Xfrm.format(profile.xfrm)),
      maxEnclaveSizeLog2_64,
      maxEnclaveSizeLog2_32,
    },
  };
}

function asJson({ profile, here, epc, sgxUapi, inject, cpuid, directory, identity }: ShownMachine): unknown {
  return {
    ...processorAsJson(profile),
    xfrmOnThisHost: namesIn(Xfrm.format(here.xfrm)),
    epc,
    sgxUapi,
    inject,
    cpuid,
    state: directory,
    identity: identity ?? null,
  };
}

const yesOrNo = (value: boolean): string => (value ? 'yes' : 'no');

function profileTable(profiles: readonly ProcessorProfile[]): string {
  const rows = profiles.map((profile) => [
    profile.name,
    yesOrNo(profile.sgx2),
    yesOrNo(profile.kss),
    yesOrNo(profile.aexNotify),
    `2^${profile.maxEnclaveSizeLog2_64}`,
    Xfrm.format(profile.xfrm),
  ]);
  return table([['PROCESSOR', 'SGX2', 'KSS', 'AEX-Notify', 'largest', 'XFRM'], ...rows]);
}

function asText({ profile, here, epc, sgxUapi, inject, cpuid, directory, identity }: ShownMachine): string {
  const missing = profile.xfrm & ~here.xfrm;
  const facts = [
    ['processor', profile.name],
    ['SGX2', yesOrNo(profile.sgx2)],
    ['KSS', yesOrNo(profile.kss)],
    ['AEX-Notify', yesOrNo(profile.aexNotify)],
    ['ATTRIBUTES', Attributes.format(profile.attributes)],
    ['XFRM', Xfrm.format(here.xfrm) + (missing === 0n ? '' : `; this host lacks ${Xfrm.format(missing)}`)],
    ['MISCSELECT', MiscSelect.format(profile.miscSelect)],
    ['enclaves', `below 2^${profile.maxEnclaveSizeLog2_64} bytes, 2^${profile.maxEnclaveSizeLog2_32} in 32-bit mode`],
    ['EPC', epc.map(size).join(' and ')],
    ['interface', sgxUapi],
    ['injected', inject.join(' and ')],
    ['identity', identity === undefined ? 'none yet: the first run makes it' : identity.fingerprint],
    ['CPUSVN', identity === undefined ? '' : String(identity.cpuSvn)],
    ['kept in', directory],
  ].filter(([, value]) => value !== '');
  const leaves = cpuid.map(({ leaf, subleaf, mask, value }) => {
    const registers = (['eax', 'ebx', 'ecx', 'edx'] as const).map((name) => digits(mask, value, name));
    return [`${leaf.toString(16).toUpperCase().padStart(2, '0')}H.${subleaf}`, ...registers];
  });
  const atLeast = '00H.0  largest leaf at least 12H; a dot stands for what the host says';
  return [table(facts), '', table([['CPUID', 'EAX', 'EBX', 'ECX', 'EDX'], ...leaves]), atLeast].join('\n');
}

/** Eight digits; a dot where none of a digit's bits is ours. */
function digits(mask: CpuidRegisters, value: CpuidRegisters, register: keyof CpuidRegisters): string {
  const hexadecimal = (number: number) => (number >>> 0).toString(16).padStart(8, '0');
  const ours = hexadecimal(mask[register]);
  return Array.from(hexadecimal(value[register]), (digit, i) => (ours[i] === '0' ? '.' : digit)).join('');
}

function size(bytes: number): string {
  const [factor, unit] = (
    [
      [2 ** 30, 'G'],
      [2 ** 20, 'M'],
    ] as const
  ).find(([each]) => bytes % each === 0) ?? [1024, 'K'];
  return `${bytes / factor}${unit}`;
}
