import { beforeAll, describe, expect, it } from 'vitest';
import { buildPrograms, run } from '../support/target-run.ts';

beforeAll(buildPrograms, 120_000);

describe('programs with a real enclave', () => {
  it('semantics: every check of what driver and processor answer', async () => {
    const { stdout, stderr, exitCode } = await run([], ['semantics']);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/\n[1-9]\d* checks, 0 failed\n$/);
    expect(exitCode).toBe(0);
  });

  it('under-fire: two threads, a timer signal every 50 us, 50,000 calls', async () => {
    const { stdout, stderr, exitCode } = await run([], ['under-fire', '50000']);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/\n50000 calls, [1-9]\d* signals, 0 wrong answers, 0 strange exits\n$/);
    expect(exitCode).toBe(0);
  });

  it.each(['static', 'static-pie', 'no-pie'])('under-fire, linked %s', async (kind) => {
    const { stdout, stderr, exitCode } = await run([], [`under-fire-${kind}`, '10000']);
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    expect(stdout).toMatch(/\n10000 calls, [1-9]\d* signals, 0 wrong answers, 0 strange exits\n$/);
  });

  it('raw: without libc, its own ENCLU and AEP, ELRANGE at 0 and mapped RWX beforehand', async () => {
    const ended = await run([], ['raw']);
    expect(ended).toMatchObject({ stdout: 'raw: all calls answered, interrupted ones too\n', stderr: '', exitCode: 0 });
  });

  it('pressure: 64 MiB built in 8 MiB of EPC, 16 of them used', async () => {
    const { stdout, stderr, exitCode } = await run(['--epc', '8M'], ['pressure', '4096']);
    expect(stderr).toBe('');
    expect(stdout).toContain('4096 pages written and read back twice, 0 words wrong\n');
    expect(exitCode).toBe(0);
  }, 60_000);
});
