/**
 * What a debugger sees of an enclave: /proc/PID/mem, PTRACE_PEEKDATA and PTRACE_POKEDATA, by EDBGRD and EDBGWR.
 * Source: sgx_vma_access in arch/x86/kernel/cpu/sgx/encl.c; __access_remote_vm in mm/memory.c
 *
 * Model: for virtual processes. A debugger of a real target reads and writes the memory behind its mappings by itself,
 * production enclaves included, since the kernel knows them as ordinary shared memory.
 */
import { Errno } from '../lib/errno.ts';
import { readU64, roundDown, writeU64 } from '../lib/bytes.ts';
import { fail, ok, why, type Failure, type KernelResult } from '../lib/outcome.ts';
import { PAGE_SIZE_BYTES, pageOf, type EpcIndex } from '../lib/units.ts';
import { edbgrd } from '../processor/encls/edbgrd.ts';
import { edbgwr } from '../processor/encls/edbgwr.ts';
import { bringPage } from './fault.ts';
import type { Mm } from './mm.ts';

/** What EDBGRD and EDBGWR move at a time. */
const UNIT_BYTES = 8;

/**
 * Reads into `buffer`, or writes it to the process's memory, from `address` on. All or nothing: bytes before the one that
 * failed may have been moved, but are not reported.
 *
 * EIO: no enclave is mapped there; it is not a debug enclave; a page was never added, or its mapping has more rights than
 * it was added with; EDBGRD or EDBGWR faulted (TCS: beyond its fields, or writing anything but FLAGS).
 */
export function accessMemory(mm: Mm, address: number, buffer: Uint8Array, kind: 'read' | 'write'): KernelResult {
  for (let done = 0; done < buffer.length;) {
    const at = address + done;
    const unit = roundDown(at, UNIT_BYTES);
    const offset = at - unit;
    const count = Math.min(UNIT_BYTES - offset, buffer.length - done);
    const failed = accessUnit(mm, address, unit, offset, buffer.subarray(done, done + count), kind);
    if (failed) return failed;
    done += count;
  }
  return ok();
}

/** One unit. The mapping is that of the first byte, as Linux has it, also where it ends before the last. */
function accessUnit(
  mm: Mm,
  start: number,
  unit: number,
  offset: number,
  part: Uint8Array,
  kind: 'read' | 'write',
): Failure | undefined {
  const page = reservePage(mm, start, unit);
  if (page.kind !== 'ok') return page;
  const { processor } = mm.kernel;
  const read = edbgrd(processor, page.value, unit % PAGE_SIZE_BYTES);
  if (read.kind === 'fault') return fail(Errno.EIO, read.why);
  const bytes = new Uint8Array(UNIT_BYTES);
  // Model: Linux does not look at the SGX code (a PENDING or MODIFIED page); what it then gives is undefined, here zero.
  if (read.kind === 'ok') writeU64(bytes, 0, read.value);
  if (kind === 'read') {
    part.set(bytes.subarray(offset, offset + part.length));
    return undefined;
  }
  bytes.set(part, offset);
  const written = edbgwr(processor, page.value, unit % PAGE_SIZE_BYTES, readU64(bytes, 0));
  return written.kind === 'fault' ? fail(Errno.EIO, written.why) : undefined;
}

/** The EPC page at `address`, brought if it was evicted; never one that would first have to be added. */
function reservePage(mm: Mm, start: number, address: number): KernelResult<EpcIndex> {
  const refuse = (check: string, expected: string, found: string): Failure =>
    fail(Errno.EIO, why(check, expected, found));
  const vma = mm.vmaAt(pageOf(start));
  if (vma === undefined) return refuse('an enclave is mapped there', 'a mapping', `none at ${hex(start)}`);
  const file = vma.file.enclaveAt(pageOf(address));
  if (file === undefined) return refuse('an enclave is there', 'one that is alive', `none at ${hex(address)}`);
  if (!file.debug) {
    return refuse('the enclave was created with ATTRIBUTES.DEBUG', 'a debug enclave', 'a production enclave');
  }
  if (!file.pages.has(pageOf(address))) return refuse('the page was added', 'a page', `none at ${hex(address)}`);
  const brought = bringPage(mm, vma, pageOf(address));
  return brought.kind === 'ok' ? brought : fail(Errno.EIO, brought.why);
}

const hex = (address: number): string => `0x${address.toString(16)}`;
