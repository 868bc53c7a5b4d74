import { beforeAll, expect, it } from 'vitest';
import { killAtRandomMoments } from '../support/kills.ts';
import { buildPrograms } from '../support/target-run.ts';

beforeAll(buildPrograms, 120_000);

it('kill -9 of programs, children and hosts at random moments leaves no process, no file and no EPC page', async () => {
  expect((await killAtRandomMoments(24)).problems).toEqual([]);
}, 90_000);
