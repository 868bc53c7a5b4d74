/** The `vitrine` command. Each command is in its own file and loads what it needs when it runs. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import { runExitCodes, VITRINE_FAILED } from './exit-codes.ts';
import { parseEpcSize } from './size.ts';

const DEFAULT_PROFILE = 'sapphire-rapids';
/** Known by name here, so that `run` need not load the processor model before it starts the machine's thread. */
const PROFILES = ['skylake', 'icelake', 'sapphire-rapids'];

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const program = new Command('vitrine')
  .description(
    'SGX enclaves without the hardware: runs programs that use /dev/sgx_enclave on an ordinary Linux machine.',
  )
  .version(version)
  .showHelpAfterError('(vitrine --help, or vitrine COMMAND --help, says more)')
  .enablePositionalOptions()
  .exitOverride();

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
  .addOption(new Option('--cpu <profile>', 'which processor it sees').choices(PROFILES).default(DEFAULT_PROFILE))
  .addOption(
    new Option('--epc <size>', 'how much enclave page cache there is').argParser(parseEpcSize).default(2 ** 26, '64M'),
  )
  .option('--trace', 'print every ioctl, mapping, leaf, fault and AEX, and why something was refused')
  .passThroughOptions()
  .addHelpText(
    'after',
    `
Examples:
  $ vitrine run -- ./my-enclave-host --verbose
  $ vitrine run --epc 8M --trace -- ./my-enclave-host 2>trace.txt
  $ vitrine run --cpu skylake -- ./test_sgx        a processor without SGX2
${runExitCodes}`,
  )
  .exitOverride()
  .action(async (name: string, args: string[], options: { cpu: string; epc: number; trace?: true }) => {
    const { run } = await import('./run.ts');
    await run({ program: name, args, profileName: options.cpu, epcBytes: options.epc, trace: options.trace === true });
  });

const command = process.argv[2];
if (command !== 'run') {
  const [{ registerMeasure }, { registerSign }] = await Promise.all([import('./measure.ts'), import('./sign.ts')]);
  registerMeasure(program);
  registerSign(program);
}

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = command === 'run' && error.exitCode !== 0 ? VITRINE_FAILED : error.exitCode;
}
