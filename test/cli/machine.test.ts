// `vitrine machine` and the machine options of `vitrine run`, from outside.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { vitrine, vitrineIn } from '../support/command.ts';
import { buildPrograms, run, type Ended } from '../support/target-run.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-machine-'));
const state = path.join(folder, 'state');
const inFolder = (name: string): string => path.join(folder, name);
beforeAll(buildPrograms, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

function machineFile(name: string, content: object): string {
  writeFileSync(inFolder(name), JSON.stringify(content));
  return inFolder(name);
}

const json = async (...args: string[]) => {
  const { stdout, stderr, exitCode } = await vitrine('machine', ...args, '--json');
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  return JSON.parse(stdout) as Record<string, unknown>;
};

describe('vitrine machine list and show', () => {
  it('list what there is', async () => {
    const { stdout } = await vitrine('machine', 'list');
    expect(stdout).toMatch(/^PROCESSOR +SGX2 +KSS +AEX-Notify .*\nskylake +no +no +no .*\nicelake +yes +yes +no /);
    expect(await json('list')).toMatchObject([
      { cpu: 'skylake', features: { sgx2: false } },
      { cpu: 'icelake', features: { sgx2: true } },
      { cpu: 'sapphire-rapids', features: { aexNotify: true } },
    ]);
  });

  it('list, as JSON, holds machine files', async () => {
    const { cpu, features } = ((await json('list')) as unknown as { cpu: string; features: object }[])[1]!;
    const shown = await json('show', machineFile('again.json', { cpu, features }));
    expect(shown).toMatchObject({ cpu, features });
  });

  it('show CPUID as programs see it', async () => {
    const { stdout, exitCode } = await vitrine('machine', 'show', 'skylake', '--state', state);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^07H\.0 +\.{8} +\.{7}4 +4\.{7} +\.{8}$/m);
    expect(stdout).toMatch(/^12H\.0 +00000001 +00000000 +00000000 +0000241f$/m);
    expect(stdout).toMatch(/^12H\.2 +80000001 +00000000 +08000001 +00000000$/m);
    expect(stdout).toMatch(/^identity +none yet/m);
    const file = machineFile('two.json', { cpu: 'icelake', epc: '64M,32M', state: 'other' });
    const { epc, cpuid, identity, state: directory } = await json('show', file);
    expect({ epc, identity, directory }).toEqual({
      epc: [2 ** 26, 2 ** 25],
      identity: null,
      directory: inFolder('other'),
    });
    const third = { leaf: 0x12, subleaf: 3, value: { eax: 0x8400_0001, ebx: 0, ecx: 0x0200_0001, edx: 0 } };
    expect(cpuid).toContainEqual(expect.objectContaining(third));
  });

  it('show makes no identity', () => {
    expect(() => statSync(state)).toThrow('ENOENT');
  });

  it('schema is JSON, and needs no identity either', async () => {
    const { stdout } = await vitrineIn({ env: { HOME: '/nonexistent' } }, 'machine', 'schema');
    expect(JSON.parse(stdout)).toMatchObject({ title: 'Vitrine machine', additionalProperties: false });
  });
});

describe('vitrine run --machine', () => {
  const leaves = ['leaves', 'seal', 'leaves-enclave'];
  const noNotify = () => machineFile('quiet.json', { features: { aexNotify: false }, epc: '16M,16M' });

  it('has the processor of the file: one without AEX-Notify refuses an enclave that wants it', async () => {
    const { stderr, exitCode } = await run(['--machine', noNotify()], leaves);
    expect(stderr).toContain('SGX_IOC_ENCLAVE_CREATE: Input/output error');
    expect(exitCode).toBe(1);
  });

  it('has another with --cpu, without the features of the file', async () => {
    expect(await run(['--machine', noNotify(), '--cpu', 'sapphire-rapids'], leaves)).toMatchObject({ exitCode: 0 });
  });

  it('has the EPC of the file, or that of --epc', async () => {
    const sizeIn = async (...options: string[]) => {
      const file = inFolder('trace.jsonl');
      expect(await vitrine('run', '--machine', noNotify(), ...options, '--trace', file, '--', 'true')).toMatchObject({
        exitCode: 0,
      });
      return (JSON.parse(readFileSync(file, 'utf8').split('\n')[0]!) as { machine: { epc: number[] } }).machine.epc;
    };
    expect(await sizeIn()).toEqual([2 ** 24, 2 ** 24]);
    expect(await sizeIn('--epc', '8M')).toEqual([2 ** 23]);
  });

  it('has the identity of the file, beside it', async () => {
    const file = machineFile('placed.json', { state: 'placed' });
    expect((await run(['--machine', file], leaves)).exitCode).toBe(0);
    expect(readFileSync(inFolder('placed/identity.json'), 'utf8')).toContain('made up');
    const { identity } = await json('show', file);
    expect(identity).toEqual({ fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/), cpuSvn: 1 });
  });

  it('swaps pages of an EPC of two sections as of one', async () => {
    const file = machineFile('small.json', { epc: '4M,4M' });
    expect(await run(['--machine', file], ['pressure', '4096'])).toMatchObject({ exitCode: 0, stderr: '' });
  });
});

describe('vitrine machine export, import, reset and update', () => {
  const machine = (...args: string[]) => vitrine('machine', ...args, '--state', state);
  const fingerprint = async () =>
    ((await json('show', '--state', state))['identity'] as { fingerprint: string }).fingerprint;

  it('carry an identity to where it was lost', async () => {
    expect(await machine('export')).toMatchObject({ exitCode: 5, stderr: expect.stringContaining('no identity in') });
    // Nothing is lost, so nothing is asked.
    expect((await machine('reset')).exitCode).toBe(0);
    const first = await fingerprint();
    expect((await machine('export', inFolder('exported.json'))).exitCode).toBe(0);
    expect(statSync(inFolder('exported.json')).mode & 0o777).toBe(0o600);
    expect(await machine('export', inFolder('exported.json'))).toMatchObject({ exitCode: 2 });

    expect(await machine('reset')).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('Say --yes') });
    expect(await fingerprint()).toBe(first);
    expect((await machine('reset', '--yes')).exitCode).toBe(0);
    expect(await fingerprint()).not.toBe(first);
    expect(await machine('import', inFolder('exported.json'))).toMatchObject({ exitCode: 1 });
    expect((await machine('import', inFolder('exported.json'), '--yes')).exitCode).toBe(0);
    expect(await fingerprint()).toBe(first);
  });

  it('refuse what is no exported identity, and keep what is there', async () => {
    const before = await fingerprint();
    writeFileSync(
      inFolder('edited.json'),
      readFileSync(inFolder('exported.json'), 'utf8').replace('"cpuSvn": 1', '"cpuSvn": 9'),
    );
    const refused = await machine('import', inFolder('edited.json'), '--yes');
    expect(refused).toMatchObject({
      exitCode: 5,
      stderr: expect.stringMatching(/edited\.json: it is not as Vitrine wrote it/),
    });
    expect(await machine('import', inFolder('none.json'), '--yes')).toMatchObject({ exitCode: 2 });
    expect(await fingerprint()).toBe(before);
  });

  it('change the CPUSVN, up and down, and nothing else', async () => {
    const before = await fingerprint();
    expect((await machine('update')).stdout).toBe(`identity  ${before}\nCPUSVN    2\n`);
    expect((await machine('update', '--cpusvn', '255')).stdout).toContain('CPUSVN    255');
    expect((await machine('update')).stdout).toContain('CPUSVN    255');
    expect((await machine('update', '--cpusvn', '0')).stdout).toContain('CPUSVN    0');
    expect(await machine('update', '--cpusvn', '256')).toMatchObject({ exitCode: 1 });
  });
});

describe('vitrine machine reset on a terminal', () => {
  /** `script` gives it a terminal, on which `input` is typed. */
  function resetWith(input: string, directory: string): Ended {
    const command = `${path.join(import.meta.dirname, '../../bin/vitrine')} machine reset --state ${directory}`;
    const { status, stdout, stderr, signal } = spawnSync('script', ['-qec', command, '/dev/null'], {
      input,
      encoding: 'utf8',
    });
    return { exitCode: status, stdout, stderr, signal };
  }

  it('asks, and does it for yes only', async () => {
    const directory = inFolder('asked');
    expect(resetWith('', directory).stdout).toMatch(/^identity +[0-9a-f]{16}\r\n/);
    const before = readFileSync(path.join(directory, 'identity.json'), 'utf8');
    const no = resetWith('n\n', directory);
    expect(no.stdout).toMatch(/Go on\? \[y\/N\]/);
    expect(no).toMatchObject({ exitCode: 1, stdout: expect.stringContaining('nothing was changed') });
    expect(readFileSync(path.join(directory, 'identity.json'), 'utf8')).toBe(before);
    expect(resetWith('y\n', directory)).toMatchObject({ exitCode: 0 });
    expect(readFileSync(path.join(directory, 'identity.json'), 'utf8')).not.toBe(before);
  });
});
