/** Ioctls on device files. The work is the devices'; here they get the caller, and their slices. */
import { statSync } from 'node:fs';
import { STUB_NOT_A_DEVICE } from '../../abi/stub.ts';
import type { OpenFile } from '../../devices/device-table.ts';
import type { Caller, Reply } from './reply.ts';

/** IOCTL(inode, command, argument): the ioctl's own result, or -STUB_NOT_A_DEVICE. */
export function* ioctl(caller: Caller): Generator<void, Reply> {
  const { host, mm, box } = caller;
  const file = host.files.find(box.arg(0))?.file;
  const command = box.arg(1) % 2 ** 32;
  const argument = box.bigArg(2);
  if (file === undefined) return { ret: -STUB_NOT_A_DEVICE };
  return yield* file.ioctl(mm, command, argument, (fd) => resolveFd(caller, fd));
}

/** What a descriptor number of the calling thread is. */
function resolveFd({ host, session, box }: Caller, fd: number): OpenFile | 'not-open' | 'other' {
  try {
    const { ino } = statSync(`/proc/${session.pid}/task/${box.tid}/fd/${fd}`);
    return host.files.find(ino)?.file ?? 'other';
  } catch {
    return 'not-open';
  }
}
