/** The command line: which commands there are and what they take. Each loads what it needs when it runs. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import type { MachineThread } from '../attach/machine-thread.ts';
import { runExitCodes, VITRINE_FAILED } from './exit-codes.ts';
import { machineOptions, type MachineFlags } from './machine-options.ts';
import { bindTraceFiles, traceOption } from './trace-option.ts';

/** @param thread the machine's, where `run` will want one */
export async function runCommandLine(thread: MachineThread | undefined): Promise<void> {
  const program = new Command('vitrine')
    .description(
      'SGX enclaves without the hardware: runs programs that use /dev/sgx_enclave on an ordinary Linux machine.',
    )
    .version(packageVersion())
    .showHelpAfterError('(vitrine --help, or vitrine COMMAND --help, says more)')
    .enablePositionalOptions()
    .exitOverride();
  registerRun(program, thread);
  const runs = process.argv[2] === 'run';
  if (!runs) {
    const [{ registerMeasure }, { registerSign }, { registerMachine }, { registerDoctor }] = await Promise.all([
      import('./measure.ts'),
      import('./sign.ts'),
      import('./machine.ts'),
      import('./doctor.ts'),
    ]);
    registerMeasure(program);
    registerSign(program);
    registerMachine(program, packageVersion());
    registerDoctor(program);
  }
  try {
    await program.parseAsync(bindTraceFiles(process.argv, program));
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    await thread?.settle();
    process.exitCode = runs && error.exitCode !== 0 ? VITRINE_FAILED : error.exitCode;
  }
}

interface RunFlags extends MachineFlags {
  readonly join?: string;
  readonly trace?: readonly string[];
}

function registerRun(program: Command, thread: MachineThread | undefined): void {
  const command = program
    .command('run')
    .summary('run a program that uses SGX')
    .description(
      'Runs PROGRAM with /dev/sgx_enclave and /dev/sgx_provision there for it and for every process it starts.\n' +
        'Standard input and output, exit code and signals pass through unchanged.',
    )
    .usage('[options] [--] PROGRAM [ARG...]')
    .argument('<program>', 'what to run; found as a shell finds it')
    .argument('[args...]', 'its arguments');
  for (const option of [...machineOptions(), traceOption()]) command.addOption(option);
  command
    .option('--join <name>', 'in a machine that is up, with the other programs there: vitrine machine up --help')
    .passThroughOptions()
    .addHelpText('after', runHelp)
    .action(async (name: string, args: string[], { trace = [], join, ...machine }: RunFlags) => {
      if (join !== undefined)
        refuseBesideJoin(command, join, Object.keys({ ...machine, ...(trace.length > 0 && { trace }) }));
      const { run } = await import('./run.ts');
      await run({ thread, join, program: name, args, machine, traces: trace, version: packageVersion() });
    });
}

/** What the machine was told when it came up cannot be said again. */
function refuseBesideJoin(command: Command, name: string, flags: readonly string[]): void {
  const [flag] = flags;
  if (flag === undefined) return;
  const { long } = command.options.find((option) => option.attributeName() === flag)!;
  command.error(
    `error: ${long} is for the machine, and ${name} has its own already; \`vitrine machine up NAME ${long} ...\` brings up one with it`,
  );
}

const runHelp = `
Examples:
  $ vitrine run -- ./my-enclave-host --verbose
  $ vitrine run --epc 8M --trace -- ./my-enclave-host 2>trace.txt
  $ vitrine run --trace trace.jsonl -- ./my-enclave-host    as data: docs/trace.md
  $ vitrine run --cpu skylake -- ./test_sgx        a processor without SGX2
  $ vitrine run --sgx-uapi proposal-2018 -- ./my-prototype   another interface: docs/generations.md
  $ vitrine run --inject emodt:#GP@page=7 --trace -- ./test_sgx   one page's EMODT fails: docs/inject.md
  $ vitrine run --machine small.json -- ./test_sgx   see vitrine machine --help
  $ vitrine machine up demo; vitrine run --join demo -- ./one & vitrine run --join demo -- ./other
${runExitCodes}`;

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
