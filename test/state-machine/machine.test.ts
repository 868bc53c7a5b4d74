import { describe, expect, it } from 'vitest';
import { Heard, leafNames, runHistories, worlds } from './run.ts';

/** The long form is test/soak/machine.soak.ts. */
const STEPS = 1000;

describe('random histories: several processes, all ioctls, all leaves', () => {
  it.each(worlds.map((world) => [`${world.uapi}, ${world.cpu}, ${world.epcPages} pages of EPC`, world] as const))(
    '%s: every invariant holds after every step',
    (_, world) => {
      expect(runHistories(world, STEPS)).toBeGreaterThanOrEqual(STEPS);
    },
  );

  it('they get beyond the first check: pages are changed, threads enter, are interrupted and go on', () => {
    const heard = new Heard();
    runHistories(worlds[0]!, 2 * STEPS, { seed: 1, listener: heard.listener });
    const wanted = ['EENTER', 'ERESUME', 'EEXIT', 'AEX', 'SGX_IOC_ENCLAVE_MODIFY_TYPES', ...leafNames.slice(0, 2)];
    expect(wanted.filter((name) => heard.successes(name) === 0)).toEqual([]);
  });
});
