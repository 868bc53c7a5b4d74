/** What an open file may be used for, by the access mode of its open. Source: OPEN_FMODE in include/linux/fs.h */
import { OpenAccess, OpenFlags, Prot } from '../abi/linux.ts';
import { Errno } from '../lib/errno.ts';
import { fail, why, type Failure } from '../lib/outcome.ts';

export interface FileAccess {
  readonly readable: boolean;
  readonly writable: boolean;
}

/** Mode 3 is for ioctls alone. */
export function fileAccess(openFlags: number): FileAccess {
  const mode = openFlags & OpenFlags.bit.O_ACCMODE;
  return {
    readable: mode === OpenAccess.O_RDONLY || mode === OpenAccess.O_RDWR,
    writable: mode === OpenAccess.O_WRONLY || mode === OpenAccess.O_RDWR,
  };
}

/** EACCES: PROT_WRITE of a file that is not open for writing; any mapping of one that is not open for reading. */
export function checkMapAccess({ readable, writable }: FileAccess, prot: number): Failure | undefined {
  if (!writable && (prot & Prot.bit.PROT_WRITE) !== 0) {
    return fail(Errno.EACCES, why('the file is open for writing', 'O_RDWR', 'not writable', 'open the device O_RDWR'));
  }
  if (readable) return undefined;
  return fail(Errno.EACCES, why('the file is open for reading', 'O_RDWR', 'not readable', 'open the device O_RDWR'));
}
