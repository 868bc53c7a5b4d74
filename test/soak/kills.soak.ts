import { beforeAll, describe, it } from 'vitest';
import { killHosts, killTargets } from '../support/kills.ts';
import { buildPrograms } from '../support/target-run.ts';

beforeAll(buildPrograms, 120_000);

describe('kill -9 at 200 random moments', () => {
  it('of the target', async () => killTargets(200));
  it('of the host', async () => killHosts(200));
});
