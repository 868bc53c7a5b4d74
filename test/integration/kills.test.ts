import { beforeAll, describe, expect, it } from 'vitest';
import { killHosts, killTargets } from '../support/kills.ts';
import { buildPrograms } from '../support/target-run.ts';

beforeAll(buildPrograms, 120_000);

describe('kill -9 at random moments of building, running and evicting', () => {
  it('of the target: the host ends like it, and no process, socket or EPC page is left', async () => {
    expect(await killTargets(10)).toEqual([]);
  }, 60_000);

  it('of the host: the target is dead within a second, with a last line that says why', async () => {
    expect(await killHosts(10)).toEqual([]);
  }, 60_000);
});
