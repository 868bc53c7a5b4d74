/** Calls on descriptors that node:fs does not have, or not fast enough. Positions are exact up to 2^53. */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { Errno } from '../../lib/errno.ts';
import { declare, declareChecked, HostError, lastErrno } from './library.ts';

const memfdCreate = declare('int memfd_create(const char *, uint)');
const fallocate = declareChecked('int fallocate(int, int, int64, int64)');
const ftruncateCall = declareChecked('int ftruncate(int, int64)');
const lseekCall = declareChecked('int64 lseek(int, int64, int)');
const fcntl = declareChecked('int fcntl(int, int, int)');
const flockCall = declare('int flock(int, int)');
const preadCall = declareChecked('int64 pread(int, void *, size_t, int64)');
const pwriteCall = declareChecked('int64 pwrite(int, void *, size_t, int64)');
const readCall = declareChecked('int64 read(int, void *, size_t)');
const splice = declareChecked('int64 splice(int, void *, int, void *, size_t, uint)');
const pipe2 = declareChecked('int pipe2(void *, int)');
const ioctlCall = declare('int ioctl(int, ulong, void *)');

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const MFD_NOEXEC_SEAL = 8;
const F_ADD_SEALS = 1033;
const FALLOC_FL_PUNCH_HOLE_KEEP_SIZE = 3;
const SEEK_END = 2;
const LOCK_EX = 2;
const LOCK_NB = 4;
const O_CLOEXEC = 0o2000000;
export const Seal = { SHRINK: 2, GROW: 4 } as const;

/**
 * An anonymous file. Where the kernel's vm.memfd_noexec refuses executable ones, a sealed non-executable one: its
 * pages can be mapped PROT_EXEC all the same.
 */
export function createMemfd(name: string, lengthBytes: number, seals: number): number {
  let fd = memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  if (fd === -1 && lastErrno() === Errno.EINVAL) fd = memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd === -1) throw new HostError('memfd_create', lastErrno());
  ftruncateCall(fd, lengthBytes);
  fcntl(fd, F_ADD_SEALS, seals);
  return fd;
}

/** Another open file description of the same file. `flags` as for open(2); close-on-exec is added. */
export function reopen(fd: number, flags: number): number {
  return openSync(`/proc/self/fd/${fd}`, flags);
}

/**
 * Numbers kept for what the host itself must be able to open at any time. Numbers are given out lowest first, so one
 * near the limit says that hardly any are left.
 */
const RESERVED_DESCRIPTORS = 64;
const limit = Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1] ?? 1024);

/** Whether a descriptor that was just opened may be kept for a program. */
export const isSpare = (fd: number): boolean => fd < limit - RESERVED_DESCRIPTORS;

export function seekToEnd(fd: number): void {
  lseekCall(fd, 0, SEEK_END);
}

export const close = (fd: number): void => closeSync(fd);

/** Device and inode of an open file. */
export function identify(fd: number): { device: number; inode: number } {
  const { dev, ino } = fstatSync(fd);
  return { device: dev, inode: ino };
}

export function read(fd: number, into: Uint8Array): number {
  return readCall(fd, into, into.length);
}

export function pread(fd: number, into: Uint8Array, position: number): number {
  return preadCall(fd, into, into.length, position);
}

export function pwrite(fd: number, bytes: Uint8Array, position: number): number {
  return pwriteCall(fd, bytes, bytes.length, position);
}

/** An ioctl whose argument is a struct, written back into `argument`. Returns its value, or -errno. */
export function ioctl(fd: number, command: number, argument: Uint8Array): number {
  const result = ioctlCall(fd, command, argument);
  return result === -1 ? -lastErrno() : result;
}

/** The range reads as zeros from now on, in every mapping; under userfaultfd a touch of it is SIGBUS. */
export function punchHole(fd: number, position: number, lengthBytes: number): void {
  fallocate(fd, FALLOC_FL_PUNCH_HOLE_KEEP_SIZE, position, lengthBytes);
}

/** Moves pages, not copies of them, from a file into a pipe. Returns the bytes moved. */
export function spliceToPipe(fd: number, position: number, pipeFd: number, lengthBytes: number): number {
  const offset = new Uint8Array(8);
  new DataView(offset.buffer).setBigInt64(0, BigInt(position), true);
  return splice(fd, offset, pipeFd, null, lengthBytes, 0);
}

export function createPipe(): { readFd: number; writeFd: number } {
  const fds = new Int32Array(2);
  pipe2(new Uint8Array(fds.buffer), O_CLOEXEC);
  return { readFd: fds[0]!, writeFd: fds[1]! };
}

/** Takes the exclusive lock of the open file description. False when another description holds it. */
export function tryLock(fd: number): boolean {
  if (flockCall(fd, LOCK_EX | LOCK_NB) === 0) return true;
  if (lastErrno() === Errno.EAGAIN) return false;
  throw new HostError('flock', lastErrno());
}
