/** Every ENCLU leaf from a real enclave. What it printed is checked here by an AES-CMAC that is not ours. */
import { cmac } from '@noble/ciphers/aes.js';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildPrograms, run } from '../support/target-run.ts';

beforeAll(buildPrograms, 120_000);

describe('leaves', () => {
  it('EREPORT, EGETKEY, EACCEPT, EMODPE, EACCEPTCOPY, EDECCSSA, AEX-Notify: results, flags and exceptions', async () => {
    const { stdout, stderr, exitCode } = await run([], ['leaves']);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/\n[1-9]\d* checks, 0 failed\n$/);
    expect(exitCode).toBe(0);

    const printed = (name: string): Buffer => Buffer.from(new RegExp(`^${name} (.*)$`, 'm').exec(stdout)![1]!, 'hex');
    const report = printed('report');
    expect(report).toHaveLength(432);
    expect(Buffer.from(cmac(report.subarray(0, 384), printed('key')))).toEqual(report.subarray(416));
  });

  it.each([
    ['skylake', 'rdtsc-illegal'],
    ['icelake', 'rdtsc-legal'],
  ])('RDTSC inside on %s: %s', async (cpu, word) => {
    const { stdout, stderr, exitCode } = await run(['--cpu', cpu], ['leaves', word]);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/\n[1-9]\d* checks, 0 failed\n$/);
    expect(exitCode).toBe(0);
  });

  it('an enclave that wants AEXNOTIFY is refused where the processor has it not', async () => {
    const { stderr, exitCode } = await run(['--cpu', 'icelake'], ['leaves']);
    expect(stderr).toContain('SGX_IOC_ENCLAVE_CREATE: Input/output error');
    expect(exitCode).toBe(1);
  });
});
