/**
 * The `vitrine` command. For `run` the machine's thread starts first: it loads while the command line is being read.
 * One that joins a standing machine has none; when the word `--join` is the program's, the thread starts later.
 */
const joins = process.argv.some((word) => word === '--join' || word.startsWith('--join='));
const thread =
  process.argv[2] === 'run' && !joins ? new (await import('../attach/machine-thread.ts')).MachineThread() : undefined;

const { runCommandLine } = await import('./program.ts');
await runCommandLine(thread);
