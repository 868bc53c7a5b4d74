/** Ioctls on device files. The work is the devices'; here they get the caller, and their slices. */
import { statSync } from 'node:fs';
import { STUB_NEW_DESCRIPTOR, STUB_NOT_A_DEVICE } from '../../abi/stub.ts';
import type { OpenFile } from '../../devices/device-table.ts';
import { Errno } from '../../lib/errno.ts';
import { DONE, refused, type Caller, type Reply } from './reply.ts';

/** IOCTL(inode, command, argument): the ioctl's own result, -STUB_NOT_A_DEVICE, or -STUB_NEW_DESCRIPTOR and its inode. */
export function* ioctl(caller: Caller): Generator<void, Reply> {
  const { host, mm, box } = caller;
  const file = host.files.find(box.arg(0))?.file;
  const command = box.arg(1) % 2 ** 32;
  const argument = box.bigArg(2);
  if (file === undefined) return { ret: -STUB_NOT_A_DEVICE };
  const { ret, descriptorOf } = yield* file.ioctl(mm, command, argument, (fd) => resolveFd(caller, fd));
  return descriptorOf === undefined ? { ret } : newDescriptor(caller, descriptorOf);
}

/** ENFILE: this host process has no descriptors left. */
function newDescriptor({ host, session }: Caller, file: OpenFile): Reply {
  const created = host.files.create(file.node, file);
  if (created === undefined) {
    host.machine.devices.release(file);
    return refused(Errno.ENFILE);
  }
  const { inode } = created.deviceFile;
  session.unclaimed.set(inode, created.programFd);
  return { ret: -STUB_NEW_DESCRIPTOR, out: [inode] };
}

/** RECEIVE(inode): the descriptor that an ioctl has just made. ENOENT: none. */
export function receive({ host, session, box }: Caller): Reply {
  const inode = box.arg(0);
  const fd = session.unclaimed.get(inode);
  if (fd === undefined) return refused(Errno.ENOENT);
  session.unclaimed.delete(inode);
  // A program without a number for it lets go of it at once.
  host.sweepSoon();
  return { ret: 0, descriptor: { fd, closeAfter: true } };
}

/** STRAY(command): an SGX command on a descriptor that is no device of ours. */
export function stray({ host, session, box }: Caller): Reply {
  host.machine.devices.advice.strayCommand(session.pid, box.arg(0) % 2 ** 32);
  return DONE;
}

/** CLOSED: a descriptor of a device was closed. */
export function closed({ host }: Caller): Reply {
  host.sweep();
  return DONE;
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
