/** The command line: which commands there are and what they take. Each loads what it needs when it runs. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import type { MachineThread } from '../attach/machine-thread.ts';
import { runExitCodes, VITRINE_FAILED } from './exit-codes.ts';
import { cpuOption, epcOption, machineOption, stateOption, type MachineFlags } from './machine-options.ts';
import { bindTraceFiles, traceDestination } from './trace-option.ts';

/** @param thread the machine's, when the command is `run` */
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
  if (thread === undefined) {
    const [{ registerMeasure }, { registerSign }, { registerMachine }, { registerDoctor }] = await Promise.all([
      import('./measure.ts'),
      import('./sign.ts'),
      import('./machine.ts'),
      import('./doctor.ts'),
    ]);
    registerMeasure(program);
    registerSign(program);
    registerMachine(program);
    registerDoctor(program);
  }
  try {
    await program.parseAsync(bindTraceFiles(process.argv, program));
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    await thread?.settle();
    process.exitCode = thread !== undefined && error.exitCode !== 0 ? VITRINE_FAILED : error.exitCode;
  }
}

interface RunFlags extends MachineFlags {
  readonly trace?: readonly string[];
}

function registerRun(program: Command, thread: MachineThread | undefined): void {
  program
    .command('run')
    .summary('run a program that uses SGX')
    .description(
      'Runs PROGRAM with /dev/sgx_enclave and /dev/sgx_provision there for it and for every process it starts.\n' +
        'Standard input and output, exit code and signals pass through unchanged.',
    )
    .usage('[options] [--] PROGRAM [ARG...]')
    .argument('<program>', 'what to run; found as a shell finds it')
    .argument('[args...]', 'its arguments')
    .addOption(machineOption())
    .addOption(cpuOption())
    .addOption(epcOption())
    .addOption(stateOption())
    .option(
      '--trace [file.jsonl]',
      'print every ioctl, mapping, leaf, fault and AEX, and why something was refused; or write that to a file, as data',
      traceDestination,
    )
    .passThroughOptions()
    .addHelpText('after', runHelp)
    .action(async (name: string, args: string[], { trace = [], ...machine }: RunFlags) => {
      const { run } = await import('./run.ts');
      await run({ thread: thread!, program: name, args, machine, traces: trace, version: packageVersion() });
    });
}

const runHelp = `
Examples:
  $ vitrine run -- ./my-enclave-host --verbose
  $ vitrine run --epc 8M --trace -- ./my-enclave-host 2>trace.txt
  $ vitrine run --trace trace.jsonl -- ./my-enclave-host    as data: docs/trace.md
  $ vitrine run --cpu skylake -- ./test_sgx        a processor without SGX2
  $ vitrine run --machine small.json -- ./test_sgx   see vitrine machine --help
${runExitCodes}`;

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
