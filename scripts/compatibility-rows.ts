/**
 * What docs/compatibility.md says in words: behaviours of Linux's SGX driver and of the processor that a program, or
 * its author, notices first, and how we stand to each. A row is done by tests that are there; the generator looks.
 */

/** A file, and words of a title in it (in C: of the line that a reader has to find). */
export type TestReference = readonly [file: string, words: string];

export interface Row {
  readonly behaviour: string;
  /** What shows it. A row with tests only is done. */
  readonly tests?: readonly TestReference[];
  /** How it differs here, and why; for good. */
  readonly different?: string;
  /** What is missing, in the code or in the tests. */
  readonly notYet?: string;
}

const processor = (leaf: string, words: string): TestReference => [`test/model/processor/${leaf}.test.ts`, words];
const device = (ioctl: string, words: string): TestReference => [`test/model/devices/${ioctl}.test.ts`, words];
/** Tables that run on virtual and on real processes. */
const driver = (table: string, words: string): TestReference => [`test/cases/${table}.ts`, words];
const kernel = (part: string, words: string): TestReference => [`test/model/kernel/${part}.test.ts`, words];
const broken = (words: string): TestReference => ['test/integration/broken.test.ts', words];
/** Real programs: the source line that checks it; test/integration runs them. */
const program = (name: string, words: string): TestReference => [`test/programs/${name}.c`, words];

/** Leaves that have no file, with the reason. */
export const leavesNotHere: Readonly<Record<string, Pick<Row, 'different' | 'notYet'>>> = {
  ERDINFO: { different: 'for virtual machine monitors; Linux does not use it' },
  ETRACKC: { different: 'for virtual machine monitors; Linux does not use it' },
  ELDBC: { different: 'for virtual machine monitors; Linux does not use it' },
  ELDUC: { different: 'for virtual machine monitors; Linux does not use it' },
  EUPDATESVN: { different: 'a firmware update without a restart; no profile reports it' },
  EVERIFYREPORT2: { different: 'for TDX; no profile reports it' },
};

export const mappingRules: readonly Row[] = [
  {
    behaviour: 'mmap with MAP_PRIVATE: EINVAL, before anything else',
    tests: [driver('mmap', 'EINVAL: MAP_PRIVATE, before everything else'), program('semantics', 'MAP_PRIVATE')],
  },
  {
    behaviour: 'mmap after INIT outside ELRANGE: EACCES; before INIT, and before CREATE, anything anywhere',
    tests: [
      driver('mmap', 'EACCES: initialized and before ELRANGE'),
      driver('mmap', 'anything anywhere on a fresh file'),
    ],
  },
  {
    behaviour: 'personality READ_IMPLIES_EXEC: EACCES in any state',
    tests: [
      driver('mmap', 'EACCES: READ_IMPLIES_EXEC, on a fresh file'),
      driver('mappings', 'EACCES: READ_IMPLIES_EXEC'),
    ],
  },
  {
    behaviour: 'every page that is there must allow all rights asked for, else EACCES; absent pages impose nothing',
    tests: [driver('mmap', 'one page of many is enough'), driver('mmap', 'pages that are not there impose nothing')],
  },
  {
    behaviour: 'the file offset is ignored: a page is known by its linear address',
    tests: [
      program('semantics', 'MAP_SHARED, fd, 0x5000'),
      driver('mappings', 'a moved mapping is of the pages at its new addresses'),
    ],
  },
  {
    behaviour: 'a descriptor opened without the right to read or write cannot be mapped: EACCES',
    tests: [driver('mmap', 'EACCES: a file opened O_WRONLY'), driver('mmap', 'PROT_WRITE of a file opened O_RDONLY')],
  },
  {
    behaviour: 'mprotect asks what mmap asked, for the exact sub-range',
    tests: [
      driver('mappings', 'EACCES for the exact sub-range only'),
      driver('mappings', 'EACCES for one mapping: those before it are changed, those behind not'),
      program('mappings', 'static void protected'),
    ],
  },
  {
    behaviour: 'the limit of a page: SECINFO RWX of EADD, RW for a TCS, RWX after EAUG; RESTRICT does not lower it',
    tests: [
      driver('page-changes', 'RESTRICT does not lower the limit of mappings'),
      driver('page-changes', 'REG to TCS: the limit of mappings becomes RW'),
    ],
  },
  {
    behaviour: 'a mapping wider than the limit of its page: SIGBUS at any touch',
    tests: [
      broken('a VMA wider than its page'),
      driver('lifetime', 'SIGBUS: inside, a mapping that is wider than its page'),
      kernel('fault', 'bus: the VMA has more rights than the page was added with'),
    ],
  },
  {
    behaviour: 'mremap: a move is allowed, growing is EFAULT',
    tests: [
      driver('mappings', 'EFAULT: a mapping does not grow in place'),
      driver('mappings', 'a mapping shrinks and moves'),
    ],
  },
  {
    behaviour: 'madvise: DONTNEED, DODUMP and DOFORK are EINVAL',
    tests: [driver('mappings', 'madvise: EINVAL')],
  },
  {
    behaviour: 'munmap keeps the pages; an enclave lives until its last descriptor and mapping are gone',
    tests: [
      driver('lifetime', 'content survives munmap and mmap'),
      kernel('revocation', 'lives until the last descriptor and the last mapping are gone'),
      program('mappings', 'static void unmapped'),
    ],
  },
  {
    behaviour: "fork inherits mappings; the child is in the enclave's list of processes",
    tests: [driver('lifetime', 'fork: the child enters the enclave'), program('processes', 'static void orphan')],
  },
  {
    behaviour: 'ptrace and /proc/PID/mem: by EDBGRD and EDBGWR of debug enclaves, EIO else',
    tests: [
      kernel('access', 'EIO: the enclave was created with ATTRIBUTES.DEBUG'),
      kernel('access', 'reads any bytes of a debug enclave, over units and pages'),
    ],
    different: 'in the model; a debugger of a real program sees the memory of any enclave, for it is a memfd',
  },
  {
    behaviour: 'process_vm_readv, O_DIRECT and vmsplice of enclave memory by others: EFAULT',
    different: 'the memory is a memfd mapping like any other, so they read what is there: this is glass',
  },
];

/** The descriptor, and processes that share what is behind it. */
export const descriptors: readonly Row[] = [
  {
    behaviour:
      'A device has no llseek, fsync, splice, fallocate...: each errno as of a character device without it, EBADF first',
    tests: [
      driver('files', 'sync_file_range'),
      driver('files', 'FIONREAD'),
      driver('files', 'EBADF: not open for reading'),
      driver('lifetime', 'a process that has opened no device itself'),
    ],
  },
  {
    behaviour: 'read, write, readv, writev and F_ADD_SEALS of a device: EINVAL; F_GETFL: the mode of the open',
    different:
      'read and readv give 0, write, writev and F_ADD_SEALS EPERM, an enclave is O_RDWR: traps would slow all programs',
  },
  {
    behaviour: 'An open of /proc/PID/fd/N of a device is a fresh file of its node',
    tests: [driver('files', 'opens another file of the node')],
    different: 'through a symbolic link of any other name it is EACCES, or for root the memfd itself',
  },
  {
    behaviour: 'A descriptor that was passed (SCM_RIGHTS, pidfd_getfd) serves to go on building, to map and to enter',
    tests: [
      driver('lifetime', 'the receiver goes on building what an ended process began'),
      driver('lifetime', 'the receiver maps at the base, enters'),
      program('sharing', 'static void taken'),
    ],
  },
  {
    behaviour: 'The last reference, descriptor, one on its way, or mapping, frees all pages, by whatever death',
    tests: [
      driver('tables', 'not while a descriptor is on its way'),
      driver('tables', 'not while a killed process has sent it away'),
      driver('tables', 'trimmed, never removed and waiting pages'),
    ],
  },
  {
    behaviour:
      'Unrelated processes inside one enclave: a busy TCS is #GP, what one cuts holds in all when the ioctl returns',
    tests: [
      program('sharing', 'static void busy_elsewhere'),
      program('sharing', 'static void cut_stopped_deaf'),
      program('sharing', 'static void trim_running'),
    ],
  },
  {
    behaviour: 'A process that dies inside: its TCS is as after an AEX, for whoever maps the enclave then',
    tests: [program('sharing', 'static void dies_inside_alone'), ['test/attach/dead-threads.test.ts', 'as by an AEX']],
    different: 'the frame in the SSA is that of the last AEX before',
  },
];

/** In the order of the list that the project began with; each is one thing that runtimes or their tests depend on. */
export const behaviours: readonly Row[] = [
  {
    behaviour:
      'After an AEX a signal handler sees RIP = AEP, RAX = 3, RBX = TCS, RCX = AEP, and RSP and RBP of the EENTER',
    tests: [
      program('semantics', 'handler_rax == 3'),
      processor('aex', 'shows synthetic ones from which ENCLU is ERESUME'),
    ],
  },
  {
    behaviour:
      'A handler may enter the same TCS again, on its next SSA frame; the return to AEP then resumes the first',
    tests: [
      program('semantics', 'Nested: the same TCS is entered from the handler'),
      processor('eresume', 'works over a nested entry through the same TCS'),
    ],
  },
  {
    behaviour: 'An EENTER that faults by itself shows its own ENCLU and leaf 2, an AEX leaf 3',
    tests: [broken('a busy TCS'), program('semantics', 'run.function == 3 && run.exception_vector == 6')],
  },
  {
    behaviour: 'FS and GS base change at every way in and out; handlers run with those of the host',
    tests: [
      processor('eexit', 'segment bases and TF restored'),
      ['test/integration/programs.test.ts', 'under-fire: two threads, a timer signal every 50 us'],
    ],
  },
  {
    behaviour: 'SYSCALL and CPUID inside are #UD; RDTSC too on a processor with SGX1 only',
    tests: [
      program('semantics', 'WORK_SYSCALL'),
      program('semantics', 'WORK_CPUID'),
      ['test/integration/leaves.test.ts', 'RDTSC inside'],
    ],
  },
  {
    behaviour: 'GPRSGX, EXITINFO and EXINFO in the SSA are exact, and ERESUME honours what a handler inside edits',
    tests: [
      processor('aex', 'reports #PF and its address and error code with MISCSELECT.EXINFO'),
      processor('eresume', 'honours what an in-enclave handler wrote into the frame'),
      program('registers', 'static void exception('),
    ],
  },
  {
    behaviour:
      '__vdso_sgx_enter_enclave is found by section headers, hash tables, versions and ld.so, and behaves as Linux has it',
    tests: [
      ['native/test/vdso-test.c', 'section headers'],
      program('semantics', 'enter_worker(enter, NULL, &run, 5) == -EINVAL'),
    ],
  },
  {
    behaviour: 'ADD_PAGES may do a part: 0 with count below length; the struct is written back on errors, too',
    tests: [
      driver('add-pages', '0 and a part of count: a signal after the first page'),
      driver('add-pages', 'EBUSY in the middle'),
    ],
  },
  {
    behaviour: 'SGX2 ioctls on a fresh file: EINVAL with SGX2, ENODEV without',
    tests: [driver('page-changes', 'EINVAL on a fresh file, with zeros'), driver('sgx1', 'ENODEV on a fresh file')],
  },
  {
    behaviour: 'PROVISION before CREATE is lost; PROVISIONKEY without it passes CREATE and fails at INIT with EACCES',
    tests: [driver('init', 'PROVISION before CREATE is lost'), broken('PROVISIONKEY without permission')],
  },
  {
    behaviour: 'Every SGX code of EINIT is EPERM; faults of ECREATE and EADD are EIO',
    tests: [
      broken('a changed page'),
      broken('an XFRM that the processor lacks'),
      driver('add-pages', 'EADD faults on a TCS with reserved bits'),
      driver('create', 'EIO: ECREATE faults'),
    ],
  },
  {
    behaviour: 'Reports and keys: MAC, derivation inputs, stability, alignment and reserved fields',
    tests: [
      processor('key-derivation', 'a key, against an implementation from the specification alone'),
      processor('egetkey', 'KEYREQUEST reserved fields are zero'),
      processor('ereport', 'says who the enclave is'),
      program('leaves', 'static void reports'),
      program('leaves', 'static void keys'),
    ],
  },
  {
    behaviour: 'CPUID 7, 12H.0, 12H.1 and 12H.2 agree with each other and with XCR0',
    tests: [
      ['src/processor/cpuid.test.ts', '12H.1: the ATTRIBUTES and XFRM that ECREATE allows'],
      ['src/processor/cpuid.test.ts', 'has no more XSAVE components than the host enables'],
      program('semantics', 'static void processor('),
    ],
  },
  {
    behaviour:
      'Pages of EAUG are zero, RW, PENDING: the first touch faults with 0x8007; EACCEPT brings the page by itself',
    tests: [kernel('run', 'grows by touch: EAUG, 0x8007'), kernel('run', 'grows by EACCEPT')],
  },
  {
    behaviour: 'munmap frees no page, close keeps the enclave while it is mapped, contents go by address',
    tests: [
      driver('lifetime', 'content survives munmap and mmap'),
      kernel('revocation', 'close with mappings keeps it'),
    ],
  },
  {
    behaviour: 'MAP_PRIVATE is EINVAL; rights above the limit of a page are EACCES, or SIGBUS when mapped before',
    tests: [driver('mmap', 'EINVAL: MAP_PRIVATE'), broken('a VMA wider than its page')],
  },
  {
    behaviour: 'Page fault addresses are those of pages; error codes tell 0x6, 0x7 and 0x8007 apart',
    tests: [
      kernel('fault', 'rights of the VMA, page present: P is set and the SGX bit is not'),
      kernel('fault', 'PROT_NONE: P is clear, nothing is brought'),
      kernel('fault', 'EPCM rights: the SGX bit'),
    ],
  },
  {
    behaviour: 'MODIFY_TYPES to TCS takes all rights from the EPCM entry and sets the limit of mappings to RW',
    tests: [
      driver('page-changes', 'REG to TCS: the limit of mappings becomes RW'),
      processor('emodt', 'makes PT_REG a PT_TCS that is MODIFIED, without rights'),
    ],
  },
  {
    behaviour:
      'REMOVE before EACCEPT is EPERM; a trimmed page faults with 0x8005 until it is removed; then it can grow anew',
    tests: [
      driver('page-changes', 'EPERM: the trim is not accepted'),
      kernel('run', 'trims, is faulted with 0x8005 before and after EACCEPT, removes, and gets a fresh page'),
    ],
  },
  {
    behaviour: 'result and count of the SGX2 ioctls must be 0 on the way in, and are exact on the way out',
    tests: [
      driver('page-changes', 'EINVAL: count has to be 0'),
      driver('page-changes', 'EFAULT with result 20: the page is PENDING'),
    ],
  },
  {
    behaviour: 'From outside enclave memory reads as ones and swallows writes, without a signal; system calls likewise',
    tests: [program('semantics', 'static void abort_page'), kernel('fault', 'a present page is an abort page')],
    different:
      'a system call gets EFAULT; without protection keys the memory is open to its process, and doctor says so',
  },
  {
    behaviour: 'EEXIT leaves RSP, RBP, flags and SSE as they are, and gives AEP in RCX',
    tests: [
      processor('eexit', 'goes to RBX with the AEP in RCX'),
      ['test/integration/programs.test.ts', 'under-fire: two threads, a timer signal every 50 us'],
    ],
  },
  {
    behaviour:
      'After an AEX RDX, RSI, RDI and R8 to R15 are 0 and the vector registers initial; the vDSO does not restore R12 to R15',
    tests: [
      processor('aex', 'shows synthetic ones'),
      processor('aex', '16 zero bytes behind XSTATE_BV, and initializes it'),
      program('registers', 'static void check_synthetic'),
    ],
  },
  {
    behaviour: 'A signal during enclave code is an AEX and a resume: the handler sees AEP, the vDSO function nothing',
    tests: [
      program('semantics', 'A signal that comes while this thread is inside'),
      ['test/integration/programs.test.ts', 'under-fire: two threads, a timer signal every 50 us'],
    ],
  },
  {
    behaviour: 'A busy TCS, and CSSA at NSSA: #GP',
    tests: [broken('a busy TCS'), program('semantics', 'CSSA has reached NSSA')],
  },
  {
    behaviour: 'Two ioctls on one file at a time: EBUSY, even before ENOTTY',
    tests: [driver('create', 'EBUSY: another thread is in ADD_PAGES')],
  },
  {
    behaviour: 'The same page twice: EBUSY; a noexec source: EACCES; no source: EFAULT',
    tests: [
      driver('add-pages', 'EBUSY: there is a page'),
      driver('add-pages', 'the source may never be executed'),
      driver('add-pages', 'nothing is mapped at the source'),
    ],
  },
  {
    behaviour:
      'A TCS: no RWX in SECINFO, reserved bytes 0, STATE, CSSA, AEP and DBGOPTIN cleared, not to be read inside',
    tests: [
      device('add-pages', 'EIO: EADD faults on a TCS with reserved bits'),
      processor('eadd', 'clears RWX, STATE, CSSA, AEP and DBGOPTIN of a TCS'),
      kernel('fault', 'a TCS cannot be touched'),
    ],
  },
  {
    behaviour: 'MRENCLAVE: without base and attributes, by order of EADD, unmeasured pages as their EADD only',
    tests: [processor('measurement', 'is the one of test/vectors/measurement.json'), broken('a changed page')],
  },
  {
    behaviour: 'A fork child may use the enclave, beside its parent and beyond its end',
    tests: [program('semantics', "The child enters the parent's enclave"), program('processes', 'static void orphan')],
  },
  {
    behaviour: 'Device files: stat, fstat, O_CLOEXEC, dup; a file of sgx_provision is one wherever it came from',
    tests: [
      program('semantics', 'static void device_files'),
      program('hostile', 'int first = dup(device)'),
      driver('init', 'PROVISION: a duplicate of the descriptor will do'),
    ],
  },
  {
    behaviour: 'An ELRANGE at 0, mapped RWX before CREATE; programs that make raw system calls',
    tests: [program('raw', 'mapped RWX before it is created'), driver('create', 'a base of 0')],
  },
  {
    behaviour: 'EINIT compares ATTRIBUTES and XFRM under their masks; a SIGSTRUCT that masks DEBUG in: EPERM',
    tests: [processor('einit', 'does not look at bits outside the masks')],
  },
  {
    behaviour: 'ERESUME does not rewrite URSP and URBP; RF, TF and DF are as the frame has them',
    tests: [
      processor('eresume', 'does not rewrite URSP and URBP'),
      processor('aex', 'clears the arithmetic flags, keeps DF and gives TF back'),
      program('registers', 'static void resumed_from_elsewhere'),
    ],
  },
  {
    behaviour: 'A hole without SGX2 or before INIT: SIGBUS, BUS_ADRERR; what the EPCM denies: SIGSEGV, SEGV_ACCERR',
    tests: [
      kernel('fault', 'bus: no page and no SGX2'),
      kernel('fault', 'bus: no page before INIT'),
      driver('lifetime', 'SIGBUS: no page before INIT'),
      driver('page-changes', 'a page that is touched and not accepted faults on the EPCM'),
      broken('a VMA wider than its page'),
    ],
  },
  {
    behaviour: 'Debuggers read and write debug enclaves through ptrace and /proc/PID/mem; of others EIO',
    tests: [kernel('access', 'reads the fields of a TCS and writes its FLAGS, as gdb does')],
    different: 'in the model; a debugger of a real program sees the memory of any enclave, and may change all of it',
  },
  {
    behaviour:
      'Eviction cannot be seen: contents, rights, PENDING, MODIFIED and PR come back; ENOMEM only with nothing to evict',
    tests: [
      kernel('reclaim', 'a pending page can be accepted after it was evicted'),
      ['test/property/epcm.test.ts', 'end with everything in memory after EWB of all pages'],
      ['test/integration/programs.test.ts', 'pressure: 64 MiB built in 8 MiB of EPC'],
    ],
  },
  {
    behaviour: 'EAGAIN from the SGX2 ioctls, and EBUSY from REMOVE, for a page that is just being evicted',
    different: 'eviction is never in progress while an ioctl runs, so neither happens',
  },
  {
    behaviour:
      'Mappings are never merged; each shows in /proc/PID/maps as /dev/sgx_enclave, and counts to max_map_count',
    different: 'maps shows memfds under the addresses, of which the kernel may merge neighbours',
  },
  {
    behaviour: 'EMODPE does not act on PENDING or MODIFIED pages; PR pages can be used; EMODPR, then EMODT clears PR',
    tests: [processor('emodt', 'clears PR'), processor('emodpe', 'leaves PR as it is')],
  },
  {
    behaviour: 'sgx_total_bytes in sysfs, and the flags sgx and sgx_lc in /proc/cpuinfo',
    notYet: 'files of /proc and /sys are those of the host',
  },
  {
    behaviour: 'AEX-Notify is reported, allowed in ATTRIBUTES and TCS.FLAGS, and compared by EENTER',
    tests: [
      processor('ecreate', 'takes AEXNOTIFY where the processor has it'),
      processor('eresume', 'enters at OENTRY with RAX=CSSA'),
      processor('edeccssa', 'decrements TCS.CSSA and nothing else'),
      program('leaves', 'static void notices'),
    ],
  },
  {
    behaviour:
      'XCR0 inside is XFRM; the XSAVE image in the SSA has the standard format; a corrupt one is #GP at ERESUME',
    tests: [processor('aex', 'saves the XSAVE area with XFRM, 16 zero bytes behind XSTATE_BV')],
    different:
      'XCR0 stays that of the host, for no user may change it: code may use registers that XFRM leaves out, and loses them',
  },
  {
    behaviour: 'A failed CREATE leaves the file as new; a failed INIT leaves the enclave to be built further',
    tests: [driver('create', 'then again, rightly'), driver('init', 'after a failed INIT more pages can be added')],
  },
  {
    behaviour:
      '/dev/sgx_vepc: pages by file offset, MAP_SHARED and a writable file only, REMOVE_ALL counts what is left',
    notYet: '/dev/sgx_vepc',
  },
];

/** docs/generations.md has the choices behind them. */
export const generations: readonly Row[] = [
  {
    behaviour:
      'proposal-2018: CREATE on /dev/sgx returns a descriptor of the enclave, close-on-exec; the rest is ioctls of that',
    tests: [
      device('proposal-2018', 'a new one each time, close-on-exec, of an anonymous inode'),
      device('proposal-2018', 'a builder needs no device'),
      ['examples/generations/proposal-2018.c', 'SGX_ENCLAVE_CREATE, &ecreate'],
    ],
  },
  {
    behaviour: 'proposal-2018: each mapping holds a reference; both descriptors may be closed',
    tests: [
      device('proposal-2018', 'the flow of the mail'),
      ['examples/generations/proposal-2018.c', 'close(enclave_fd);'],
    ],
  },
  {
    behaviour:
      'proposal-2018: SGX_GET_INFO with argsz, flags and reserved fields that must be zero; shorter and longer structs',
    tests: [
      device('proposal-2018', '0: version, features, sizes, EPC sections'),
      device('proposal-2018', 'a shorter struct is filled as far as it goes'),
      device('proposal-2018', 'a longer struct: what is behind stays as it is'),
    ],
  },
  {
    behaviour:
      'draft-2018: enclave_fd in the struct, which any open of the device takes; EBADF, EINVAL for another descriptor',
    tests: [
      device('draft-2018', 'EBADF: an enclave_fd that is not open; EINVAL: of something else'),
      device('draft-2018', 'the descriptor is the handle: any open device takes it'),
    ],
  },
  {
    behaviour: 'draft-2018: ADD_PAGE with the address restored, and as mailed, behind the page added last',
    tests: [device('draft-2018', 'the first page goes to the base, each to behind the one before')],
  },
  {
    behaviour:
      'draft-2018: a mapping holds no reference: closing enclave_fd ends the enclave, also under a thread inside',
    tests: [
      device('draft-2018', 'closing the enclave_fd ends the enclave, and the mapping faults'),
      device('draft-2018', 'a thread that is inside when the enclave ends'),
      ['examples/generations/draft-2018.c', 'after close(enclave_fd)'],
    ],
  },
  {
    behaviour:
      'v17-2018: open gives a unique enclave, MAP_SHARED only, children and other processes build and enter it',
    tests: [
      device('v17-2018', 'two opens are two enclaves'),
      device('v17-2018', 'a child shares it and goes on building it'),
      device('interfaces-2018', 'MAP_PRIVATE: EINVAL'),
      ['examples/generations/v17-2018.c', 'fork()'],
    ],
  },
  {
    behaviour: 'of 2018: mrmask measures the chunks that it names',
    tests: [device('interfaces-2018', 'mrmask: bit i measures the i-th 256 bytes, and no other')],
  },
  {
    behaviour:
      'of 2018: EEXIST for a page that is there, EINVAL for a bad SECS or TCS, the SGX code as the value of INIT',
    tests: [
      device('interfaces-2018', 'EEXIST, where mainline has EBUSY'),
      device('interfaces-2018', 'EINVAL, where mainline has EIO'),
      device('interfaces-2018', 'the SGX code as its value, where mainline has EPERM'),
    ],
    different: 'pages are added at once, where the drivers of the time queued them',
  },
  {
    behaviour:
      'rfc-2021: SGX_IOC_PAGE_MODP gives and takes; page table entries follow it, so a cut right is a #PF without SGX bit',
    tests: [
      device('rfc-2021', 'page table entries follow'),
      device('rfc-2021', 'EMODPE alone does not give W back'),
      ['examples/generations/rfc-2021.c', 'a write without W'],
    ],
  },
  {
    behaviour: 'rfc-2021: pages of EAUG are never executable; a range that wraps passes the check',
    tests: [
      device('rfc-2021', 'is RW and never executable'),
      device('rfc-2021', 'a range that wraps passes the check and ends at its first page'),
    ],
  },
  {
    behaviour: 'a program built for another generation gets the errno of the real pair, and a person is told which',
    tests: [['test/integration/generations.test.ts', 'every program on every machine']],
  },
  {
    behaviour: 'V2 to V5 of the SGX2 series: SECINFO arguments, RELAX_PERMISSIONS',
    different: 'not kept: the numbers are those of V1 and of mainline, and they lasted two months',
  },
];
