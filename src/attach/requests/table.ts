/** Which handler answers which request; ADOPT, the first of every process, is apart in processes.ts. */
import { Op } from '../../abi/stub.ts';
import { enclu, enter, event, sync } from './threads.ts';
import { fault, load } from './faults.ts';
import { closed, ioctl, receive, stray } from './ioctl.ts';
import { madvise, mmap, mprotect, mremap, munmap } from './mappings.ts';
import { alias, identify, open } from './open.ts';
import { more } from './processes.ts';
import type { Handler } from './reply.ts';

export const handlers: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [Op.OPEN, open],
  [Op.IDENTIFY, identify],
  [Op.IOCTL, ioctl],
  [Op.MMAP, mmap],
  [Op.MPROTECT, mprotect],
  [Op.MUNMAP, munmap],
  [Op.MREMAP, mremap],
  [Op.MADVISE, madvise],
  [Op.FAULT, fault],
  [Op.LOAD, load],
  [Op.ENTER, enter],
  [Op.LEAF, enclu],
  [Op.SYNC, sync],
  [Op.EVENT, event],
  [Op.ALIAS, alias],
  [Op.MORE, more],
  [Op.RECEIVE, receive],
  [Op.STRAY, stray],
  [Op.CLOSED, closed],
]);

const applying = new Set<number>([
  Op.IOCTL,
  Op.MPROTECT,
  Op.FAULT,
  Op.ENTER,
  Op.LEAF,
  Op.SYNC,
  Op.ADOPT,
  Op.MORE,
  Op.CLOSED,
]);

/** Whether the stub applies protections that come with this answer. Others keep them for the next one. */
export function appliesRuns(op: number, ret: number): boolean {
  return applying.has(op) || ((op === Op.MMAP || op === Op.MREMAP) && ret === 0);
}
