import { beforeAll, describe, expect, it } from 'vitest';
import { buildPrograms, run } from '../support/target-run.ts';

beforeAll(buildPrograms, 120_000);

describe('registers', () => {
  it('are exact in the save area, synthetic outside, and as the frame has them after ERESUME', async () => {
    const { stdout, stderr, exitCode } = await run([], ['registers']);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    expect(stdout).toMatch(/\n[1-9]\d* checks, 0 failed\n$/);
  });
});
