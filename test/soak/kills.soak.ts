import { beforeAll, describe, expect, it } from 'vitest';
import { killHosts, killTargets } from '../support/kills.ts';
import { buildPrograms } from '../support/target-run.ts';

beforeAll(buildPrograms, 120_000);

describe('kill -9 at 200 random moments', () => {
  it('of the target', async () => {
    expect(await killTargets(200)).toEqual([]);
  });
  it('of the host', async () => {
    expect(await killHosts(200)).toEqual([]);
  });
});
