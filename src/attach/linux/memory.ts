/** Memory of the host that system calls and other processes see at a fixed address. */
import { declare, declareChecked, viewMemory } from './library.ts';

const PROT_READ = 1;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;

const mmap = declareChecked('int64 mmap(int64, size_t, int, int, int, int64)');
const twoArguments = declare('long syscall(long, ulong, ulong)');
const memmove = declare('int64 memmove(void *, void *, size_t)');

const SYS_pkey_alloc = 330;
const SYS_pkey_free = 331;
const PKEY_DISABLE_ACCESS = 1;

/** Whether a process here can lock memory with a protection key: processor, kernel and sandbox allow it. */
export function hasProtectionKeys(): boolean {
  const key = twoArguments(SYS_pkey_alloc, 0, PKEY_DISABLE_ACCESS);
  if (key < 0) return false;
  twoArguments(SYS_pkey_free, key, 0);
  return true;
}

/**
 * A range of addresses that is never unmapped, because its views could not be detached. What lies behind it can be
 * exchanged, so that ranges are reused instead of freed.
 */
export class MappedRegion {
  readonly address: number;
  readonly lengthBytes: number;
  readonly buffer: ArrayBuffer;

  /** Zeros of our own. */
  constructor(lengthBytes: number) {
    this.lengthBytes = lengthBytes;
    this.address = mmap(0, lengthBytes, PROT_READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    this.buffer = viewMemory(this.address, lengthBytes);
  }

  /** The file's first bytes take the place of what was here. */
  attach(fd: number): void {
    mmap(this.address, this.lengthBytes, PROT_READ_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  }

  /** Gives the memory back; the addresses stay ours and read zero. */
  detach(): void {
    mmap(this.address, this.lengthBytes, PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
  }
}

/** Where these bytes are, for structures that hold pointers. Keep `bytes` alive and do not resize their buffer. */
export function addressOfBytes(bytes: Uint8Array): number {
  return memmove(bytes, bytes, 0);
}
