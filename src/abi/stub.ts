/**
 * The contract between the host and the stub inside a target process: the shared session area, its requests, the
 * system calls that are trapped, and where things live in the target's address space. `native/include/layout.h` and
 * `native/include/traps.h` are generated from these values.
 *
 * Spec: docs/design.md, "The channel" and "Inside the target".
 */
import { array, i64, layout, reserved, u32, u64 } from '../lib/layout.ts';
import { USER_ADDRESS_END } from '../lib/units.ts';

export const PROTOCOL_MAGIC = 0x56_54_52_4e; // "VTRN"
export const PROTOCOL_VERSION = 1;

/** Where the stub lives in every target: high and fixed, below PIE, above any base-0 enclave. */
export const StubMap = {
  /** Code and data of the stub; system calls from here are exempt from the filters. */
  IMAGE: 0x5000_0000_0000,
  IMAGE_SIZE: 0x10_0000,
  /** One private page, wiped in fork children: identity, locks, the session. */
  PROCESS: 0x5000_0020_0000,
  /** The session area shared with the host. */
  SESSION: 0x5000_0100_0000,
  /** Per-thread slots: header, then the thread's real alternate signal stack. */
  SLOTS: 0x5000_1000_0000,
  SLOT_SIZE: 0x1_0000,
  SLOT_COUNT: 32_768,
} as const;

/** Descriptors the stub keeps for itself; close, dup2 and dup3 onto them answer EBADF. */
export const StubFd = { GATE: 1020, LOADER: 1021, CHANNEL: 1022, UFFD: 1023 } as const;

/** The real-time signal by which the host makes a thread come in. Never blocked, never visible to the program. */
export const KICK_SIGNAL = 64;

/** Op.IOCTL and Op.IDENTIFY: minus this number says that the inode is no device of ours. */
export const STUB_NOT_A_DEVICE = 0x10000;
/** Op.IOCTL: minus this number says that the result is a new descriptor, to be fetched by Op.RECEIVE. */
export const STUB_NEW_DESCRIPTOR = 0x10001;
/** Instead of the index of an SSA frame. */
export const STUB_NO_FRAME = 0xffff_ffff;
/**
 * Size of the memfd behind a device descriptor: all of user space, so that it can be mapped before the enclave has a
 * base. Sparse. The stub asks the host about no memfd of another size.
 */
export const STUB_DEVICE_FILE_BYTES = 2 ** 47;
/** F_SEAL_SEAL, F_SEAL_SHRINK and F_SEAL_GROW: a memfd without these is no device, and that is the quickest question. */
export const STUB_DEVICE_SEALS = 1 | 2 | 4;
/** Misc devices: major number, and the minor of the first node; the others follow in the order of `deviceNodes`. */
export const STUB_DEVICE_MAJOR = 10;
export const STUB_DEVICE_FIRST_MINOR = 120;
export const STUB_USER_ADDRESS_END = USER_ADDRESS_END;

export const SessionFlags = {
  /** Somebody reads the trace: entries, exits and AEX are reported. */
  TRACE: 1,
  /** What ends with its last descriptor ends at once: closing one has to be told. */
  CLOSES: 2,
} as const;

/** What the stub asks. Arguments in `args`, answers in `ret` and `out`. */
export const Op = {
  /** args: address of VmaRecord[], count. A process (after exec: none; after fork: its copies) introduces itself. */
  ADOPT: 1,
  /**
   * args: node index, open flags. ret: 0 and the descriptor by SCM_RIGHTS, or -errno. The message that carries it is
   * this record's index (u32), sent before the record is DONE: the stub holds one lock from request to receipt.
   */
  OPEN: 2,
  /** args: inode. ret: node index, or -STUB_NOT_A_DEVICE; out[0]: 1 = open for reading, 2 = for writing, 3 = both. */
  IDENTIFY: 3,
  /** args: inode, command, argument. ret: value or -errno (-512 = restart), or -STUB_NEW_DESCRIPTOR; out: its inode. */
  IOCTL: 4,
  /** args: inode, address, length, prot, flags. ret: 0 or -errno. */
  MMAP: 5,
  /** args: address, length, prot. ret: 0 or -errno. */
  MPROTECT: 6,
  /** args: address, length. */
  MUNMAP: 7,
  /** args: old address, old length, new address, new length. ret: 0 or -errno. */
  MREMAP: 8,
  /** args: address, length, advice. ret: 0 or -errno. */
  MADVISE: 9,
  /** args: address, access (0 read, 1 write, 2 fetch), inside (0/1), RIP. ret: Verdict; out: vector, error code, address. */
  FAULT: 10,
  /** args: TCS address, AEP, leaf. ret: Verdict.RETRY with TcsRecord in out, or Verdict.FAULT with out as in FAULT. */
  ENTER: 11,
  /**
   * args: leaf, RBX, RCX, RDX. ret: Verdict.RETRY with RAX in out[0] and ZF in out[1], or Verdict.FAULT with out as in
   * FAULT. The enclave and its TCS are those of the record.
   */
  LEAF: 12,
  /** args: enclave index. The caller has seen a new generation; runs follow. ret: 0, or -errno: it has to leave. */
  SYNC: 13,
  /** args: enclave index. ret: 0 and the content memfd by SCM_RIGHTS; out: base, size. */
  ALIAS: 14,
  /** args: address in an enclave. The stub needs this page (TCS, SSA) to be present. ret: Verdict. */
  LOAD: 15,
  /** args: Event, TCS, and up to four registers. Only while SessionFlags.TRACE. */
  EVENT: 16,
  /** More runs of the previous answer. */
  MORE: 17,
  /** args: inode, as Op.IOCTL gave it. ret: 0 and the descriptor by SCM_RIGHTS, as for OPEN. */
  RECEIVE: 18,
  /** args: command. An SGX command on a descriptor that is no device of ours; only to tell a person. */
  STRAY: 19,
  /** A descriptor of a device was closed. Only with SessionFlags.CLOSES. */
  CLOSED: 20,
} as const;

export const Verdict = {
  /** It was mended: run the instruction again. */
  RETRY: 0,
  /** An exception: vector, error code and address are in `out`. */
  FAULT: 1,
  /** SIGBUS, BUS_ADRERR. */
  BUS: 2,
  /** A non-enclave access to EPC: reads all ones, writes vanish. */
  ABORT_PAGE: 3,
  /** No mapping of ours: the program's own fault. */
  NOT_OURS: 4,
} as const;

export const Event = { EENTER: 1, ERESUME: 2, EEXIT: 3, AEX: 4, SIGNAL: 5, REFUSED: 6 } as const;

/** Event.REFUSED: registers are the leaf, one of these, and what was found. Of what the stub owns, it is the judge. */
export const Refusal = {
  /** TCS.STATE is not INACTIVE. Found: the thread that is in it. */
  BUSY: 1,
  /** No free frame for EENTER, or none to ERESUME. Found: CSSA, and NSSA in the high half. */
  CSSA: 2,
  /** What the frame holds cannot be resumed. Found: the frame's index. */
  FRAME: 3,
} as const;

export const RecordState = { IDLE: 0, REQUEST: 1, DONE: 2 } as const;

/** First message on a fresh connection, stub to host. The answer carries the session area by SCM_RIGHTS. */
export const Hello = layout(
  'STUB_HELLO',
  32,
  { source: 'docs/design.md' },
  {
    magic: u32(0, 'PROTOCOL_MAGIC'),
    version: u32(4, 'PROTOCOL_VERSION'),
    pid: u32(8, 'process id of the sender'),
    /** 0 after exec. */
    parentPid: u32(12, 'the process it was forked from, whose mappings it inherited; 0 after exec'),
    reserved: reserved(16, 16),
  },
);

/** A mapping of an enclave, as the stub remembers it. */
export const VmaRecord = layout(
  'VMA_RECORD',
  32,
  { source: 'docs/design.md' },
  {
    start: u64(0, 'first byte'),
    end: u64(8, 'byte after the last'),
    inode: u64(16, 'which enclave'),
    prot: u32(24, 'PROT_* of the program'),
    reserved: reserved(28, 4),
  },
);

/** Protection to apply to [start, end). */
export const RunRecord = layout(
  'RUN_RECORD',
  24,
  { source: 'docs/design.md' },
  {
    start: u64(0, 'first byte'),
    end: u64(8, 'byte after the last'),
    prot: u64(16, 'PROT_* that the hardware gets'),
  },
);

/** One enclave that this process knows, so that entry can see a stale generation. */
export const EnclaveRecord = layout(
  'ENCLAVE_RECORD',
  32,
  { source: 'docs/design.md' },
  {
    id: u32(0, 'the enclave; 0 = free'),
    generation: u32(4, 'raised by the host whenever rights were cut'),
    base: u64(8, 'first byte of ELRANGE'),
    size: u64(16, 'length of ELRANGE in bytes'),
    reserved: reserved(24, 8),
  },
);

/** What the stub needs of a TCS to enter it without asking; the answer to Op.ENTER, in this order, in `out`. */
export const TcsRecord = layout(
  'TCS_RECORD',
  96,
  { source: 'SDM "Thread Control Structure (TCS)"' },
  {
    base: u64(0, 'SECS.BASEADDR'),
    size: u64(8, 'SECS.SIZE'),
    oentry: u64(16, 'TCS.OENTRY'),
    ossa: u64(24, 'TCS.OSSA'),
    nssa: u64(32, 'TCS.NSSA'),
    ssaFrameSize: u64(40, 'bytes of one SSA frame'),
    ofsBase: u64(48, 'TCS.OFSBASE'),
    ogsBase: u64(56, 'TCS.OGSBASE'),
    xfrm: u64(64, 'SECS.XFRM'),
    miscSelect: u64(72, 'SECS.MISCSELECT'),
    /** bits 31:0 the frame that would be used, bits 63:32 the one after it, if ERESUME tells of the exit */
    frames: u64(80, 'SSA frames that were checked, STUB_NO_FRAME where none was'),
    /** bits 31:0 index into the session's enclaves, bits 63:32 generation the checks were made at */
    enclave: u64(88, 'enclave index and generation'),
  },
);

export const CpuidRecord = layout(
  'CPUID_RECORD',
  16,
  { source: 'SDM "CPUID"' },
  {
    eax: u32(0, 'EAX'),
    ebx: u32(4, 'EBX'),
    ecx: u32(8, 'ECX'),
    edx: u32(12, 'EDX'),
  },
);

export const SESSION_ENCLAVES = 64;
export const CPUID_SGX_SUBLEAVES = 8;
export const RUNS_PER_ANSWER = 12;
const PENDING_WORDS = StubMap.SLOT_COUNT / 32;
const SUMMARY_WORDS = PENDING_WORDS / 32;

/** Head of the session area. */
export const SessionHeader = layout(
  'SESSION_HEADER',
  8192,
  { source: 'docs/design.md' },
  {
    magic: u32(0, 'PROTOCOL_MAGIC'),
    version: u32(4, 'PROTOCOL_VERSION'),
    hostPid: u32(8, 'process id of the host'),
    flags: u32(12, 'SessionFlags'),
    /** Set by the host before it sleeps: a request must then ring the socket. */
    hostSleeping: u32(16, 'the host waits in the kernel'),
    /** Raised by the stub before it uses a record for the first time, so that the host scans no more than these. */
    recordsUsed: u32(20, 'highest record index ever used, plus 1'),
    memfdDevice: u64(24, 'st_dev of every device descriptor'),
    /** CPUID.7.0: bits to set. */
    cpuid7Ebx: u32(32, 'bits added to CPUID.7.0:EBX'),
    cpuid7Ecx: u32(36, 'bits added to CPUID.7.0:ECX'),
    /** Bits by index in `deviceNodes`. */
    nodes: u32(40, 'nodes that there are'),
    sharedNodes: u32(44, 'nodes whose mappings are MAP_SHARED, else EINVAL'),
    alignedNodes: u32(48, 'nodes whose mappings have a power of two for length and are aligned to it'),
    reserved2: reserved(52, 12),
    cpuidSgx: array(64, CPUID_SGX_SUBLEAVES, CpuidRecord, 'CPUID.12 by sub-leaf; beyond: zeros'),
    reserved3: reserved(192, 64),
    /** Bit i: word i of `pending` is not zero. */
    summary: array(256, SUMMARY_WORDS, u32(0, 'word'), 'which words of pending to look at'),
    reserved4: reserved(384, 640),
    enclaves: array(1024, SESSION_ENCLAVES, EnclaveRecord, 'enclaves of this process'),
    reserved5: reserved(3072, 1024),
    /** Bit i of word i/32: record i has a request. */
    pending: array(4096, PENDING_WORDS, u32(0, 'word'), 'requests, one bit a record'),
  },
);

/** One thread's mailbox, and what it tells about being inside an enclave. */
export const ThreadRecord = layout(
  'THREAD_RECORD',
  512,
  { source: 'docs/design.md' },
  {
    tid: u32(0, 'thread id'),
    /** Stored before the generation is read, so that the host sees every thread that may still use old rights. */
    inside: u32(4, 'enclave index + 1 while inside, else 0'),
    insideGeneration: u32(8, 'generation that the entry was checked against'),
    state: u32(12, 'RecordState'),
    waiting: u32(16, '1 while the thread sleeps on `state`'),
    op: u32(20, 'Op'),
    interrupted: u32(24, 'a signal is pending for the thread: end a long operation'),
    runCount: u32(28, 'runs in this answer'),
    moreRuns: u32(32, 'ask Op.MORE for the rest'),
    descriptors: u32(36, 'descriptors that come with this answer'),
    insideTcs: u64(40, 'linear address of the TCS while inside'),
    args: array(48, 8, u64(0, 'value'), 'arguments'),
    ret: i64(112, 'result'),
    out: array(120, 12, u64(0, 'value'), 'further results'),
    runs: array(216, RUNS_PER_ANSWER, RunRecord, 'protections to apply before going on'),
    /**
     * Two threads may hold answers with runs at the same time. The stub keeps the number of the last it applied: it
     * waits for `runSequence - 1` before it applies runs, and for `runSequence` when `runCount` is 0.
     */
    runSequence: u32(504, 'answers with runs so far, this one included'),
    reserved: reserved(508, 4),
  },
);

export const SESSION_RECORDS_OFFSET = SessionHeader.sizeBytes;
export const SESSION_SIZE_BYTES = SESSION_RECORDS_OFFSET + StubMap.SLOT_COUNT * ThreadRecord.sizeBytes;
