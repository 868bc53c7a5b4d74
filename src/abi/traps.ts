/**
 * Which system calls of a target are trapped, and the seccomp filters that do it, as values.
 * The first filter stands from the start of every program; the second is added (to all threads) when a process first
 * opens or maps one of our devices, because only then can fstat, mprotect, munmap, mremap, madvise and what a device
 * cannot do concern us. A third stands beside the first where CPUID cannot be made to fault. (read and write are too frequent to be trapped: see DeviceFiles.create.)
 *
 * Order inside a filter: architecture, number, arguments, and the instruction pointer last, so that the kernel's
 * bitmap of always-allowed calls stays usable and an untrapped call costs nothing.
 *
 * Spec: linux/seccomp.h, linux/filter.h; docs/design.md, "Inside the target".
 */
import { sgxNodes } from './sgx-uapi/generation.ts';
import { StubFd, StubMap } from './stub.ts';

/**
 * The nodes of all generations, of which a machine has some (SessionHeader.nodes); Op.OPEN names them by index,
 * STUB_DEVICE_FIRST_MINOR + index is the minor.
 */
export const deviceNodes = sgxNodes;

/** A condition on one argument (low 32 bits, all our conditions need no more). */
export type TrapCondition =
  | { readonly arg: number; readonly mask: number; readonly equals: number }
  | { readonly arg: number; readonly from: number; readonly to: number }
  /** The pointer argument is not NULL. */
  | { readonly arg: number; readonly nonNull: true };

/**
 * 'cpuid' stands beside the first on hosts where CPUID cannot be made to fault, 'closes' beside the second where
 * SessionFlags.CLOSES asks for it.
 */
export type FilterName = 1 | 2 | 'cpuid' | 'closes';

export interface Trap {
  readonly name: string;
  readonly nr: number;
  readonly filter: FilterName;
  /** All must hold. Absent: always. */
  readonly when?: readonly TrapCondition[];
  /** Answered by the kernel with this errno instead of trapping. */
  readonly errno?: number;
  readonly why: string;
}

const ENOSYS = 38;
const reservedFd = (arg: number): TrapCondition[] => [{ arg, from: StubFd.GATE, to: StubFd.UFFD }];
const nonNull = (arg: number): TrapCondition[] => [{ arg, nonNull: true }];

const magic = (type: number): TrapCondition[] => [{ arg: 1, mask: 0xff00, equals: type << 8 }];

const path = 'the path may name a device or /proc/self/exe';
const mask = 'our synchronous signals must never be blocked';
const mapping = 'the range may hold an enclave mapping';
const refusal = 'the device has no such operation, the memfd behind it has';
const own = "the stub's own descriptors";
const child = 'a child inherits enclave mappings but not their registration, and has to trap before it touches them';
const closes = 'it may be the last descriptor of an enclave, which then ends';

export const traps: readonly Trap[] = [
  { name: 'open', nr: 2, filter: 1, why: path },
  { name: 'openat', nr: 257, filter: 1, why: path },
  { name: 'openat2', nr: 437, filter: 1, why: path },
  { name: 'stat', nr: 4, filter: 1, why: path },
  { name: 'lstat', nr: 6, filter: 1, why: path },
  { name: 'newfstatat', nr: 262, filter: 1, why: path },
  { name: 'statx', nr: 332, filter: 1, why: path },
  { name: 'access', nr: 21, filter: 1, why: path },
  { name: 'faccessat', nr: 269, filter: 1, why: path },
  { name: 'faccessat2', nr: 439, filter: 1, why: path },
  { name: 'readlink', nr: 89, filter: 1, why: path },
  { name: 'readlinkat', nr: 267, filter: 1, why: path },
  { name: 'getxattr', nr: 191, filter: 1, why: path },
  { name: 'lgetxattr', nr: 192, filter: 1, why: path },
  { name: 'listxattr', nr: 194, filter: 1, why: path },
  { name: 'llistxattr', nr: 195, filter: 1, why: path },
  { name: 'execve', nr: 59, filter: 1, why: 'the new image must start with the loader' },
  { name: 'execveat', nr: 322, filter: 1, why: 'the new image must start with the loader' },
  { name: 'rt_sigaction', nr: 13, filter: 1, why: "the kernel's handler is always ours" },
  { name: 'rt_sigprocmask', nr: 14, filter: 1, why: mask },
  { name: 'rt_sigreturn', nr: 15, filter: 1, why: mask },
  { name: 'rt_sigpending', nr: 127, filter: 1, why: mask },
  { name: 'rt_sigsuspend', nr: 130, filter: 1, why: mask },
  { name: 'rt_sigtimedwait', nr: 128, filter: 1, why: mask },
  { name: 'ppoll', nr: 271, filter: 1, when: nonNull(3), why: mask },
  { name: 'pselect6', nr: 270, filter: 1, when: nonNull(5), why: mask },
  { name: 'epoll_pwait', nr: 281, filter: 1, when: nonNull(4), why: mask },
  { name: 'epoll_pwait2', nr: 441, filter: 1, when: nonNull(4), why: mask },
  { name: 'sigaltstack', nr: 131, filter: 1, why: "the kernel's alternate stack is always ours" },
  {
    name: 'ioctl',
    nr: 16,
    filter: 1,
    when: magic(0xa4),
    why: 'magic 0xA4 is SGX',
  },
  {
    name: 'mmap',
    nr: 9,
    filter: 1,
    when: [{ arg: 3, mask: 0x21, equals: 0x01 }],
    why: 'a shared file mapping may be of an enclave',
  },
  { name: 'close', nr: 3, filter: 1, when: reservedFd(0), why: own },
  { name: 'dup2', nr: 33, filter: 1, when: reservedFd(1), why: own },
  { name: 'dup3', nr: 292, filter: 1, when: reservedFd(1), why: own },
  { name: 'close_range', nr: 436, filter: 1, why: own },
  {
    name: 'arch_prctl',
    nr: 158,
    filter: 1,
    when: [{ arg: 0, from: 0x1011, to: 0x1012 }],
    why: 'ARCH_GET_CPUID and ARCH_SET_CPUID: CPUID faulting is ours',
  },
  {
    name: 'prctl',
    nr: 157,
    filter: 1,
    when: [{ arg: 0, from: 3, to: 4 }],
    why: 'PR_GET_DUMPABLE and PR_SET_DUMPABLE: the host reads the memory of dumpable processes only',
  },
  {
    name: 'clone3',
    nr: 435,
    filter: 1,
    errno: ENOSYS,
    why: 'CLONE_CLEAR_SIGHAND would take our handlers away, and a filter cannot read the flags; libcs fall back to clone',
  },
  { name: 'io_uring_setup', nr: 425, filter: 1, errno: ENOSYS, why: 'its openat would pass unseen' },

  {
    name: 'mmap',
    nr: 9,
    filter: 'cpuid',
    when: [
      { arg: 3, mask: 0x22, equals: 0x02 },
      { arg: 2, mask: 0x4, equals: 0x4 },
    ],
    why: 'code of a file: its CPUID instructions are replaced',
  },

  { name: 'fork', nr: 57, filter: 2, why: child },
  {
    name: 'clone',
    nr: 56,
    filter: 2,
    // Not CLONE_VM, and no stack of its own, on which the child could not come back from a trampoline.
    when: [
      { arg: 0, mask: 0x100, equals: 0 },
      { arg: 1, mask: 0xffff_ffff, equals: 0 },
    ],
    why: child,
  },
  { name: 'fstat', nr: 5, filter: 2, why: 'a device descriptor is a character device' },
  { name: 'mprotect', nr: 10, filter: 2, why: mapping },
  { name: 'pkey_mprotect', nr: 329, filter: 2, why: mapping },
  { name: 'munmap', nr: 11, filter: 2, why: mapping },
  { name: 'mremap', nr: 25, filter: 2, why: mapping },
  { name: 'madvise', nr: 28, filter: 2, why: mapping },
  { name: 'pread64', nr: 17, filter: 2, why: refusal },
  { name: 'pwrite64', nr: 18, filter: 2, why: refusal },
  { name: 'preadv', nr: 295, filter: 2, why: refusal },
  { name: 'pwritev', nr: 296, filter: 2, why: refusal },
  { name: 'preadv2', nr: 327, filter: 2, why: refusal },
  { name: 'pwritev2', nr: 328, filter: 2, why: refusal },
  { name: 'lseek', nr: 8, filter: 2, why: refusal },
  { name: 'ftruncate', nr: 77, filter: 2, why: refusal },
  { name: 'fallocate', nr: 285, filter: 2, why: refusal },
  { name: 'fsync', nr: 74, filter: 2, why: refusal },
  { name: 'fdatasync', nr: 75, filter: 2, why: refusal },
  { name: 'sync_file_range', nr: 277, filter: 2, why: refusal },
  { name: 'readahead', nr: 187, filter: 2, why: refusal },
  { name: 'sendfile', nr: 40, filter: 2, why: refusal },
  { name: 'splice', nr: 275, filter: 2, why: refusal },
  { name: 'copy_file_range', nr: 326, filter: 2, why: refusal },
  { name: 'ioctl', nr: 16, filter: 2, when: magic(0x58), why: 'FS_IOC_*: holes and attributes of the memfd' },
  { name: 'ioctl', nr: 16, filter: 2, when: magic(0x66), why: 'FS_IOC_GETFLAGS and SETFLAGS of the memfd' },
  { name: 'ioctl', nr: 16, filter: 2, when: [{ arg: 1, mask: 0xffff, equals: 0x541b }], why: 'FIONREAD' },
  { name: 'flock', nr: 73, filter: 2, why: 'the lock of a device file is ours: it shows whether anybody has it' },
  { name: 'remap_file_pages', nr: 216, filter: 2, why: mapping },
  { name: 'mmap', nr: 9, filter: 2, when: [{ arg: 3, mask: 0x10, equals: 0x10 }], why: mapping },
  { name: 'mmap', nr: 9, filter: 2, when: [{ arg: 3, mask: 0x20, equals: 0 }], why: 'a private mapping of a device' },

  { name: 'close', nr: 3, filter: 'closes', why: closes },
  { name: 'dup2', nr: 33, filter: 'closes', why: closes },
  { name: 'dup3', nr: 292, filter: 'closes', why: closes },
];

/** One classic-BPF instruction: code, jump if true, jump if false, constant. */
export type Instruction = readonly [code: number, jt: number, jf: number, k: number];

const BPF = {
  LD_W_ABS: 0x20,
  ALU_AND_K: 0x54,
  JMP_JEQ_K: 0x15,
  JMP_JGE_K: 0x35,
  JMP_JGT_K: 0x25,
  RET_K: 0x06,
} as const;
export const SECCOMP_RET_ALLOW = 0x7fff_0000;
export const SECCOMP_RET_TRAP = 0x0003_0000;
/** si_errno of our SIGSYS, so that one of the program's own filter is not taken for it. */
export const TRAP_MARK = 0x5654;
export const SECCOMP_RET_ERRNO = 0x0005_0000;
const AUDIT_ARCH_X86_64 = 0xc000_003e;
const X32_SYSCALL_BIT = 0x4000_0000;
/** struct seccomp_data: nr, arch, instruction_pointer, args[6]. */
const data = {
  nr: 0,
  arch: 4,
  ipLow: 8,
  ipHigh: 12,
  argLow: (i: number) => 16 + 8 * i,
  argHigh: (i: number) => 20 + 8 * i,
};

type Label = string;
type Line =
  | { readonly label: Label }
  | { readonly code: number; readonly k: number; readonly jt?: Label; readonly jf?: Label };

/** Assembles the filter numbered `filter`. */
export function assembleFilter(filter: FilterName): Instruction[] {
  const mine = traps.filter((trap) => trap.filter === filter);
  const numbers = [...new Set(mine.map((trap) => trap.nr))];
  const lines: Line[] = [
    { code: BPF.LD_W_ABS, k: data.arch },
    { code: BPF.JMP_JEQ_K, k: AUDIT_ARCH_X86_64, jf: 'trap' },
    { code: BPF.LD_W_ABS, k: data.nr },
    { code: BPF.JMP_JGE_K, k: X32_SYSCALL_BIT, jt: 'trap' },
  ];
  for (const nr of numbers) {
    const [first] = mine.filter((trap) => trap.nr === nr);
    lines.push({ code: BPF.JMP_JEQ_K, k: nr, jt: first?.when || first?.errno ? `call${nr}` : 'exempt' });
  }
  lines.push({ code: BPF.RET_K, k: SECCOMP_RET_ALLOW });
  for (const nr of numbers) lines.push(...callLines(mine.filter((trap) => trap.nr === nr)));
  lines.push(
    { label: 'exempt' },
    { code: BPF.LD_W_ABS, k: data.ipHigh },
    { code: BPF.JMP_JEQ_K, k: Math.floor(StubMap.IMAGE / 2 ** 32), jf: 'trap' },
    { code: BPF.LD_W_ABS, k: data.ipLow },
    { code: BPF.JMP_JGE_K, k: (StubMap.IMAGE % 2 ** 32) + StubMap.IMAGE_SIZE, jt: 'trap' },
    { code: BPF.RET_K, k: SECCOMP_RET_ALLOW },
    { label: 'trap' },
    { code: BPF.RET_K, k: SECCOMP_RET_TRAP | TRAP_MARK },
  );
  return resolve(lines);
}

/** The alternatives of one call number: the first whose conditions all hold traps it, none lets it pass. */
function callLines(alternatives: readonly Trap[]): Line[] {
  const [first] = alternatives;
  if (!first || (!first.when && first.errno === undefined)) return [];
  const lines: Line[] = [{ label: `call${first.nr}` }];
  if (first.errno !== undefined) return [...lines, { code: BPF.RET_K, k: SECCOMP_RET_ERRNO | first.errno }];
  alternatives.forEach((trap, index) => {
    const next = `call${trap.nr}_${index}`;
    for (const [at, condition] of (trap.when ?? []).entries()) {
      const last = at === (trap.when ?? []).length - 1;
      lines.push(...conditionLines(condition, last ? 'exempt' : undefined, next, `${next}_${at}`));
    }
    lines.push({ label: next });
  });
  lines.push({ code: BPF.RET_K, k: SECCOMP_RET_ALLOW });
  return lines;
}

/** Falls through (or jumps to `yes`) when the condition holds, jumps to `no` when not. */
function conditionLines(condition: TrapCondition, yes: Label | undefined, no: Label, unique: string): Line[] {
  const jt = yes === undefined ? {} : { jt: yes };
  const low = { code: BPF.LD_W_ABS, k: data.argLow(condition.arg) };
  if ('nonNull' in condition) {
    const hold = yes ?? `${unique}_hold`;
    return [
      low,
      { code: BPF.JMP_JEQ_K, k: 0, jf: hold },
      { code: BPF.LD_W_ABS, k: data.argHigh(condition.arg) },
      { code: BPF.JMP_JEQ_K, k: 0, jt: no, ...(yes === undefined ? {} : { jf: yes }) },
      ...(yes === undefined ? [{ label: hold }] : []),
    ];
  }
  if ('from' in condition) {
    return [
      low,
      { code: BPF.JMP_JGE_K, k: condition.from, jf: no },
      { code: BPF.JMP_JGT_K, k: condition.to, jt: no, ...(yes === undefined ? {} : { jf: yes }) },
    ];
  }
  const masked: Line = { code: BPF.ALU_AND_K, k: condition.mask };
  return [low, masked, { code: BPF.JMP_JEQ_K, k: condition.equals, jf: no, ...jt }];
}

function resolve(lines: readonly Line[]): Instruction[] {
  const at = new Map<Label, number>();
  const code: Exclude<Line, { label: Label }>[] = [];
  for (const line of lines) {
    if ('label' in line) at.set(line.label, code.length);
    else code.push(line);
  }
  const distance = (from: number, label: Label | undefined): number => {
    if (label === undefined) return 0;
    const target = at.get(label);
    if (target === undefined || target <= from || target - from - 1 > 255) throw new Error(`cannot reach ${label}`);
    return target - from - 1;
  };
  return code.map((line, index) => [line.code, distance(index, line.jt), distance(index, line.jf), line.k >>> 0]);
}

/** `native/include/traps.h`: the dispatch list and both filters. */
export function generatedHeaders(): { path: string; text: string }[] {
  const handled = traps.filter((trap) => trap.errno === undefined);
  const numbers = [...new Map(handled.map((trap) => [trap.nr, trap.name])).entries()];
  const filterText = (filter: FilterName): string =>
    `static const struct sock_filter filter_${filter}[] = {\n` +
    assembleFilter(filter)
      .map(([code, jt, jf, k]) => `\t{ 0x${code.toString(16)}, ${jt}, ${jf}, 0x${k.toString(16)} },\n`)
      .join('') +
    '};\n';
  const text = [
    '/* Generated by scripts/generate.ts from src/abi/traps.ts; do not edit. */',
    '#ifndef VITRINE_TRAPS_H',
    '#define VITRINE_TRAPS_H',
    '',
    '/* X(number, name): every system call that arrives as SIGSYS, with its handler trap_<name>. */',
    '#define TRAPPED_CALLS(X) \\',
    numbers.map(([nr, name]) => `\tX(${nr}, ${name})`).join(' \\\n'),
    '',
    '/* X(index, path, mode): the device nodes. */',
    '#define DEVICE_NODES(X) \\',
    deviceNodes.map((node, index) => `\tX(${index}, "${node.path}", 0${node.mode.toString(8)})`).join(' \\\n'),
    `#define UNNAMED_NODE ${deviceNodes.findIndex((node) => !node.path.startsWith('/'))}`,
    '',
    `#define TRAP_MARK 0x${TRAP_MARK.toString(16)}`,
    '',
    '#ifdef VITRINE_FILTERS',
    filterText(1),
    filterText('cpuid'),
    filterText(2),
    filterText('closes') + '#endif',
    '',
    '#endif',
    '',
  ].join('\n');
  return [{ path: 'native/include/traps.h', text }];
}
