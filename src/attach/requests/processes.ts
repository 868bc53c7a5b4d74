/** Fork children coming in, with copies of their parent's mappings. */
import { VmaRecord } from '../../abi/stub.ts';
import { Errno } from '../../lib/errno.ts';
import { isPageAligned, PAGE_SIZE_BYTES, USER_ADDRESS_END, userAddr } from '../../lib/units.ts';
import type { VmaRecord as KernelVma } from '../../kernel/mm.ts';
import type { Host } from '../host.ts';
import type { Mailbox } from '../session-area.ts';
import type { Session } from '../session.ts';
import { DONE, refused, type Caller, type Reply } from './reply.ts';

/** As many as a process can have mappings at all. */
const MAX_VMAS = 65_536;

/**
 * ADOPT(address of VmaRecord[], count): makes the address space. A child's mappings are its own list, because its
 * parent may have changed or ended since the fork.
 * EFAULT: the list cannot be read. EINVAL: it is no list of enclave mappings.
 */
export function adopt(host: Host, session: Session, box: Mailbox): Reply {
  const address = box.arg(0);
  const count = box.arg(1);
  const { kernel } = host.machine;
  const port = session.port!;
  if (count > MAX_VMAS || address >= USER_ADDRESS_END) return refused(Errno.EINVAL);
  const bytes = new Uint8Array(count * VmaRecord.sizeBytes);
  if (port.memory.read(userAddr(address), bytes) !== bytes.length) return refused(Errno.EFAULT);
  const vmas = Array.from({ length: count }, (_, index) => kernelVma(host, bytes, index * VmaRecord.sizeBytes));
  const known = vmas.filter((vma) => vma !== undefined);
  if (known.length !== vmas.length) return refused(Errno.EINVAL);
  session.mm = kernel.forkProcess(host.sessionOf(session.parentPid)?.mm, port, known);
  return DONE;
}

function kernelVma(host: Host, bytes: Uint8Array, offset: number): KernelVma | undefined {
  const { start, end, inode, prot } = VmaRecord.decode(bytes, offset);
  const file = host.files.find(Number(inode))?.file;
  const first = Number(start);
  const last = Number(end);
  const sound = isPageAligned(first) && isPageAligned(last) && first < last && last <= USER_ADDRESS_END;
  if (file === undefined || !sound) return undefined;
  return { startPage: first / PAGE_SIZE_BYTES, endPage: last / PAGE_SIZE_BYTES, prot, fileId: file.id };
}

/** MORE: the answer carries further protections by itself. */
export const more = (_caller: Caller): Reply => DONE;
