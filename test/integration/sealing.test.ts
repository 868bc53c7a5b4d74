/** The identity of a machine by what hangs on it: what a real enclave can open again, where and when. */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { vitrine } from '../support/command.ts';
import { buildPrograms, run } from '../support/target-run.ts';

const SGX_INVALID_CPUSVN = 32;
const SGX_INVALID_ISVSVN = 64;

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-sealing-'));
beforeAll(buildPrograms, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

let state: string;
beforeEach(() => {
  state = mkdtempSync(path.join(folder, 'state-'));
});

interface Answer {
  /** Of the enclave itself. */
  readonly isvSvn: number;
  /** Of the processor itself. */
  readonly cpuSvn: string;
  /** The seal key, 16 bytes, or the SGX code that EGETKEY gave instead. */
  readonly key: Buffer | number;
}

/** @param svns ISVSVN and CPUSVN at which the key is wanted; the present ones, when left out */
async function sealKey(enclave: string, svns: readonly string[] = [], directory = state): Promise<Answer> {
  const { stdout, stderr, exitCode } = await run(['--state', directory], ['leaves', 'seal', enclave, ...svns]);
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  expect(stdout).toMatch(/\n[1-9]\d* checks, 0 failed\n$/);
  const printed = (name: string): string | undefined => new RegExp(`^${name} (.*)$`, 'm').exec(stdout)?.[1];
  const code = printed('code');
  return {
    isvSvn: Number(printed('isvsvn')),
    cpuSvn: printed('cpusvn')!,
    key: code === undefined ? Buffer.from(printed('key')!, 'hex') : Number(code),
  };
}

const NONCE = Buffer.alloc(12);

function seal({ key }: Answer, secret: string): Buffer {
  const cipher = createCipheriv('aes-128-gcm', key as Buffer, NONCE);
  return Buffer.concat([cipher.update(secret), cipher.final(), cipher.getAuthTag()]);
}

function open({ key }: Answer, sealed: Buffer): string {
  const decipher = createDecipheriv('aes-128-gcm', key as Buffer, NONCE).setAuthTag(sealed.subarray(-16));
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]).toString();
}

const machine = (...args: string[]) => vitrine('machine', ...args, '--state', state);

describe('a sealed secret', () => {
  it('survives a restart, and is closed on another identity, after a reset and to a new owner', async () => {
    const sealed = seal(await sealKey('leaves-enclave'), 'treasure');
    expect(open(await sealKey('leaves-enclave'), sealed)).toBe('treasure');

    const elsewhere = await sealKey('leaves-enclave', [], mkdtempSync(path.join(folder, 'state-')));
    expect(() => open(elsewhere, sealed)).toThrow(/authenticate/);

    const exported = await machine('export');
    expect((await machine('reset', '--owner-epoch', '--yes')).exitCode).toBe(0);
    const newOwner = await sealKey('leaves-enclave');
    expect(() => open(newOwner, sealed)).toThrow(/authenticate/);
    expect((await machine('reset', '--yes')).exitCode).toBe(0);
    expect((await sealKey('leaves-enclave')).key).not.toEqual(newOwner.key);

    const file = path.join(state, 'exported.json');
    writeFileSync(file, exported.stdout);
    expect((await machine('import', file, '--yes')).exitCode).toBe(0);
    expect(open(await sealKey('leaves-enclave'), sealed)).toBe('treasure');
  });

  it('obeys the CPUSVN: a newer microcode opens what an older one sealed, not the other way round', async () => {
    const before = await sealKey('leaves-enclave');
    const sealed = seal(before, 'old');
    expect((await machine('update')).exitCode).toBe(0);
    const after = await sealKey('leaves-enclave');
    expect(after.cpuSvn > before.cpuSvn).toBe(true);
    expect(() => open(after, sealed)).toThrow(/authenticate/);
    expect(open(await sealKey('leaves-enclave', ['0', before.cpuSvn]), sealed)).toBe('old');

    expect((await machine('update', '--cpusvn', '1')).exitCode).toBe(0);
    expect((await sealKey('leaves-enclave', ['0', after.cpuSvn])).key).toBe(SGX_INVALID_CPUSVN);
    expect(open(await sealKey('leaves-enclave'), sealed)).toBe('old');
  });

  it('obeys the ISVSVN: a newer enclave opens what an older one sealed, not the other way round', async () => {
    const older = await sealKey('leaves-enclave');
    const newer = await sealKey('leaves-updated');
    expect([older.isvSvn, newer.isvSvn]).toEqual([0, 2]);
    expect(newer.key).not.toEqual(older.key);
    expect(open(await sealKey('leaves-updated', ['0']), seal(older, 'old'))).toBe('old');
    expect((await sealKey('leaves-enclave', ['2'])).key).toBe(SGX_INVALID_ISVSVN);
  });

  it('knows one identity, however many programs start at once for the first time', async () => {
    const keys = await Promise.all(Array.from({ length: 4 }, () => sealKey('leaves-enclave')));
    expect(new Set(keys.map(({ key }) => (key as Buffer).toString('hex'))).size).toBe(1);
  });
});
