// What people give the command by mistake: a sentence that says what is wrong, the exit code that goes with it, and
// never a stack trace.
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SigStruct } from '../../src/abi/sgx-arch.ts';
import { formatIdentity, newIdentity } from '../../src/machine/identity.ts';
import { seededEntropy } from '../../src/processor/seeded-entropy.ts';
import { vitrine, vitrineIn } from '../support/command.ts';
import { testElf } from '../support/enclave-elf.ts';
import { buildPrograms, run } from '../support/target-run.ts';
import type { Ended } from '../support/target-run.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-bad-input-'));
const inFolder = (name: string): string => path.join(folder, name);
beforeAll(buildPrograms, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array, mode = 0o755): string {
  const made = inFolder(name);
  writeFileSync(made, content);
  chmodSync(made, mode);
  return made;
}

/** Ended with the exit code and the sentence, and with nothing that looks like a stack trace or a crash of ours. */
function refusal(exitCode: number, sentence: string | RegExp): Ended {
  const source = typeof sentence === 'string' ? sentence.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&') : sentence.source;
  const stderr = new RegExp(
    `^(?![^]*(?:\\n {4}at |stack trace|FATAL))(?:[^\\n]*\\n)*(?:vitrine|error): [^\\n]*(?:${source})`,
  );
  return { stdout: '', stderr: expect.stringMatching(stderr) as string, exitCode, signal: null };
}

/** The first bytes of an ELF executable for i386. */
const ELF32 = Uint8Array.from([
  ...Buffer.from('\x7fELF\x01\x01\x01', 'latin1'),
  ...new Uint8Array(9),
  2,
  0,
  3,
  0,
  ...new Uint8Array(44),
]);

describe('vitrine run of what is no program', () => {
  it('one that is missing: 127', async () => {
    expect(await vitrine('run', '--', inFolder('none'))).toEqual(refusal(127, 'there is no such file'));
    expect(await vitrine('run', '--', 'no-such-program')).toEqual(refusal(127, 'in no directory of PATH'));
    expect(await vitrine('run', '--', '')).toEqual(refusal(127, 'without a name'));
    expect(await vitrine('run', '--', `${file('plain', '')}/below`)).toEqual(refusal(127, 'there is no such file'));
  });

  it('one that is not executable: 126', async () => {
    expect(await vitrine('run', '--', file('text', '#!/bin/sh\n', 0o644))).toEqual(
      refusal(126, 'no permission to execute it'),
    );
  });

  it('a directory, a symbolic link to itself: 126', async () => {
    expect(await vitrine('run', '--', folder)).toEqual(refusal(126, 'this is a directory'));
    symlinkSync('circle', inFolder('circle'));
    expect(await vitrine('run', '--', inFolder('circle'))).toEqual(refusal(126, 'lead in a circle'));
  });

  it('an empty file, text, a 32-bit program, half a program: 126', async () => {
    expect(await vitrine('run', '--', file('empty', ''))).toEqual(refusal(126, 'the file is empty'));
    expect(await vitrine('run', '--', file('words', 'echo hello\n'))).toEqual(
      refusal(126, 'neither an ELF program nor a script'),
    );
    expect(await vitrine('run', '--', file('elf32', ELF32))).toEqual(refusal(126, 'a 32-bit program'));
    const half = readFileSync(process.execPath).subarray(0, 100);
    expect(await vitrine('run', '--', file('half', half))).toEqual(refusal(126, 'not a program that can be started'));
  });

  it('a script whose interpreter is missing: 127; that names none: 126', async () => {
    expect(await vitrine('run', '--', file('dos', '#!/bin/sh\r\n'))).toEqual(
      refusal(127, /interpreter "\/bin\/sh\\r" is not there/),
    );
    expect(await vitrine('run', '--', file('script', '#!/no/such -x\n'))).toEqual(
      refusal(127, '"/no/such" is not there'),
    );
    expect(await vitrine('run', '--', file('nothing', '#! \n'))).toEqual(refusal(126, 'names no interpreter'));
  });

  it('a program whose ELF interpreter is missing: 127', async () => {
    const program = readFileSync('/bin/true').toString('latin1').replace('/lib64/ld-linux', '/lib64/no-linux');
    expect(await vitrine('run', '--', file('loaderless', Buffer.from(program, 'latin1')))).toEqual(
      refusal(127, 'no such interpreter'),
    );
  });

  it('a set-user-ID program of somebody else: 126; one of our own runs', async () => {
    const own = inFolder('own');
    copyFileSync('/bin/true', own);
    chmodSync(own, 0o4755);
    expect(await vitrine('run', '--', own)).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await vitrine('run', '--', foreignSetUserId())).toEqual(refusal(126, /rights of user \d+ \(set-user-ID\)/));
  });
});

/** Root makes one; others find one, since every system has su. */
function foreignSetUserId(): string {
  if (process.geteuid!() !== 0) return '/bin/su';
  const made = inFolder('foreign');
  copyFileSync('/bin/true', made);
  chownSync(made, 65534, 65534);
  chmodSync(made, 0o4755);
  return made;
}

describe('vitrine run on what is no machine', () => {
  const machine = (name: string, text: string) => vitrine('run', '--machine', file(name, text, 0o644), '--', 'true');

  it.each([
    ['0', 'It has 1M to 64G'],
    ['-1', 'is no size of EPC'],
    ['64M,', 'is no size of EPC'],
    ['64M,0', 'none empty'],
  ])('--epc %s: 125', async (size, sentence) => {
    expect(await vitrine('run', `--epc=${size}`, '--', 'true')).toEqual(refusal(125, sentence));
  });

  it('a machine file that is missing, no JSON, or a directory: 125', async () => {
    expect(await vitrine('run', '--machine', inFolder('none.json'), '--', 'true')).toEqual(
      refusal(125, 'cannot read the machine file'),
    );
    expect(await vitrine('run', '--machine', folder, '--', 'true')).toEqual(
      refusal(125, 'cannot read the machine file'),
    );
    expect(await machine('half.json', '{ "cpu": ')).toEqual(refusal(125, /half\.json: not JSON/));
  });

  it.each([
    ['emodt:11', /EMODT cannot give "11" \(SGX_NOT_TRACKED\)\. It can give SGX_PAGE_NOT_MODIFIABLE \(20\)/],
    ['emodx:20', /There is no leaf and no function of the kernel "emodx"\. Known: ECREATE/],
    ['emodt', /Write WHERE:OUTCOME/],
  ])('--inject %s: 125', async (rule, sentence) => {
    expect(await vitrine('run', `--inject=${rule}`, '--', 'true')).toEqual(refusal(125, sentence));
  });

  it('a machine file with an unknown key: 125, the file, the key and the known ones', async () => {
    const top = await machine('key.json', '{ "cpus": "icelake" }');
    expect(top).toEqual(
      refusal(125, /key\.json: unknown key "cpus"; known: \$schema, cpu, features, epc, sgxUapi, inject, state/),
    );
    const inner = await machine('inner.json', '{ "features": { "sgx3": true } }');
    expect(inner).toEqual(refusal(125, /inner\.json: features: unknown key "sgx3"; known: sgx2, kss/));
  });

  it('a machine that contradicts itself: 125, and what would be right', async () => {
    const text = '{ "features": { "sgx2": false, "aexNotify": true } }';
    expect(await machine('odd.json', text)).toEqual(refusal(125, /odd\.json: features: .*Set both or neither/));
  });

  it('vitrine machine show says the same, with 5, and with 2 when it cannot read the file', async () => {
    expect(await vitrine('machine', 'show', file('show.json', '{ "x": 1 }'))).toEqual(refusal(5, 'unknown key "x"'));
    expect(await vitrine('machine', 'show', 'pentium')).toEqual(refusal(2, 'cannot read the machine file pentium'));
  });
});

describe('a state directory that cannot be trusted', () => {
  const good = formatIdentity(newIdentity(seededEntropy()));
  let count = 0;
  function state(text: string, { mode = 0o600, directoryMode = 0o700 } = {}): string {
    const directory = inFolder(`state-${count++}`);
    mkdirSync(directory);
    writeFileSync(path.join(directory, 'identity.json'), text);
    chmodSync(path.join(directory, 'identity.json'), mode);
    chmodSync(directory, directoryMode);
    return directory;
  }
  const running = (directory: string) => vitrine('run', '--state', directory, '--', 'true');

  it('whose identity is as it was written: runs', async () => {
    expect(await running(state(good))).toMatchObject({ exitCode: 0, stderr: '' });
  });

  it.each([
    ['empty', '', 'it is empty'],
    ['cut off', good.slice(0, 200), 'it is not JSON'],
    ['changed in one digit', good.replace(/"cpuSvn": 1/, '"cpuSvn": 2'), 'not as Vitrine wrote it'],
    ['another file', '[]', 'ownerEpoch is not'],
    ['binary', '\0\x01\x02', 'it is not JSON'],
    ['of the future', good.replace('"version": 1', '"version": 2'), 'a newer Vitrine wrote it'],
  ])('whose identity is %s: 125 and the remedy, and it is left as it is', async (_, text, sentence) => {
    const directory = state(text);
    const ended = await running(directory);
    expect(ended).toEqual(refusal(125, sentence));
    expect(ended).toEqual(refusal(125, 'vitrine machine reset'));
    expect(readFileSync(path.join(directory, 'identity.json'), 'utf8')).toBe(text);
  });

  it('is shown as damaged with 5, and mended by the remedy', async () => {
    const directory = state('');
    expect(await vitrine('machine', 'show', '--state', directory)).toEqual(refusal(5, 'it is empty'));
    expect(await vitrine('machine', 'reset', '--owner-epoch', '--yes', '--state', directory)).toEqual(
      refusal(5, 'it is empty'),
    );
    expect(await vitrine('machine', 'reset', '--state', directory)).toEqual(refusal(1, 'Say --yes if that is meant'));
    expect((await vitrine('machine', 'reset', '--yes', '--state', directory)).exitCode).toBe(0);
    expect(await running(directory)).toMatchObject({ exitCode: 0, stderr: '' });
  });

  it('open to others, the directory or the file: 125 and the chmod', async () => {
    expect(await running(state(good, { mode: 0o640 }))).toEqual(refusal(125, /mode 640.*chmod 600 /));
    expect(await running(state(good, { directoryMode: 0o755 }))).toEqual(refusal(125, /mode 755.*chmod 700 /));
  });

  it('a file in its place, a symbolic link or a directory for the identity: 125', async () => {
    expect(await running(file('no-directory', ''))).toEqual(refusal(125, 'is no directory'));
    const linked = state(good);
    rmSync(path.join(linked, 'identity.json'));
    symlinkSync('/etc/passwd', path.join(linked, 'identity.json'));
    expect(await running(linked)).toEqual(refusal(125, 'ELOOP'));
    const odd = state(good);
    rmSync(path.join(odd, 'identity.json'));
    mkdirSync(path.join(odd, 'identity.json'), 0o700);
    expect(await running(odd)).toEqual(refusal(125, 'is no file'));
  });

  it('somebody else’s: 125', async () => {
    // Root's home is closed to others, and others' files are not root's.
    const directory = process.geteuid!() === 0 ? state(good) : '/root';
    if (directory !== '/root') chownSync(directory, 65534, 65534);
    expect(await running(directory)).toEqual(refusal(125, /belongs to user \d+/));
  });

  it('named, and cannot be made: 125, not a temporary identity', async () => {
    expect(await running('/proc/vitrine')).toEqual(refusal(125, /\/proc\/vitrine cannot be used/));
  });

  it.each(['/nonexistent', '/proc', '/dev/null'])(
    'nowhere, with the home %s: runs, and says what is lost',
    async (home) => {
      const env = { HOME: home, VITRINE_STATE_DIR: undefined, XDG_STATE_HOME: undefined };
      const ended = await vitrineIn({ env }, 'run', '--', 'echo', 'ran');
      expect(ended).toMatchObject({ stdout: 'ran\n', exitCode: 0 });
      expect(ended.stderr).toMatch(/^vitrine: .*: sealed data will not outlive this run; --state DIR .*\n$/);
    },
  );
});

describe('vitrine measure and sign of what is no enclave', () => {
  it('an enclave ELF with lying headers: 3, the field and its offset', async () => {
    const elf = testElf();
    const lie = (name: string, offset: number, bytes: readonly number[]): string => {
      const lying = Uint8Array.from(elf);
      lying.set(bytes, offset);
      return file(name, lying);
    };
    const huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    expect(await vitrine('measure', lie('phoff', 32, huge))).toEqual(refusal(3, /e_phoff at offset 0x20/));
    expect(await vitrine('measure', lie('entry', 24, huge))).toEqual(refusal(3, /e_entry at offset 0x18/));
    expect(await vitrine('measure', lie('phentsize', 54, [1, 0]))).toEqual(refusal(3, /e_phentsize at offset 0x36/));
    expect(await vitrine('measure', lie('filesz', 64 + 32, huge))).toEqual(refusal(3, /p_filesz of segment 0/));
    expect(await vitrine('measure', file('cut', elf.subarray(0, 40)))).toEqual(refusal(3, /ELF header at offset 0x0/));
  });

  it('a file that is missing or a directory: 2; a key that is none: 4; the enclave is looked at all the same', async () => {
    const enclave = file('enclave.elf', testElf());
    const key = inFolder('key.pem');
    await vitrine('keygen', key);
    const sign = (elf: string, pem: string) => vitrine('sign', elf, '--key', pem, '--output', inFolder('out'));
    expect(await vitrine('measure', inFolder('none'))).toEqual(refusal(2, 'cannot read'));
    expect(await sign(folder, key)).toEqual(refusal(2, 'cannot read'));
    expect(await sign(enclave, enclave)).toEqual(refusal(4, 'not an unencrypted private key'));
    expect(await sign(key, key)).toEqual(refusal(3, /e_magic at offset 0x0/));
    expect(await vitrine('sign', enclave, '--key', key, '--output', path.join(folder, 'no', 'out'))).toEqual(
      refusal(2, 'cannot write'),
    );
  });
});

describe('a program with a SIGSTRUCT that is none', () => {
  const programs = path.join(import.meta.dirname, '..', 'programs');
  const signed = path.join(programs, 'build', 'leaves-enclave.sigstruct');

  /** A folder in which `leaves` finds its enclave with this SIGSTRUCT. */
  async function withSigStruct(bytes: Uint8Array): Promise<Ended> {
    const place = mkdtempSync(path.join(folder, 'signed-'));
    mkdirSync(path.join(place, 'build'));
    copyFileSync(path.join(programs, 'build', 'leaves-enclave.elf'), path.join(place, 'build', 'leaves-enclave.elf'));
    writeFileSync(path.join(place, 'build', 'leaves-enclave.sigstruct'), bytes);
    const program = path.join(programs, 'build', 'leaves');
    return vitrineIn({ cwd: place }, 'run', '--trace', '--', program);
  }

  it('starts with the right one', async () => {
    expect((await run([], ['leaves', 'seal', 'leaves-enclave'])).exitCode).toBe(0);
  });

  it.each([
    ['header', 'SGX_INVALID_SIG_STRUCT'],
    ['signature', 'SGX_INVALID_SIGNATURE'],
    ['q1', 'SGX_INVALID_SIGNATURE'],
    ['modulus', 'SGX_INVALID_SIGNATURE'],
  ] as const)('corrupted in %s: the program gets EPERM, and the trace says %s', async (field, code) => {
    const bytes = Uint8Array.from(readFileSync(signed));
    bytes[SigStruct.offsetOf(field) + 1]! ^= 0x10;
    const { stderr, exitCode } = await withSigStruct(bytes);
    expect(stderr).toMatch(/SGX_IOC_ENCLAVE_INIT .* = E(PERM|INVAL)/);
    expect(stderr).toContain(code);
    expect(stderr).not.toMatch(/^ {4}at /m);
    expect(exitCode).toBe(1);
  });
});
