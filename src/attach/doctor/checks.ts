/**
 * What each answer of this host means: a table of checks, each with its consequence and what to do. Pure, so that hosts
 * which nobody here has can be judged, too. By what was tried, never by versions.
 */
import { signalName } from '../../abi/linux.ts';
import { Xfrm } from '../../abi/sgx-arch.ts';
import { StubFd } from '../../abi/stub.ts';
import { errnoName } from '../../lib/errno.ts';
import { processorProfiles } from '../../machine/profiles.ts';
import type { Answer, HostFacts } from './facts.ts';

/** How much an answer matters, the worst last. */
export const levels = {
  ok: 'as it should be',
  note: 'nothing is missing, but this is to be known',
  limit: 'Vitrine works, with less than it could do',
  fail: 'Vitrine cannot run enclaves here',
} as const;
export type Level = keyof typeof levels;

export interface Verdict {
  readonly level: Level;
  /** What was found, in a few words. */
  readonly found: string;
  /** What follows from it; always there below `ok`. */
  readonly consequence?: string;
  /** What to do; always there for `limit` and `fail`. */
  readonly remedy?: string;
}

export interface Check {
  readonly name: string;
  readonly judge: (facts: HostFacts) => Verdict;
}

export interface Finding extends Verdict {
  readonly name: string;
}

const CONTAINER = 'in a container, allow the call in its seccomp profile (docker run --security-opt seccomp=FILE)';
const OTHER_HOST = 'run on another kernel or machine';

/** A check of one answer: fine when it is ok, else `level` with this consequence and remedy. */
function probed(name: string, fine: string, level: Level, consequence: string, remedy: string): Check {
  return {
    name,
    judge: ({ answers }) => {
      const answer = answerTo(answers, name);
      return answer.kind === 'ok'
        ? { level: 'ok', found: fine }
        : { level, found: describe(answer), consequence, remedy };
    },
  };
}

const answerTo = (answers: HostFacts['answers'], name: string): Answer => answers.get(name) ?? { kind: 'missing' };

function describe(answer: Answer): string {
  switch (answer.kind) {
    case 'ok':
      return 'works';
    case 'errno':
      return `refused (${errnoName(answer.errno)})`;
    case 'signal':
      return `killed for trying (${signalName(answer.signal)})`;
    case 'no-effect':
      return 'accepted, but without effect';
    case 'value':
      return `${answer.value}`;
    case 'missing':
      return 'not tried: the probe did not come so far';
  }
}

const FIRST_FD = Math.min(...Object.values(StubFd));
const LAST_FD = Math.max(...Object.values(StubFd));

/** Below this, enclaves of some ten thousand pages with changing rights run out of mappings. */
const ENOUGH_MAPPINGS = 60_000;

/** In the order of how much depends on them. */
export const checks: readonly Check[] = [
  {
    name: 'kernel',
    judge: ({ kernel, architecture }) =>
      architecture === 'x64' && kernel.startsWith('Linux ')
        ? { level: 'ok', found: `${kernel}, x86-64` }
        : {
            level: 'fail',
            found: `${kernel}, ${architecture}`,
            consequence: "an enclave's code runs on the processor itself, under Linux",
            remedy: 'run on Linux on an x86-64 machine',
          },
  },
  {
    name: 'stub',
    judge: ({ stub, probeFailure }) => {
      const remedy = 'in a clone: npm start, or make -C native (gcc and make are needed for that only, not to run)';
      const consequence = 'nothing can be started';
      if (stub === undefined) return { level: 'fail', found: 'not built', consequence, remedy };
      if (probeFailure === undefined) return { level: 'ok', found: 'built; gcc and make are not needed any more' };
      return { level: 'fail', found: `the probe, its sister, does not run: ${probeFailure}`, consequence, remedy };
    },
  },
  probed(
    'seccomp',
    'system calls can be trapped',
    'fail',
    'without its system calls trapped a program never meets our devices',
    `${CONTAINER}; on a kernel without CONFIG_SECCOMP_FILTER ${OTHER_HOST}`,
  ),
  probed(
    'fsgsbase',
    'threads can set FS and GS base themselves',
    'fail',
    'entering and leaving an enclave changes both: the first entry would end in SIGILL',
    'start Linux without nofsgsbase; the processor must be from 2012 or later, and a VM must pass the feature on',
  ),
  probed(
    'userfaultfd',
    'a touch of an absent page is told',
    'fail',
    'an evicted page would read as zeros; a program ends when it first enters an enclave',
    `${CONTAINER}: userfaultfd; or use a kernel with CONFIG_USERFAULTFD`,
  ),
  probed(
    'memfd-exec',
    'code can run in a memfd',
    'fail',
    "enclave code lies in a memfd and cannot be executed: the program's mmap fails",
    'allow it in SELinux or AppArmor; vm.memfd_noexec may have any value',
  ),
  probed(
    'memory-access',
    'other processes can be read and written when they agree',
    'fail',
    "ioctls give EFAULT, because their arguments cannot be read out of the program's memory",
    'sysctl kernel.yama.ptrace_scope=1 (or 0) as root; in a container, allow process_vm_readv and process_vm_writev',
  ),
  probed(
    'sockets',
    'programs can talk to the machine and be given descriptors',
    'fail',
    'programs cannot reach the machine',
    'allow AF_UNIX sockets in the sandbox or container',
  ),
  probed(
    'reopen',
    'open files can be told apart by locks and processes by pidfds',
    'fail',
    'nobody would know when an enclave has lost its last user',
    `mount /proc in the container; allow pidfd_open and flock there; before Linux 5.3 ${OTHER_HOST}`,
  ),
  probed(
    'eviction',
    'pages move out of memory without a copy',
    'fail',
    'no page can be evicted without losing what is written to it meanwhile',
    `${CONTAINER}: splice and fallocate`,
  ),
  probed(
    'wipe-on-fork',
    'a fork child knows that it is one',
    'fail',
    'children of a program would be mistaken for their parents',
    `${OTHER_HOST} (MADV_WIPEONFORK)`,
  ),
  probed(
    'descriptors',
    `descriptors ${FIRST_FD} to ${LAST_FD} can be had`,
    'fail',
    'the stub keeps its descriptors there: the program ends before it starts',
    `raise the hard limit of open files to ${LAST_FD + 1} or more (ulimit -Hn ${LAST_FD + 1})`,
  ),
  probed(
    'cpuid-faulting',
    'programs can be shown a processor with SGX',
    'limit',
    'CPUID is replaced in the code of ELF files instead: what a program makes at run time sees the real processor, without SGX; ' +
      'in an enclave CPUID is executed, where hardware raises #UD',
    'an Intel processor from 2012 or later on bare metal, or KVM with Intel hosts; many hosted CI machines and AMD have not got it',
  ),
  probed(
    'protection-keys',
    'enclave memory is locked for the rest of its process',
    'limit',
    'enclave memory is open to the rest of its process, where hardware shows ones: a program that peeks is not caught',
    'a processor with PKU (Intel server from Skylake, desktop from 11th generation, AMD from Zen 3), or a VM that passes it on',
  ),
  probed(
    'syscall-dispatch',
    'a SYSCALL inside an enclave can be stopped',
    'limit',
    'a SYSCALL inside an enclave is made, where hardware raises #UD; every entry traps and costs 3 us more',
    `${OTHER_HOST} (Syscall User Dispatch)`,
  ),
  probed(
    'small-pages',
    'memfds get memory in small pages',
    'limit',
    'touching a page of an enclave takes 2 MiB, and evicting one means splitting them: not tested',
    'as root: echo never > /sys/kernel/mm/transparent_hugepage/shmem_enabled',
  ),
  probed(
    'address-space',
    'there is room for enclaves of 64 GiB',
    'limit',
    'large enclaves cannot be created or mapped',
    'lift the limits of address space and file size (ulimit -v unlimited; ulimit -f unlimited)',
  ),
  {
    name: 'mappings',
    judge: ({ answers }) => {
      const answer = answerTo(answers, 'mappings');
      if (answer.kind === 'value' && answer.value >= ENOUGH_MAPPINGS) {
        return { level: 'ok', found: `a process can have ${answer.value} or more` };
      }
      return {
        level: 'limit',
        found: answer.kind === 'value' ? `a process can have ${answer.value}` : describe(answer),
        consequence: 'enclaves of many thousand pages whose rights change from page to page fail with ENOMEM',
        remedy: 'sysctl vm.max_map_count=65530 as root, or more',
      };
    },
  },
  {
    name: 'xcr0',
    judge: ({ answers }) => {
      const answer = answerTo(answers, 'xcr0');
      const xcr0 = answer.kind === 'value' ? BigInt(answer.value) : 0n;
      const offered = Object.values(processorProfiles).reduce((all, { xfrm }) => all | xfrm, 0n);
      const missing = offered & ~xcr0;
      const found = Xfrm.format(xcr0);
      if (missing === 0n) return { level: 'ok', found };
      const consequence = `no profile offers ${Xfrm.format(missing)} here: an enclave that asks for it gets EIO from CREATE`;
      return { level: 'note', found, consequence };
    },
  },
  {
    name: 'no-new-privs',
    judge: ({ answers }) =>
      answerTo(answers, 'seccomp-privileged').kind === 'ok'
        ? { level: 'ok', found: 'not needed: you may filter system calls as you are' }
        : {
            level: 'note',
            found: 'needed to trap system calls',
            consequence: 'sudo, ping and other setuid programs have no privileges under vitrine run',
            remedy: 'run vitrine as root, in a container of its own, if the program must call them',
          },
  },
  {
    name: 'real-sgx',
    judge: ({ devices }) =>
      devices.length === 0
        ? { level: 'ok', found: 'none, which is what Vitrine is for' }
        : {
            level: 'note',
            found: devices.join(', '),
            consequence: 'under vitrine run a program meets ours; the real ones are never touched',
          },
  },
];

export function diagnose(facts: HostFacts): Finding[] {
  return checks.map(({ name, judge }) => ({ name, ...judge(facts) }));
}
