/**
 * Linux values for x86-64 that are not SGX's: memory mappings, open flags, signals, system calls, userfaultfd, procfs.
 * Keys are the kernel's own spellings. What the filters need of seccomp is in traps.ts.
 * Source: include/uapi/asm-generic/{mman-common,mman,fcntl,siginfo,signal}.h, include/uapi/linux/{mman,userfaultfd,fs}.h,
 * arch/x86/entry/syscalls/syscall_64.tbl
 */
import { ioctlTable } from '../lib/ioctl.ts';
import { bitField, layout, u32, u64 } from '../lib/layout.ts';

/** mmap, mprotect: `prot`. */
export const Prot = bitField({ PROT_READ: 0, PROT_WRITE: 1, PROT_EXEC: 2, PROT_GROWSDOWN: 24, PROT_GROWSUP: 25 });
export const PROT_NONE = 0;

/** mmap: how the mapping is shared, the low four bits of `flags`. */
export const MapType = { MAP_SHARED: 0x01, MAP_PRIVATE: 0x02, MAP_SHARED_VALIDATE: 0x03 } as const;
/** mmap: `flags`. */
export const MapFlags = bitField({
  MAP_TYPE: [0, 3, MapType],
  MAP_FIXED: 4,
  MAP_ANONYMOUS: 5,
  MAP_32BIT: 6,
  MAP_GROWSDOWN: 8,
  MAP_DENYWRITE: 11,
  MAP_EXECUTABLE: 12,
  MAP_LOCKED: 13,
  MAP_NORESERVE: 14,
  MAP_POPULATE: 15,
  MAP_NONBLOCK: 16,
  MAP_STACK: 17,
  MAP_HUGETLB: 18,
  MAP_SYNC: 19,
  MAP_FIXED_NOREPLACE: 20,
});

/** mremap: `flags`. */
export const MremapFlags = bitField({ MREMAP_MAYMOVE: 0, MREMAP_FIXED: 1, MREMAP_DONTUNMAP: 2 });

/** madvise: `advice`. */
export const Madvise = {
  MADV_NORMAL: 0,
  MADV_RANDOM: 1,
  MADV_SEQUENTIAL: 2,
  MADV_WILLNEED: 3,
  MADV_DONTNEED: 4,
  MADV_FREE: 8,
  MADV_REMOVE: 9,
  MADV_DONTFORK: 10,
  MADV_DOFORK: 11,
  MADV_MERGEABLE: 12,
  MADV_UNMERGEABLE: 13,
  MADV_HUGEPAGE: 14,
  MADV_NOHUGEPAGE: 15,
  MADV_DONTDUMP: 16,
  MADV_DODUMP: 17,
  MADV_WIPEONFORK: 18,
  MADV_KEEPONFORK: 19,
  MADV_COLD: 20,
  MADV_PAGEOUT: 21,
  MADV_POPULATE_READ: 22,
  MADV_POPULATE_WRITE: 23,
  MADV_DONTNEED_LOCKED: 24,
} as const;

const adviceNames = new Map<number, string>(Object.entries(Madvise).map(([name, value]) => [value, name]));

/** `MADV_DONTNEED` for 4. */
export const adviceName = (advice: number): string => adviceNames.get(advice) ?? `${advice}`;

/** personality: PROT_READ of a mapping implies PROT_EXEC. */
export const READ_IMPLIES_EXEC = 0x0400000;

/** open: the access mode, the low two bits of `flags`. */
export const OpenAccess = { O_RDONLY: 0, O_WRONLY: 1, O_RDWR: 2 } as const;
/** open: `flags`. */
export const OpenFlags = bitField({
  O_ACCMODE: [0, 1, OpenAccess],
  O_CREAT: 6,
  O_EXCL: 7,
  O_NOCTTY: 8,
  O_TRUNC: 9,
  O_APPEND: 10,
  O_NONBLOCK: 11,
  O_DSYNC: 12,
  O_ASYNC: 13,
  O_DIRECT: 14,
  O_LARGEFILE: 15,
  O_DIRECTORY: 16,
  O_NOFOLLOW: 17,
  O_NOATIME: 18,
  O_CLOEXEC: 19,
  O_PATH: 21,
});

export const Signal = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGSTKFLT: 16,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGURG: 23,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGVTALRM: 26,
  SIGPROF: 27,
  SIGWINCH: 28,
  SIGIO: 29,
  SIGPWR: 30,
  SIGSYS: 31,
} as const;

const signalNames = new Map<number, string>(Object.entries(Signal).map(([name, number]) => [number, name]));

/** `SIGSEGV` for 11. */
export function signalName(signal: number): string {
  return signalNames.get(signal) ?? `signal ${signal}`;
}

/** siginfo: si_code of the signals that exceptions become. */
export const SignalCode = {
  SI_USER: 0,
  SI_KERNEL: 128,
  ILL_ILLOPN: 2,
  FPE_INTDIV: 1,
  FPE_FLTINV: 7,
  SEGV_MAPERR: 1,
  SEGV_ACCERR: 2,
  SEGV_PKUERR: 4,
  BUS_ADRALN: 1,
  BUS_ADRERR: 2,
  TRAP_BRKPT: 1,
  TRAP_TRACE: 2,
} as const;

/** System calls by number, for the host's own use; what is trapped in targets is in traps.ts. */
export const Syscall = {
  SYS_mmap: 9,
  SYS_mprotect: 10,
  SYS_munmap: 11,
  SYS_ioctl: 16,
  SYS_mremap: 25,
  SYS_madvise: 28,
  SYS_fcntl: 72,
  SYS_flock: 73,
  SYS_prctl: 157,
  SYS_arch_prctl: 158,
  SYS_futex: 202,
  SYS_tgkill: 234,
  SYS_splice: 275,
  SYS_fallocate: 285,
  SYS_process_vm_readv: 310,
  SYS_process_vm_writev: 311,
  SYS_memfd_create: 319,
  SYS_userfaultfd: 323,
  SYS_pidfd_send_signal: 424,
  SYS_pidfd_open: 434,
  SYS_pidfd_getfd: 438,
} as const;

/** userfaultfd(2): the flag with which an ordinary user may make one. */
export const UFFD_USER_MODE_ONLY = 1;
export const UFFD_API = 0xaa;
export const UffdFeatures = bitField({ UFFD_FEATURE_SIGBUS: 7 });
export const UffdRegisterMode = bitField({ UFFDIO_REGISTER_MODE_MISSING: 0, UFFDIO_REGISTER_MODE_WP: 1 });

const userfaultfd = 'include/uapi/linux/userfaultfd.h';

export const UffdRange = layout(
  'uffdio_range',
  16,
  { source: userfaultfd },
  { start: u64(0, 'first byte'), len: u64(8, 'bytes') },
);

export const UffdApi = layout(
  'uffdio_api',
  24,
  { source: userfaultfd },
  {
    api: u64(0, 'UFFD_API'),
    features: u64(8, 'in: wanted; out: available', UffdFeatures),
    ioctls: u64(16, 'out: bit per available ioctl'),
  },
);

export const UffdRegister = layout(
  'uffdio_register',
  32,
  { source: userfaultfd },
  {
    start: u64(0, 'first byte'),
    len: u64(8, 'bytes'),
    mode: u64(16, 'what is watched', UffdRegisterMode),
    ioctls: u64(24, 'out: bit per available ioctl'),
  },
);

export const uffdIoctls = ioctlTable(UFFD_API, [
  {
    name: 'UFFDIO_REGISTER',
    nr: 0x00,
    dir: 'inout',
    arg: UffdRegister,
    errors: ['EBUSY', 'EFAULT', 'EINVAL'],
    doc: '',
  },
  { name: 'UFFDIO_UNREGISTER', nr: 0x01, dir: 'out', arg: UffdRange, errors: ['EFAULT', 'EINVAL'], doc: '' },
  { name: 'UFFDIO_WAKE', nr: 0x02, dir: 'out', arg: UffdRange, errors: ['EFAULT', 'EINVAL'], doc: '' },
  { name: 'UFFDIO_API', nr: 0x3f, dir: 'inout', arg: UffdApi, errors: ['EFAULT', 'EINVAL', 'EPERM'], doc: '' },
]);

/** PROCMAP_QUERY, Linux 6.11: `query_flags`, of which those of `vma_flags` (below 0x10) also demand that right. */
export const ProcmapQueryFlags = bitField({
  PROCMAP_QUERY_VMA_READABLE: 0,
  PROCMAP_QUERY_VMA_WRITABLE: 1,
  PROCMAP_QUERY_VMA_EXECUTABLE: 2,
  PROCMAP_QUERY_VMA_SHARED: 3,
  PROCMAP_QUERY_COVERING_OR_NEXT_VMA: 4,
  PROCMAP_QUERY_FILE_BACKED_VMA: 5,
});

export const ProcmapQuery = layout(
  'procmap_query',
  104,
  { source: 'include/uapi/linux/fs.h' },
  {
    size: u64(0, 'in: of this struct'),
    queryFlags: u64(8, 'in: which mapping', ProcmapQueryFlags),
    queryAddr: u64(16, 'in: where to look'),
    vmaStart: u64(24, 'out: first byte'),
    vmaEnd: u64(32, 'out: byte after the last'),
    vmaFlags: u64(40, 'out: rights and sharing', ProcmapQueryFlags),
    vmaPageSize: u64(48, 'out: bytes of a page'),
    vmaOffset: u64(56, 'out: where in the file'),
    inode: u64(64, 'out: of the file'),
    devMajor: u32(72, "out: the file system's device"),
    devMinor: u32(76, "out: the file system's device"),
    vmaNameSize: u32(80, 'in, out: bytes for the name, 0 = not wanted'),
    buildIdSize: u32(84, 'in, out: bytes for the build ID, 0 = not wanted'),
    vmaNameAddr: u64(88, 'in: where to put the name'),
    buildIdAddr: u64(96, 'in: where to put the build ID'),
  },
);

/** Of an open /proc/PID/maps. */
export const procfsIoctls = ioctlTable(0x66, [
  {
    name: 'PROCMAP_QUERY',
    nr: 17,
    dir: 'inout',
    arg: ProcmapQuery,
    errors: ['E2BIG', 'EFAULT', 'EINVAL', 'ENAMETOOLONG', 'ENOENT', 'ESRCH'],
    doc: '',
  },
]);
