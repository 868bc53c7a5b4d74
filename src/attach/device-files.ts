/**
 * Open device files. What a program gets is a memfd, known by its inode wherever it goes: dup, fork, SCM_RIGHTS,
 * mappings after close. Whether anybody still has it is asked of the kernel: the program's open file description
 * holds an exclusive flock, so our own try for it succeeds exactly when no descriptor and no mapping is left.
 */
import { OpenAccess } from '../abi/linux.ts';
import { STUB_DEVICE_FILE_BYTES } from '../abi/stub.ts';
import { close, createMemfd, identify, isSpare, reopen, Seal, seekToEnd, tryLock } from './linux/files.ts';

export interface DeviceFile<F> {
  readonly file: F;
  readonly inode: number;
  /** Our own description. */
  readonly fd: number;
}

export class DeviceFiles<F> {
  readonly #byInode = new Map<number, DeviceFile<F>>();
  readonly #byFile = new Map<unknown, DeviceFile<F>>();

  get count(): number {
    return this.#byInode.size;
  }

  /**
   * A new file and a descriptor for the program, which the caller sends and then closes. Undefined: no number is left.
   *
   * Model: the descriptor is O_RDWR whatever was asked for, as F_GETFL shows, because userfaultfd takes no mapping that
   * could not be made writable; the model knows the access mode. Its position is the end, where read gives 0 and write
   * gives EPERM; the device gives EINVAL, for which both would have to be trapped in every program with an enclave.
   */
  create(name: string, file: F): { deviceFile: DeviceFile<F>; programFd: number } | undefined {
    const first = createMemfd(name, STUB_DEVICE_FILE_BYTES, Seal.SHRINK | Seal.GROW);
    if (!isSpare(first)) {
      close(first);
      return undefined;
    }
    const programFd = reopen(first, OpenAccess.O_RDWR);
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
