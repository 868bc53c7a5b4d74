import { Command } from 'commander';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { testElf } from '../../test/support/enclave-elf.ts';
import { Attributes } from '../abi/sgx-arch.ts';
import { mrSigner, parseSigStruct, sigStructIsValid } from '../formats/sigstruct.ts';
import { toHex } from '../lib/bytes.ts';
import { registerMeasure } from './measure.ts';
import { registerSign } from './sign.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-sign-'));
const inFolder = (name: string): string => path.join(folder, name);
const enclave = inFolder('enclave.elf');
const key = inFolder('key.pem');
const output = inFolder('enclave.sigstruct');

beforeAll(async () => {
  writeFileSync(enclave, testElf());
  await vitrine('keygen', key);
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function vitrine(...args: string[]): Promise<Outcome> {
  let stdout = '';
  let stderr = '';
  const log = vi.spyOn(console, 'log').mockImplementation((line) => {
    stdout += `${line}\n`;
  });
  const program = new Command('vitrine').exitOverride().configureOutput({ writeErr: (text) => (stderr += text) });
  registerMeasure(program);
  registerSign(program);
  for (const command of program.commands) command.copyInheritedSettings(program);
  const exitCode = await program.parseAsync(args, { from: 'user' }).then(
    () => 0,
    (error: { exitCode: number }) => error.exitCode,
  );
  log.mockRestore();
  return { exitCode, stdout, stderr };
}

describe('vitrine measure', () => {
  it('prints MRENCLAVE and the pages', async () => {
    const { exitCode, stdout } = await vitrine('measure', enclave);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^MRENCLAVE {3}[0-9a-f]{64}\nSIZE {8}0x8000\nATTRIBUTES {2}MODE64BIT\n/);
    expect(stdout).toContain('PT=TCS      measured      TCS 0');
  });

  it('prints JSON with the same MRENCLAVE', async () => {
    const text = await vitrine('measure', enclave);
    const json = JSON.parse((await vitrine('measure', enclave, '--json')).stdout) as Record<string, unknown>;
    expect(text.stdout).toContain(json['mrEnclave']);
    expect(json).toMatchObject({ sizeBytes: 0x8000, attributes: '0x4', xfrm: '0x3' });
  });

  it('answers 2 when the file is not there', async () => {
    const { exitCode, stderr } = await vitrine('measure', inFolder('none'));
    expect(exitCode).toBe(2);
    expect(stderr).toContain('error: cannot read ');
  });

  it('answers 3 when the file is no enclave, naming file, field and offset', async () => {
    const { exitCode, stderr } = await vitrine('measure', key);
    expect(exitCode).toBe(3);
    expect(stderr).toContain(`error: ${key}: e_magic at offset 0x0: `);
  });
});

describe('vitrine sign', () => {
  beforeEach(() => rmSync(output, { force: true }));

  it('writes a valid SIGSTRUCT of the measurement and prints both identities', async () => {
    const { exitCode, stdout } = await vitrine('sign', enclave, '--key', key, '--output', output, '--json');
    const signed = readFileSync(output);
    const { enclaveHash, modulus, attributeMask } = parseSigStruct(signed, output);
    expect(exitCode).toBe(0);
    expect(sigStructIsValid(signed)).toBe(true);
    expect(attributeMask & Attributes.mask.DEBUG).toBe(0n);
    expect(JSON.parse(stdout)).toMatchObject({
      mrEnclave: toHex(enclaveHash),
      mrSigner: toHex(mrSigner(modulus)),
      output,
    });
    expect((await vitrine('measure', enclave)).stdout).toContain(toHex(enclaveHash));
  });

  it('puts the options where EINIT looks', async () => {
    const options = ['--isv-prod-id', '7', '--isv-svn', '3', '--date', '2026-01-31', '--no-debug'];
    expect((await vitrine('sign', enclave, '--key', key, '--output', output, ...options)).exitCode).toBe(0);
    const signed = parseSigStruct(readFileSync(output), output);
    expect(signed).toMatchObject({ isvProdId: 7, isvSvn: 3, date: 0x20260131 });
    expect(signed.attributeMask & Attributes.mask.DEBUG).toBe(Attributes.mask.DEBUG);
  });

  it('answers 4 to a key that cannot sign enclaves, and says how to make one that can', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 65537 });
    writeFileSync(inFolder('wrong.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const { exitCode, stderr } = await vitrine('sign', enclave, '--key', inFolder('wrong.pem'), '--output', output);
    expect(exitCode).toBe(4);
    expect(stderr).toContain('public exponent 65537; SGX wants 3: make one with `vitrine keygen KEY.pem`');
  });

  it.each([
    ['--isv-svn', '65536'],
    ['--isv-prod-id', ''],
    ['--date', '2026-02-30'],
    ['--date', 'yesterday'],
  ])('answers 1 to %s %s', async (option, value) => {
    const { exitCode, stderr } = await vitrine('sign', enclave, '--key', key, '--output', output, option, value);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('Expected a ');
  });

  it('answers 2 when the output cannot be written', async () => {
    expect((await vitrine('sign', enclave, '--key', key, '--output', inFolder('no/such/folder'))).exitCode).toBe(2);
  });
});

describe('vitrine keygen', () => {
  it('writes a key only its owner can read', () => {
    expect(statSync(key).mode & 0o777).toBe(0o600);
  });

  it('answers 2 rather than replace a key', async () => {
    const before = readFileSync(key);
    expect((await vitrine('keygen', key)).exitCode).toBe(2);
    expect(readFileSync(key)).toEqual(before);
  });
});
