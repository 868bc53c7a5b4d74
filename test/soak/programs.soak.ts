import { beforeAll, describe, expect, it } from 'vitest';
import { buildPrograms, run } from '../support/target-run.ts';

beforeAll(buildPrograms, 120_000);

describe('long runs', () => {
  it('under-fire: 1,000,000 calls under signals', async () => {
    const { stdout, exitCode } = await run([], ['under-fire', '1000000']);
    expect(stdout).toMatch(/\n1000000 calls, [1-9]\d* signals, 0 wrong answers, 0 strange exits\n$/);
    expect(exitCode).toBe(0);
  });

  it('pressure: 64 MiB of heap in 8 MiB of EPC', async () => {
    const { stdout, exitCode } = await run(['--epc', '8M'], ['pressure']);
    expect(stdout).toContain('0 words wrong\n');
    expect(exitCode).toBe(0);
  });
});
