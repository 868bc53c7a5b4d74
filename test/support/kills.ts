/** Kills targets and hosts at random moments of building, running and evicting, and looks at what is left. */
import { setTimeout as sleep } from 'node:timers/promises';
import { TargetRun } from './target-run.ts';

/** With 8 MiB of EPC all of them evict; the first builds for ever, the others run after about a second. */
const commands = [['building'], ['pressure'], ['under-fire', '100000000']] as const;
/** Building the enclave of test/programs takes about a second with this EPC. */
const LONGEST_MS = 2000;

/** A moment: which program, when after its start, and whether the trace is on (which sends every entry to the host). */
interface Moment {
  readonly command: readonly string[];
  readonly afterMs: number;
  readonly traced: boolean;
}

const describeMoment = ({ command, afterMs, traced }: Moment): string =>
  `${command.join(' ')} after ${afterMs.toFixed(1)} ms${traced ? ', traced' : ''}`;

function moments(count: number): Moment[] {
  return Array.from({ length: count }, (_, index) => ({
    command: commands[index % commands.length]!,
    // Denser towards the start, where most things happen once.
    afterMs: Math.random() ** 2 * LONGEST_MS,
    traced: index % 2 === 0,
  }));
}

async function startAndWait({ command, afterMs, traced }: Moment): Promise<{ run: TargetRun; target: number }> {
  const run = new TargetRun(['--epc', '8M', ...(traced ? ['--trace'] : [])], command);
  let target = run.target;
  for (; target === undefined; target = run.target) await sleep(2);
  await sleep(afterMs);
  return { run, target };
}

/** What is wrong of all that should hold, each with the moment. */
const problemsOf = (moment: Moment, stderr: string, holds: Readonly<Record<string, boolean>>): string[] =>
  Object.entries(holds)
    .filter(([, held]) => !held)
    .map(([what]) => `${describeMoment(moment)}: not so: ${what}; standard error ends ${stderr.slice(-300)}`);

/** The target is killed: the host ends promptly in the same way, and nothing is left. Returns what did not hold. */
export async function killTargets(count: number): Promise<string[]> {
  const problems: string[] = [];
  for (const moment of moments(count)) {
    const { run, target } = await startAndWait(moment);
    const killedAt = performance.now();
    process.kill(target, 'SIGKILL');
    const { signal, stderr } = await run.ended;
    const tookMs = performance.now() - killedAt;
    const holds = {
      'the host ends by the same signal': signal === 'SIGKILL',
      'within two seconds': tookMs < 2000,
      'no process is left': (await run.gone(0)) === 0,
      'no EPC is in use, and nothing else is said': moment.traced
        ? stderr.endsWith('EPC in use: 0 pages, evicted: 0 pages, enclaves: 0\n')
        : !stderr.includes('vitrine:'),
    };
    problems.push(...problemsOf(moment, stderr, holds));
  }
  return problems;
}

/** The host is killed: the target dies within a second, and its last line says why. Returns what did not hold. */
export async function killHosts(count: number): Promise<string[]> {
  const problems: string[] = [];
  for (const moment of moments(count)) {
    const { run } = await startAndWait(moment);
    run.host.kill('SIGKILL');
    const left = await run.gone(1000);
    const { stderr } = await run.ended;
    const holds = {
      'no process is left after a second': left === 0,
      'the last line says why': /vitrine: the host process has gone; [^\n]*\n$/.test(stderr),
    };
    problems.push(...problemsOf(moment, stderr, holds));
  }
  return problems;
}
