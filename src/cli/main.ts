/** The `vitrine` command. For `run` the machine's thread starts first: it loads while the command line is being read. */
const thread =
  process.argv[2] === 'run' ? new (await import('../attach/machine-thread.ts')).MachineThread() : undefined;

const { runCommandLine } = await import('./program.ts');
await runCommandLine(thread);
