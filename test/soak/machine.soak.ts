import { expect, it } from 'vitest';
import { ioctlNamesOf, uapis } from '../state-machine/interface.ts';
import { Heard, leafNames, runHistories, worlds } from '../state-machine/run.ts';

const STEPS = 1_000_000;

it('1,000,000 random steps of machines of every generation break no invariant, and every call and leaf succeeds at times', () => {
  const missing: string[] = [];
  const heard = new Heard();
  let all = 0;
  const started = performance.now();
  for (const uapi of uapis) {
    const own = new Heard();
    for (const world of worlds.filter((each) => each.uapi === uapi)) {
      const before = performance.now();
      const steps = runHistories(world, STEPS / worlds.length, { listener: own.listener });
      const rate = steps / ((performance.now() - before) / 1000);
      all += steps;
      process.stdout.write(`${uapi}, ${world.cpu}, ${world.epcPages} pages: ${steps} steps, ${rate.toFixed(0)}/s\n`);
    }
    process.stdout.write(`  succeeded: ${ioctlNamesOf(uapi).map(own.share).join(', ')}\n`);
    missing.push(...ioctlNamesOf(uapi).filter((name) => own.successes(name) === 0));
    heard.add(own);
  }
  const seconds = (performance.now() - started) / 1000;
  process.stdout.write(`${all} steps in ${seconds.toFixed(0)} s, ${(all / seconds).toFixed(0)}/s\n`);
  process.stdout.write(`  succeeded: ${leafNames.map(heard.share).join(', ')}\n`);
  missing.push(...leafNames.filter((name) => heard.successes(name) === 0));
  expect(missing).toEqual([]);
});
