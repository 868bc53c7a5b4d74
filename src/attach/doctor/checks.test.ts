import { describe, expect, it } from 'vitest';
import { Errno } from '../../lib/errno.ts';
import { checks, diagnose, type Level } from './checks.ts';
import { parseAnswers, type Answer, type HostFacts } from './facts.ts';

const answered = (name: string, answer: Answer): HostFacts => ({
  ...best,
  answers: new Map([...best.answers, [name, answer]]),
});

/** The probe's names, and a host that has everything. */
const PROBED =
  'seccomp seccomp-privileged fsgsbase userfaultfd memfd-exec memory-access sockets reopen eviction wipe-on-fork ' +
  'descriptors cpuid-faulting protection-keys syscall-dispatch small-pages address-space';
const best: HostFacts = {
  kernel: 'Linux 6.12.0',
  architecture: 'x64',
  stub: '/somewhere/vitrine-stub',
  probeFailure: undefined,
  devices: [],
  answers: new Map<string, Answer>([
    ...PROBED.split(' ').map((name): [string, Answer] => [name, { kind: 'ok' }]),
    ['mappings', { kind: 'value', value: 65_522 }],
    ['xcr0', { kind: 'value', value: 0x602ff }],
  ]),
};

function finding(facts: HostFacts, name: string) {
  const found = diagnose(facts).filter((one) => one.name === name);
  expect(found).toHaveLength(1);
  return found[0]!;
}

describe('a host', () => {
  it('that has everything has nothing to be told', () => {
    const notOk = diagnose(best).filter(({ level }) => level !== 'ok');
    expect(notOk.map(({ name }) => name)).toEqual([]);
  });

  it('whose probe never ran cannot run enclaves, and every check says something', () => {
    const facts = { ...best, answers: new Map(), probeFailure: 'SIGKILL' };
    expect(finding(facts, 'stub')).toMatchObject({ level: 'fail', found: expect.stringContaining('SIGKILL') });
    expect(finding(facts, 'seccomp')).toMatchObject({ level: 'fail', found: expect.stringContaining('not tried') });
  });

  it.each<[string, Answer, Level, string, string]>([
    ['seccomp', { kind: 'errno', errno: Errno.EINVAL }, 'fail', 'refused (EINVAL)', 'container'],
    ['seccomp', { kind: 'no-effect' }, 'fail', 'without effect', 'container'],
    ['fsgsbase', { kind: 'signal', signal: 4 }, 'fail', 'killed for trying (SIGILL)', 'nofsgsbase'],
    ['userfaultfd', { kind: 'errno', errno: Errno.EPERM }, 'fail', 'refused (EPERM)', 'userfaultfd'],
    ['memfd-exec', { kind: 'errno', errno: Errno.EACCES }, 'fail', 'refused (EACCES)', 'SELinux'],
    ['memory-access', { kind: 'errno', errno: Errno.EPERM }, 'fail', 'refused (EPERM)', 'ptrace_scope'],
    ['sockets', { kind: 'errno', errno: Errno.EAFNOSUPPORT }, 'fail', 'EAFNOSUPPORT', 'AF_UNIX'],
    ['reopen', { kind: 'errno', errno: Errno.ENOSYS }, 'fail', 'ENOSYS', '/proc'],
    ['eviction', { kind: 'errno', errno: Errno.EINVAL }, 'fail', 'EINVAL', 'splice'],
    ['wipe-on-fork', { kind: 'no-effect' }, 'fail', 'without effect', 'MADV_WIPEONFORK'],
    ['descriptors', { kind: 'errno', errno: Errno.EPERM }, 'fail', 'EPERM', 'ulimit -Hn'],
    ['cpuid-faulting', { kind: 'errno', errno: Errno.ENODEV }, 'limit', 'ENODEV', 'Intel'],
    ['cpuid-faulting', { kind: 'no-effect' }, 'limit', 'without effect', 'Intel'],
    ['protection-keys', { kind: 'errno', errno: Errno.EINVAL }, 'limit', 'EINVAL', 'PKU'],
    ['syscall-dispatch', { kind: 'errno', errno: Errno.EINVAL }, 'limit', 'EINVAL', 'Syscall User Dispatch'],
    ['small-pages', { kind: 'no-effect' }, 'limit', 'without effect', 'shmem_enabled'],
    ['address-space', { kind: 'errno', errno: Errno.ENOMEM }, 'limit', 'ENOMEM', 'ulimit -v'],
    ['address-space', { kind: 'signal', signal: 25 }, 'limit', 'SIGXFSZ', 'ulimit -f'],
    ['mappings', { kind: 'value', value: 8000 }, 'limit', '8000', 'max_map_count'],
  ])('with %s: %j is at the level %s', (name, answer, level, found, remedy) => {
    const one = finding(answered(name, answer), name);
    expect(one).toMatchObject({
      level,
      found: expect.stringContaining(found),
      consequence: expect.stringMatching(/\w/),
      remedy: expect.stringContaining(remedy),
    });
  });

  it('whose processor saves less than a profile offers gets a note that names it', () => {
    const one = finding(answered('xcr0', { kind: 'value', value: 7 }), 'xcr0');
    expect(one).toMatchObject({
      level: 'note',
      found: 'X87|SSE|AVX',
      consequence: expect.stringContaining('TILEDATA'),
    });
  });

  it('where filters need no_new_privs gets a note about sudo', () => {
    const one = finding(answered('seccomp-privileged', { kind: 'errno', errno: Errno.EACCES }), 'no-new-privs');
    expect(one).toMatchObject({ level: 'note', consequence: expect.stringContaining('sudo') });
  });

  it('with SGX of its own gets a note', () => {
    const one = finding({ ...best, devices: ['/dev/sgx_enclave'] }, 'real-sgx');
    expect(one).toMatchObject({ level: 'note', found: '/dev/sgx_enclave' });
  });

  it('without the stub, or of another kind, cannot run', () => {
    expect(finding({ ...best, stub: undefined }, 'stub')).toMatchObject({ level: 'fail', found: 'not built' });
    expect(finding({ ...best, architecture: 'arm64' }, 'kernel').level).toBe('fail');
    expect(finding({ ...best, kernel: 'Darwin 24.1' }, 'kernel').level).toBe('fail');
  });
});

describe('the checks', () => {
  it('have names of their own, and all that the probe answers is judged', () => {
    const names = checks.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    const judged = new Set([...names, 'seccomp-privileged']);
    expect([...best.answers.keys()].filter((name) => !judged.has(name))).toEqual([]);
  });
});

describe("the probe's lines", () => {
  it('are answers', () => {
    const text = 'seccomp=ok\nsockets=errno 97\nfsgsbase=signal 4\nsmall-pages=no-effect\nxcr0=value 0xe7\n';
    expect([...parseAnswers(text)]).toEqual([
      ['seccomp', { kind: 'ok' }],
      ['sockets', { kind: 'errno', errno: 97 }],
      ['fsgsbase', { kind: 'signal', signal: 4 }],
      ['small-pages', { kind: 'no-effect' }],
      ['xcr0', { kind: 'value', value: 0xe7 }],
    ]);
  });

  it('that nobody understands are an error', () => {
    expect(() => parseAnswers('seccomp=perhaps\n')).toThrow('seccomp=perhaps');
  });
});
