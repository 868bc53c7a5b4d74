/**
 * System calls on address ranges that hold, or are about to hold, enclave mappings. The model decides and remembers;
 * the stub then does to its own mappings what was decided.
 */
import { adviceName, MapFlags, Prot } from '../../abi/linux.ts';
import { STUB_NOT_A_DEVICE } from '../../abi/stub.ts';
import { Errno } from '../../lib/errno.ts';
import { fail, ok, why, type KernelResult } from '../../lib/outcome.ts';
import type { PlainRecord } from '../../lib/plain.ts';
import { isPageAligned, PAGE_SIZE_BYTES, pageOf, USER_ADDRESS_END, type LinPage } from '../../lib/units.ts';
import { outcomeOf } from '../../trace/events.ts';
import { DONE, hex, replyOf, trace, type Caller, type Reply } from './reply.ts';

interface PageRange {
  readonly start: LinPage;
  readonly end: LinPage;
}

/** The pages of [address, address + length), the length rounded up; undefined where no mapping could be. */
function pageRange(address: number, lengthBytes: number): PageRange | undefined {
  const end = Math.ceil((address + lengthBytes) / PAGE_SIZE_BYTES) * PAGE_SIZE_BYTES;
  if (!isPageAligned(address) || end <= address || end > USER_ADDRESS_END) return undefined;
  return { start: pageOf(address), end: pageOf(end) };
}

const badRange = (address: number, lengthBytes: number): KernelResult<never> =>
  fail(
    Errno.EINVAL,
    why(
      'the range is page-aligned, not empty and in user space',
      'such a range',
      `${hex(address)} + ${hex(lengthBytes)}`,
    ),
  );

const place = (address: number, lengthBytes: number): PlainRecord => ({
  address: hex(address),
  length: hex(lengthBytes),
});

/** Answers and says so in the trace. */
function answer(caller: Caller, name: string, args: () => PlainRecord, result: KernelResult<unknown>): Reply {
  trace(caller, () => ({ kind: 'mmap', name, args: args(), ...outcomeOf(result) }));
  return replyOf(result);
}

/** MMAP(inode, address, length, prot, flags). The stub has chosen the address. */
export function mmap(caller: Caller): Reply {
  const { host, session, mm, box } = caller;
  const file = host.files.find(box.arg(0))?.file;
  const address = box.arg(1);
  const lengthBytes = box.arg(2);
  const prot = box.arg(3) % 2 ** 32;
  const flags = box.arg(4) % 2 ** 32;
  if (file === undefined) return { ret: -STUB_NOT_A_DEVICE };
  const range = pageRange(address, lengthBytes);
  const result =
    range === undefined ? badRange(address, lengthBytes) : mm.mmap(file, range.start, range.end, prot, flags);
  const args = () => ({ ...place(address, lengthBytes), prot: Prot.format(prot), flags: MapFlags.format(flags) });
  if (result.kind === 'errno' && result.errno === Errno.ENODEV) {
    host.machine.devices.advice.unmappable(session.pid, file.node);
  }
  return answer(caller, 'mmap', args, result);
}

/** MPROTECT(address, length, prot). */
export function mprotect(caller: Caller): Reply {
  const { mm, box } = caller;
  const address = box.arg(0);
  const lengthBytes = box.arg(1);
  const prot = box.arg(2) % 2 ** 32;
  const range = pageRange(address, lengthBytes);
  if (range === undefined) return DONE;
  const result = mm.mprotect(range.start, range.end, prot);
  if (result.kind === 'ok' && !result.value) return DONE;
  return answer(caller, 'mprotect', () => ({ ...place(address, lengthBytes), prot: Prot.format(prot) }), result);
}

/** MUNMAP(address, length): the range is no longer of any enclave, whatever takes its place. */
export function munmap(caller: Caller): Reply {
  const { host, mm, box } = caller;
  const address = box.arg(0);
  const lengthBytes = box.arg(1);
  const range = pageRange(address, lengthBytes);
  if (range === undefined) return DONE;
  mm.munmap(range.start, range.end);
  host.sweepSoon();
  return answer(caller, 'munmap', () => place(address, lengthBytes), ok());
}

/** MREMAP(old address, old length, new address, new length). */
export function mremap(caller: Caller): Reply {
  const { mm, box } = caller;
  const address = box.arg(0);
  const lengthBytes = box.arg(1);
  const newAddress = box.arg(2);
  const newLengthBytes = box.arg(3);
  const from = pageRange(address, lengthBytes);
  const to = pageRange(newAddress, newLengthBytes);
  if (from === undefined || to === undefined) return replyOf(badRange(address, lengthBytes));
  const args = () => ({
    ...place(address, lengthBytes),
    newAddress: hex(newAddress),
    newLength: hex(newLengthBytes),
  });
  return answer(caller, 'mremap', args, mm.mremap(from.start, from.end, to.start, to.end));
}

/** MADVISE(address, length, advice). */
export function madvise(caller: Caller): Reply {
  const { mm, box } = caller;
  const address = box.arg(0);
  const lengthBytes = box.arg(1);
  const advice = box.arg(2) % 2 ** 32;
  const range = pageRange(address, lengthBytes);
  if (range === undefined) return DONE;
  const args = () => ({ ...place(address, lengthBytes), advice: adviceName(advice) });
  return answer(caller, 'madvise', args, mm.madvise(range.start, range.end, advice));
}
