// Six enclaves with one mistake each: the program gets what hardware and Linux give, and the trace has one line that
// says which check it was, what it expected, what it found, and one that says what to do.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildPrograms, run } from '../support/target-run.ts';

let folder: string;
beforeAll(() => {
  buildPrograms();
  folder = mkdtempSync(path.join(tmpdir(), 'vitrine-test-'));
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

interface Line {
  readonly name: string;
  readonly outcome?: string;
  readonly result?: string;
  readonly fault?: unknown;
  readonly why?: Readonly<Record<'check' | 'expected' | 'found' | 'advice', string>>;
}

/** Runs `broken KIND`. What the program says at last, what was refused as data, and the lines under the refusal. */
async function broken(kind: string, ...options: string[]) {
  const file = path.join(folder, `${kind}.jsonl`);
  const { stdout, stderr, exitCode } = await run([...options, '--trace', '--trace', file], ['broken', kind]);
  expect(exitCode).toBe(0);
  const lines = readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((text) => JSON.parse(text) as Line);
  const refused = lines.filter(({ why }) => why !== undefined);
  expect(refused).toHaveLength(1);
  const { name, outcome, result, fault, why } = refused[0]!;
  const [, because, advice] = /\n {9}refused: (.*)\n {9}advice: (.*)\n/.exec(stderr) ?? [];
  expect(because).toBe(`${why!.check}; expected ${why!.expected}, found ${why!.found}`);
  expect(advice).toBe(why!.advice);
  return {
    said: stdout.trimEnd().split('\n').at(-1),
    name,
    outcome,
    result,
    ...(fault !== undefined && { fault }),
    why,
  };
}

const vitrine = path.join(import.meta.dirname, '..', '..', 'bin', 'vitrine');
const worker = path.join(import.meta.dirname, '..', 'programs', 'build', 'worker.elf');

describe('a broken enclave', () => {
  it('a changed page: INIT gives EPERM, for SGX_INVALID_MEASUREMENT', async () => {
    const measured = JSON.parse(execFileSync(vitrine, ['measure', worker, '--json'], { encoding: 'utf8' })) as {
      mrEnclave: string;
    };
    const answer = await broken('page');
    expect(answer).toEqual({
      said: 'INIT errno 1',
      name: 'SGX_IOC_ENCLAVE_INIT',
      outcome: 'errno',
      result: 'EPERM',
      why: {
        check: 'EINIT: SIGSTRUCT.ENCLAVEHASH is MRENCLAVE (SGX_INVALID_MEASUREMENT)',
        expected: measured.mrEnclave,
        found: expect.stringMatching(/^[0-9a-f]{64}$/),
        advice: 'build and sign again, or find what was loaded differently',
      },
    });
    expect(answer.why!.found).not.toBe(measured.mrEnclave);
  });

  // Linux writes every signer's hash into the launch key registers, so being another signer is no mistake by itself.
  // Claiming to be another one is: a signature under a modulus that is not its key's.
  it('another signer than its SIGSTRUCT names: INIT gives EPERM, for SGX_INVALID_SIGNATURE', async () => {
    const number = expect.stringMatching(/^0x[0-9a-f]{8}\.\.\.[0-9a-f]{8} \(\d+ bits\)$/) as string;
    expect(await broken('signer')).toEqual({
      said: 'INIT errno 1',
      name: 'SGX_IOC_ENCLAVE_INIT',
      outcome: 'errno',
      result: 'EPERM',
      why: {
        check: 'EINIT: SIGSTRUCT.Q1 is floor(S^2 / N) (SGX_INVALID_SIGNATURE)',
        expected: number,
        found: number,
        advice: 'sign again, with the key whose modulus is in the SIGSTRUCT',
      },
    });
  });

  it('PROVISIONKEY without permission: CREATE takes it, INIT gives EACCES', async () => {
    expect(await broken('provision')).toEqual({
      said: 'INIT errno 13',
      name: 'SGX_IOC_ENCLAVE_INIT',
      outcome: 'errno',
      result: 'EACCES',
      why: {
        check: 'the attributes are permitted',
        expected: 'DEBUG|MODE64BIT|KSS|AEXNOTIFY',
        found: 'MODE64BIT|PROVISIONKEY',
        advice: 'PROVISIONKEY needs SGX_IOC_ENCLAVE_PROVISION after CREATE; others cannot be permitted',
      },
    });
  });

  it('an XFRM that the processor lacks: CREATE gives EIO, for the #GP of ECREATE', async () => {
    expect(await broken('xfrm', '--cpu', 'skylake')).toEqual({
      said: 'CREATE errno 5',
      name: 'SGX_IOC_ENCLAVE_CREATE',
      outcome: 'errno',
      result: 'EIO',
      why: {
        check: 'XFRM is supported by the processor',
        expected: 'a part of X87|SSE|AVX',
        found: 'X87|SSE|AVX|OPMASK|ZMM_HI256|HI16_ZMM',
        advice: 'leave out what CPUID.12H.1:EDX:ECX does not report, or choose another processor with --cpu',
      },
    });
  });

  it('a busy TCS: EENTER gives #GP, which the vDSO function returns with EENTER as its leaf', async () => {
    expect(await broken('busy')).toEqual({
      said: 'leaf 2 exception 13 error 0',
      name: 'EENTER',
      outcome: 'fault',
      result: '#GP',
      fault: { vector: 13, errorCode: '0x0', address: '0x0' },
      why: {
        check: 'TCS.STATE is INACTIVE',
        expected: 'a TCS that no thread is in',
        found: expect.stringMatching(/^ACTIVE, by thread [1-9]\d*$/),
        advice: 'give every thread a TCS of its own, or let it wait until the other has left',
      },
    });
  });

  it('a VMA wider than its page: any touch is SIGBUS, BUS_ADRERR', async () => {
    expect(await broken('wide')).toEqual({
      said: 'signal 7 code 2 at +0x0',
      name: '#PF',
      outcome: 'signal',
      result: 'SIGBUS',
      why: {
        check: 'the mapping has no more rights than the page was added with',
        expected: 'PROT_READ',
        found: 'PROT_READ|PROT_WRITE|PROT_EXEC',
        advice: 'mprotect the range to the rights of its pages',
      },
    });
  });
});
