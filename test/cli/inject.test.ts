// `vitrine run --inject`: what a program and its user see of it.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildPrograms, run } from '../support/target-run.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-inject-'));
beforeAll(buildPrograms, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

const seal = ['leaves', 'seal', 'leaves-enclave'];

it('the program gets the errno, and the trace says which rule it was', async () => {
  const { stderr, exitCode } = await run(['--trace', '--inject', 'eadd:#GP@page=1'], seal);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/\n +0 {2}EADD address=0x\w+ = #GP\n +refused: nothing is injected; expected EADD as it is, /);
  expect(stderr).toMatch(/SGX_IOC_ENCLAVE_ADD_PAGES .* = EIO .*\n.* found --inject eadd:#GP@page=1\n/);
  expect(stderr).toContain('SGX_IOC_ENCLAVE_ADD_PAGES at +0x1000: Input/output error\n');
});

it('a loader that goes on from `count` ends well', async () => {
  expect(await run(['--inject', 'signal:EINTR@every=3'], seal)).toMatchObject({ stderr: '', exitCode: 0 });
});

it('rules of a machine file hold, too', async () => {
  const file = path.join(folder, 'machine.json');
  writeFileSync(file, '{ "inject": ["einit:SGX_INVALID_MEASUREMENT"] }');
  const { stderr, exitCode } = await run(['--machine', file], seal);
  expect({ stderr, exitCode }).toEqual({
    stderr: expect.stringContaining('SGX_IOC_ENCLAVE_INIT: Operation not permitted'),
    exitCode: 1,
  });
});

it('a rule that has done nothing is named at the end, and why', async () => {
  const inject = ['eaug:#GP', 'egetkey:#GP@nth=100'].flatMap((rule) => ['--inject', rule]);
  const { stderr, exitCode } = await run(inject, seal);
  expect(exitCode).toBe(0);
  expect(stderr).toMatch(
    /^vitrine: --inject eaug:#GP did nothing: EAUG was never met\nvitrine: .* did nothing: EGETKEY was met \w+(?: times)?\n$/,
  );
});
