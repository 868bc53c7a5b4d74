/** Kills targets and hosts at random moments of building, running and evicting, and looks at what is left. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { TargetRun } from './target-run.ts';

/** With 8 MiB of EPC all of them evict; the first builds for ever, the others run after about a second. */
const commands = [
  ['building'],
  ['pressure'],
  ['under-fire', '100000000'],
] as const;
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

/** The target is killed: the host ends promptly in the same way, and nothing is left. */
export async function killTargets(count: number): Promise<void> {
  for (const moment of moments(count)) {
    const { run, target } = await startAndWait(moment);
    const killedAt = performance.now();
    process.kill(target, 'SIGKILL');
    const { signal, exitCode, stderr } = await run.ended;
    const took = performance.now() - killedAt;
    const title = describeMoment(moment);
    expect({ title, signal, exitCode }).toEqual({ title, signal: 'SIGKILL', exitCode: null });
    expect(took, title).toBeLessThan(2000);
    expect({ title, left: await run.gone(0), sockets: run.sockets() }).toEqual({ title, left: 0, sockets: [] });
    if (moment.traced) expect(stderr, title).toMatch(/EPC in use: 0 pages, evicted: 0 pages, enclaves: 0\n$/);
    else expect(stderr, title).not.toContain('vitrine:');
  }
}

/** The host is killed: the target dies within a second, and its last line says why. */
export async function killHosts(count: number): Promise<void> {
  for (const moment of moments(count)) {
    const { run } = await startAndWait(moment);
    run.host.kill('SIGKILL');
    const title = describeMoment(moment);
    expect({ title, left: await run.gone(1000) }).toEqual({ title, left: 0 });
    const { stderr } = await run.ended;
    expect(stderr, title).toMatch(/vitrine: the host process has gone; [^\n]*\n$/);
    expect(run.sockets(), title).toEqual([]);
  }
}
