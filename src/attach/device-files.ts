/**
 * Open device files. What a program gets is a memfd, known by its inode wherever it goes: dup, fork, SCM_RIGHTS,
 * mappings after close. Whether anybody still has it is asked of the kernel: the program's open file description
 * holds an exclusive flock, so our own try for it succeeds exactly when no descriptor and no mapping is left.
 */
import { fchmodSync } from 'node:fs';
import { OpenAccess, OpenFlags } from '../abi/linux.ts';
import { sgxDevices } from '../abi/sgx-uapi.ts';
import { STUB_DEVICE_FILE_BYTES, STUB_DEVICE_SEALS } from '../abi/stub.ts';
import { close, createMemfd, identify, isSpare, reopen, seekToEnd, tryLock } from './linux/files.ts';

/** What F_GETFL shows beside the access mode. */
const STATUS_FLAGS = OpenFlags.bit.O_APPEND | OpenFlags.bit.O_NONBLOCK | OpenFlags.bit.O_DSYNC;

export interface DeviceFile<F> {
  readonly file: F;
  readonly inode: number;
  /** Our own description. */
  readonly fd: number;
}

function accessMode(name: string, openFlags: number): number {
  const mode = openFlags & OpenFlags.bit.O_ACCMODE;
  return name === sgxDevices.provision.path && mode !== OpenFlags.bit.O_ACCMODE ? mode : OpenAccess.O_RDWR;
}

export class DeviceFiles<F> {
  readonly #byInode = new Map<number, DeviceFile<F>>();
  readonly #byFile = new Map<unknown, DeviceFile<F>>();

  get count(): number {
    return this.#byInode.size;
  }

  /**
   * A new file and a descriptor for the program, which the caller sends and then closes. Undefined: no number is left.
   * `openFlags`: as the program gave them. Nobody opens the memfd again: whoever names it (/proc/PID/fd) and is not
   * recognised by the stub gets EACCES, unless he is root.
   *
   * Model: an enclave's descriptor is O_RDWR whatever was asked for, as F_GETFL shows, because userfaultfd takes no
   * mapping that could not be made writable; likewise mode 3, which flock refuses. The model knows the mode. Its position is the end, where read and
   * readv give 0, write and writev EPERM, as F_ADD_SEALS does; the device gives EINVAL, for which these calls would have
   * to be trapped in every program with an enclave.
   */
  create(
    name: string,
    file: F,
    openFlags: number = OpenAccess.O_RDWR,
  ): { deviceFile: DeviceFile<F>; programFd: number } | undefined {
    const first = createMemfd(name, STUB_DEVICE_FILE_BYTES, STUB_DEVICE_SEALS);
    if (!isSpare(first)) {
      close(first);
      return undefined;
    }
    const programFd = reopen(first, accessMode(name, openFlags) | (openFlags & STATUS_FLAGS));
    fchmodSync(first, 0);
    seekToEnd(programFd);
    if (!tryLock(programFd)) throw new Error('a fresh memfd is locked');
    const deviceFile = { file, inode: identify(first).inode, fd: first };
    this.#byInode.set(deviceFile.inode, deviceFile);
    this.#byFile.set(file, deviceFile);
    return { deviceFile, programFd };
  }

  find(inode: number): DeviceFile<F> | undefined {
    return this.#byInode.get(inode);
  }

  /** Our own description of the file's contents; undefined when it is closed. */
  fdOf(file: unknown): number | undefined {
    return this.#byFile.get(file)?.fd;
  }

  /**
   * The files that nobody has any more, no longer found by inode; the caller disposes of them.
   * @param mayGo asked of a file without descriptor and mapping
   */
  takeUnreferenced(inUse: (file: F) => boolean, mayGo: (file: F) => boolean): DeviceFile<F>[] {
    const gone = [...this.#byInode.values()].filter(({ file, fd }) => !inUse(file) && tryLock(fd) && mayGo(file));
    for (const { inode } of gone) this.#byInode.delete(inode);
    return gone;
  }

  dispose(deviceFile: DeviceFile<F>): void {
    this.#byFile.delete(deviceFile.file);
    close(deviceFile.fd);
  }
}
