/** Other processes: their memory as copy_from_user and copy_to_user see it, their life, signals to their threads. */
import { declare, declareChecked } from './library.ts';
import { addressOfBytes } from './memory.ts';

const readv = declare('int64 process_vm_readv(int, void *, ulong, void *, ulong, ulong)');
const writev = declare('int64 process_vm_writev(int, void *, ulong, void *, ulong, ulong)');
const pidfdOpenCall = declareChecked('long syscall(long, int, uint)');
const threeArguments = declare('long syscall(long, int, int, int)');
const setrlimit = declare('int setrlimit(int, void *)');
const prctl = declare('int prctl(int, ulong, ulong, ulong, ulong)');

const fourArguments = declare('long syscall(long, int, int, int64, uint)');

const SYS_tgkill = 234;
const SYS_pidfd_send_signal = 424;
const SYS_pidfd_open = 434;
const RLIMIT_CORE = 4;
const PR_SET_DUMPABLE = 4;

const local = new BigUint64Array(2);
const remote = new BigUint64Array(2);
const localBytes = new Uint8Array(local.buffer);
const remoteBytes = new Uint8Array(remote.buffer);

function transfer(call: typeof readv, pid: number, address: number, bytes: Uint8Array): number {
  if (bytes.length === 0) return 0;
  local[0] = BigInt(addressOfBytes(bytes));
  local[1] = BigInt(bytes.length);
  remote[0] = BigInt(address);
  remote[1] = BigInt(bytes.length);
  return Math.max(0, call(pid, localBytes, 1, remoteBytes, 1, 0));
}

/** How many bytes could be read: all up to the first page that the process may not read. 0 also when it is gone. */
export const readProcess = (pid: number, address: number, into: Uint8Array): number =>
  transfer(readv, pid, address, into);

/** How many bytes could be written. */
export const writeProcess = (pid: number, address: number, bytes: Uint8Array): number =>
  transfer(writev, pid, address, bytes);

/** A descriptor that becomes readable when the process ends. Throws ESRCH when it has. */
export const openPidfd = (pid: number): number => pidfdOpenCall(SYS_pidfd_open, pid, 0);

/** Sends a signal to the process behind a pidfd; one that is gone, or no longer ours, is no error. */
export function signalProcess(pidfd: number, signal: number): void {
  fourArguments(SYS_pidfd_send_signal, pidfd, signal, 0, 0);
}

/** Sends a signal to one thread; a thread that is gone is no error. */
export function signalThread(pid: number, tid: number, signal: number): void {
  threeArguments(SYS_tgkill, pid, tid, signal);
}

/** No core file of this process, whatever signal ends it. */
export function forbidCoreDump(): void {
  setrlimit(RLIMIT_CORE, new Uint8Array(16));
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
