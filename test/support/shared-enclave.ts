/** Separately started processes in one enclave: `examples/shared-enclave`, in a standing machine. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { until, type Runtime } from './standing.ts';
import { buildPrograms, type TargetRun } from './target-run.ts';

const example = path.join(import.meta.dirname, '..', '..', 'examples', 'shared-enclave');
const host = path.join(example, 'build', 'host');
const GUESTS = 3;

export function buildSharedEnclave(): void {
  buildPrograms();
  const { status, stderr } = spawnSync('flock', [example, 'make', '-s', '-C', example], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`make: ${stderr}`);
}

interface Sharing {
  readonly owner: TargetRun;
  readonly guests: readonly TargetRun[];
}

/** @param calls each thread's; 0: without end */
function share(runtime: Runtime, threads: number, calls: number): Sharing {
  const socket = path.join(runtime.folder, 'offer');
  const guest = (): TargetRun => runtime.join('demo', [host, 'use', socket, `${threads}`, `${calls}`]);
  const owner = runtime.join('demo', [host, 'offer', socket, `${GUESTS}`]);
  return { owner, guests: Array.from({ length: GUESTS }, guest) };
}

/** What each process said when all calls were made. */
export async function callTogether(
  runtime: Runtime,
  threads: number,
  calls: number,
): Promise<{ owner: string; guests: string[] }> {
  const { owner, guests } = share(runtime, threads, calls);
  const said = async (run: TargetRun): Promise<string> => {
    const { stdout, stderr, exitCode } = await run.ended;
    if (exitCode !== 0 || stderr !== '') throw new Error(`exit code ${exitCode}: ${stderr}${stdout}`);
    return stdout.trim().split('\n').at(-1)!;
  };
  const [first, ...others] = await Promise.all([owner, ...guests].map(said));
  return { owner: first!, guests: others };
}

/**
 * Kills one process after the other while all make calls, the second while it is stopped, and looks each time whether
 * those that are left go on. Returns what did not hold.
 */
export async function killInTurn(runtime: Runtime, pauseMs: () => number): Promise<string[]> {
  const { owner, guests } = share(runtime, 2, 0);
  const calls = guests.map(() => 0);
  guests.forEach((guest, index) => guest.host.stdout!.on('data', () => calls[index]!++));
  const problems: string[] = [];
  const goOn = async (from: number, when: string): Promise<void> => {
    const before = [...calls];
    if (!(await until(() => calls.every((count, index) => index < from || count > before[index]!), 20_000)))
      problems.push(`${when}, not all go on: ${before.join()}, then ${calls.join()}`);
    await sleep(pauseMs());
  };
  await goOn(0, 'at first');
  const targets = guests.map(({ target }) => target!);
  process.kill(targets[0]!, 'SIGKILL');
  await goOn(1, 'after the first was killed');
  process.kill(targets[1]!, 'SIGSTOP');
  await goOn(2, 'while the second is stopped');
  process.kill(targets[1]!, 'SIGKILL');
  await goOn(2, 'after the second was killed');
  process.kill(owner.target!, 'SIGKILL');
  await goOn(2, 'after the one who built it was killed');
  process.kill(targets[2]!, 'SIGKILL');
  for (const run of [owner, ...guests]) {
    const { signal, stderr } = await run.ended;
    const said = stderr.replace(/^thread \d of the enclave has no frame left and is retired\n/gm, '');
    if (signal !== 'SIGKILL' || said !== '') problems.push(`ended by ${signal}, said ${said}`);
  }
  const isEmpty = async (): Promise<boolean> => {
    const { epcPagesInUse, evictedPages, enclaves, processes } = await runtime.status();
    return epcPagesInUse + evictedPages + enclaves + processes === 0;
  };
  if (!(await until(isEmpty))) problems.push(`at the end there is ${JSON.stringify(await runtime.status())}`);
  return problems;
}
