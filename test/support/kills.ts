/** Kills targets, their children and hosts at random moments of all that they do, and looks at what is left. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TargetRun } from './target-run.ts';

/** The victim's heap is twice this EPC, so that it is evicted for as long as it runs. */
const COMMAND = { options: ['--epc', '1M'], program: ['victim'] } as const;
/** The victim execs itself anew after about this time. */
const LONGEST_MS = 900;
/** What is at work beside each other: as many as the smallest supported machine has cores. */
const LANES = 2;

const victims = ['program', 'host', 'child'] as const;

interface Moment {
  readonly victim: (typeof victims)[number];
  /** From the start on, or from its first word on, by when it has been mapped and has begun. */
  readonly since: 'start' | 'first word';
  readonly afterMs: number;
  /** Every entry goes to the host. */
  readonly traced: boolean;
}

export interface Report {
  readonly moments: number;
  /** What the program was doing, by its own word, and how often it was killed then. */
  readonly doing: ReadonlyMap<string, number>;
  /** What did not hold, each with its moment. */
  readonly problems: readonly string[];
}

/** The line that a person reads. */
export function summary({ moments, doing, problems }: Report): string {
  const when = [...doing].map(([what, count]) => `${what} ${count}`).join(', ');
  return `kills: ${moments} moments (${when}), ${problems.length} left behind`;
}

export async function killAtRandomMoments(count: number): Promise<Report> {
  const problems: string[] = [];
  const doing = new Map<string, number>();
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      const moment = {
        victim: victims[index % victims.length]!,
        since: index % 4 === 1 ? ('start' as const) : ('first word' as const),
        afterMs: Math.random() * LONGEST_MS,
        traced: index % 4 === 0,
      };
      const { was, failed } = await killAt(moment);
      doing.set(was, (doing.get(was) ?? 0) + 1);
      problems.push(...failed);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return { moments: count, doing, problems };
}

async function killAt({ victim, since, afterMs, traced }: Moment): Promise<{ was: string; failed: string[] }> {
  const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-test-'));
  const run = new TargetRun([...COMMAND.options, ...(traced ? ['--trace'] : [])], COMMAND.program, { TMPDIR: folder });
  let program = run.target;
  for (; program === undefined && run.host.exitCode === null; program = run.target) await sleep(2);
  if (program === undefined) return { was: 'starting', failed: [`nothing was started: ${(await run.ended).stderr}`] };
  const before = since === 'start' ? [] : ['vitrine-stub', 'node'];
  while (before.includes(nameOf(program))) await sleep(2);
  await sleep(afterMs);
  const was = nameOf(program);

  const child = victim === 'child' ? run.processes().find((pid) => pid !== program && pid !== run.host.pid) : undefined;
  if (child !== undefined) {
    kill(child);
    await sleep(20);
  }
  const goesOn = nameOf(program) !== '';
  const killedAt = performance.now();
  if (victim === 'host') run.host.kill('SIGKILL');
  else kill(program);
  const left = await run.gone(2000);
  const tookMs = performance.now() - killedAt;
  for (const pid of run.processes()) kill(pid);
  const { signal, stderr } = await run.ended;
  const holds: Record<string, boolean> = {
    'a child that is killed does not end its parent': goesOn,
    'no process is left after two seconds': left === 0,
    'the host ends by the same signal': signal === 'SIGKILL',
    'no file is left': readdirSync(folder).length === 0,
  };
  if (victim === 'host') {
    holds['the program dies within a second'] = tookMs < 1000;
    holds['the last line says why'] = /vitrine: the host process has gone; [^\n]*\n$/.test(stderr);
  } else if (traced) {
    holds['no EPC is in use'] = stderr.endsWith('EPC in use: 0 pages, evicted: 0 pages, enclaves: 0\n');
  } else {
    holds['nothing is said, as no EPC is in use'] = !stderr.includes('vitrine:');
  }
  rmSync(folder, { recursive: true });
  const failed = Object.keys(holds)
    .filter((what) => !holds[what])
    .map(
      (what) =>
        `${victim} after ${afterMs.toFixed(1)} ms (${was}${traced ? ', traced' : ''}): not so: ${what}; standard error ends ${stderr.slice(-300)}`,
    );
  return { was, failed };
}

/** What a process calls itself; empty when it is gone. */
function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'latin1').trim();
  } catch {
    return '';
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It was faster.
  }
}
