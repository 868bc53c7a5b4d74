/** `vitrine machine up`, `ps` and `down`: machines that outlive a command, for programs that are started separately. */
import { writeSync } from 'node:fs';
import { InvalidArgumentError, type Command } from 'commander';
import type { Status } from '../attach/standing/protocol.ts';
import { told } from './identity.ts';
import { machineOptions, type MachineFlags } from './machine-options.ts';
import { table } from './table.ts';
import { traceOption } from './trace-option.ts';

interface UpFlags extends MachineFlags {
  readonly trace?: readonly string[];
  readonly foreground?: true;
}

const upHelp = `
Examples:
  $ vitrine machine up demo --epc 64M
  $ vitrine run --join demo -- ./builder &
  $ vitrine run --join demo -- ./user
  $ vitrine machine ps
  $ vitrine machine down demo
  $ vitrine machine up demo --trace trace.jsonl    what all its programs do, in one file`;

const DEFAULT_GRACE_SECONDS = 5;

export function registerStandingCommands(machine: Command, version: string): void {
  const up = machine
    .command('up')
    .summary('bring up a machine that programs join')
    .description(
      'Brings up a machine that stays until `machine down`. Programs started by `vitrine run --join NAME` share it: its\n' +
        'EPC, its enclaves, and descriptors of them that they send each other. Only its user can join it.',
    )
    .argument('<name>', 'what to call it')
    .option('--foreground', 'do not return; Ctrl-C ends it');
  for (const option of [...machineOptions(), traceOption()]) up.addOption(option);
  up.addHelpText('after', upHelp).action((name: string, { trace = [], foreground, ...flags }: UpFlags) =>
    told(up, async () => {
      if (foreground === undefined && trace.includes(''))
        up.error(
          'error: a machine in the background has no standard error to trace to; say --trace FILE.jsonl, or --foreground',
        );
      const [{ startInBackground, runHere }, { orderMachine }, { checkName }] = await Promise.all([
        import('../attach/standing/start.ts'),
        import('./machine-order.ts'),
        import('../attach/standing/place.ts'),
      ]);
      checkName(name);
      const order = await orderMachine({ machine: flags, traces: trace, version, command: [] }, say);
      if (foreground === undefined) console.log(upSentence(await startInBackground(name, order)));
      else await runHere(name, order, (status) => console.log(upSentence(status)));
      process.exit();
    }),
  );

  machine
    .command('ps')
    .summary('the machines that are up')
    .option('--json', 'print a JSON array')
    .action((options: { json?: true }, command: Command) =>
      told(command, async () => {
        const machines = await lookAround();
        if (options.json) console.log(JSON.stringify(machines, undefined, 2));
        else if (machines.length === 0) console.log('no machine is up; `vitrine machine up NAME` starts one');
        else console.log(machineTable(machines));
      }),
    );

  const down = machine
    .command('down')
    .summary('end a machine')
    .description(
      'Ends a machine. Programs that still use it get SIGTERM, and SIGKILL when they have not ended in time. Returns when\n' +
        'nothing of it is left.',
    )
    .argument('[name...]', 'which machines')
    .option('--all', 'all that are up')
    .option('--grace <seconds>', 'how long programs have to end', seconds, DEFAULT_GRACE_SECONDS);
  down.action((names: string[], { all, grace }: { all?: true; grace: number }) =>
    told(down, async () => {
      if (names.length > 0 === (all === true)) down.error('error: say which machine, or --all');
      const [{ listMachines }, { endMachine }] = await Promise.all([
        import('../attach/standing/place.ts'),
        import('../attach/standing/client.ts'),
      ]);
      const { names: present, removed } = await listMachines();
      tellRemoved(removed);
      for (const name of all ? present : names.filter((each) => !removed.includes(each)))
        await endMachine(name, grace * 1000, (processes) => {
          if (processes > 0)
            say(`${name}: ${processes === 1 ? 'a process is' : `${processes} processes are`} asked to end`);
        });
      process.exit();
    }),
  );
}

/** What is known of a machine that does not answer. */
type Seen = Status | { readonly name: string; readonly pid: number | null; readonly problem: string };

async function lookAround(): Promise<Seen[]> {
  const [{ listMachines, pidOf }, { statusOf }, { NameError }] = await Promise.all([
    import('../attach/standing/place.ts'),
    import('../attach/standing/client.ts'),
    import('../attach/standing/errors.ts'),
  ]);
  const { names, removed } = await listMachines();
  tellRemoved(removed);
  return Promise.all(
    names.map((name) =>
      statusOf(name).catch((error: unknown): Seen => {
        if (!(error instanceof NameError)) throw error;
        return { name, pid: pidOf(name) ?? null, problem: error.message };
      }),
    ),
  );
}

function tellRemoved(names: readonly string[]): void {
  for (const name of names) say(`machine ${name} was killed; what it left behind is removed`);
}

function machineTable(machines: readonly Seen[]): string {
  const rows = machines.map((seen) =>
    'problem' in seen
      ? [seen.name, String(seen.pid ?? '?'), '', 'does not answer', '', '']
      : [
          seen.name,
          String(seen.pid),
          seen.since.slice(0, 19).replace('T', ' '),
          `${seen.epcPagesInUse} of ${seen.epcPages} pages`,
          String(seen.processes),
          String(seen.enclaves),
        ],
  );
  return table([['NAME', 'PID', 'SINCE (UTC)', 'EPC IN USE', 'PROCESSES', 'ENCLAVES'], ...rows]);
}

const upSentence = ({ name, pid, epcPages, cpu }: Status): string =>
  `machine ${name} is up: ${cpu}, ${epcPages} EPC pages, process ${pid}`;

function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 3600))
    throw new InvalidArgumentError('Expected seconds, 0 to 3600.');
  return value;
}

function say(sentence: string): void {
  writeSync(2, `vitrine: ${sentence}\n`);
}
