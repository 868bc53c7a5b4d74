/**
 * The memory of a virtual process: ordinary pages, and enclave mappings with the protections that they really have, so
 * that what the kernel model tells a process to apply (and what it forgets) can be seen.
 */
import { adviceName, Madvise, MapFlags, MapType, MremapFlags, Prot, PROT_NONE } from '../abi/linux.ts';
import { PageFaultError, Vector } from '../abi/x86.ts';
import type { OpenFile } from '../devices/device-table.ts';
import { resultOf } from '../kernel/fault.ts';
import type { Mm } from '../kernel/mm.ts';
import { Errno, errnoName, type ErrnoName } from '../lib/errno.ts';
import { IntervalMap } from '../lib/interval.ts';
import { why, type KernelResult, type Why } from '../lib/outcome.ts';
import type { PlainRecord } from '../lib/plain.ts';
import {
  addressOf,
  isPageAligned,
  linPage,
  PAGE_SIZE_BYTES,
  pageOf,
  USER_ADDRESS_END,
  type LinPage,
} from '../lib/units.ts';
import type { TraceEvent } from '../trace/events.ts';
import type { VirtualMachine } from './machine.ts';
import { VirtualMemory } from './memory.ts';
import type { Access, Touched } from './touched.ts';

/** More tries than that are a livelock. */
const MAX_TRIES = 50;
/** Where mappings go that nobody asked to be anywhere. */
const MAPPINGS_START = 0x7e00_0000_0000;
/** What reads of the abort page give. */
const ONES = 0xff;
const { P, W, U } = PageFaultError.bit;
const { MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_ANONYMOUS } = MapFlags.bit;
const { MREMAP_MAYMOVE, MREMAP_FIXED } = MremapFlags.bit;

export abstract class VirtualAddressSpace {
  readonly machine: VirtualMachine;
  memory: VirtualMemory;
  mm!: Mm;
  /** Why the last system call was refused. */
  lastWhy: Why | undefined;
  /** The protections that its mappings really have. */
  readonly #native = new IntervalMap<number>();
  #nextMapping = MAPPINGS_START;

  constructor(machine: VirtualMachine, memory: VirtualMemory) {
    this.machine = machine;
    this.memory = memory;
  }

  abstract readonly pid: number;
  /** The open file; undefined when the descriptor is not open, or of no device. */
  abstract file(fd: number): OpenFile | undefined;
  /** Takes threads out of enclaves that are mapped here no more, as the interrupt does that flushes translations. */
  abstract leaveUnmapped(): void;

  /**
   * The address. Without MAP_FIXED where it was asked for if there is room, else anywhere. EBADF, EINVAL, ENOMEM,
   * EEXIST (MAP_FIXED_NOREPLACE), and of device memory what `Mm.mmap` says.
   */
  mmap(address: number, lengthBytes: number, prot: number, flags: number = MapType.MAP_SHARED, fd = -1): number {
    const ret = this.#mmap(address, lengthBytes, prot, flags, fd);
    if (this.file(fd) === undefined || (flags & MAP_ANONYMOUS) !== 0) return ret;
    const args = () => ({
      ...place(Math.max(address, ret), lengthBytes),
      prot: Prot.format(prot),
      flags: MapFlags.format(flags),
    });
    return this.#said('mmap', args, ret);
  }

  #mmap(address: number, lengthBytes: number, prot: number, flags: number, fd: number): number {
    const anonymous = (flags & MAP_ANONYMOUS) !== 0;
    const file = this.file(fd);
    if (!anonymous && file === undefined) return this.badDescriptor(fd);
    if (lengthBytes <= 0) return this.refuse('EINVAL', 'the length is not zero', 'above 0', `${lengthBytes}`);
    const at = this.#placeFor(address, lengthBytes, flags);
    if (at < 0) return at;
    const [start, end] = pages(at, lengthBytes);
    if (file !== undefined && !anonymous) {
      const result = this.mm.mmap(file, start, end, prot, flags);
      if (result.kind === 'errno') return this.refused(result);
      this.memory.unmap(at, lengthBytes);
      this.#native.set(start, end, prot);
    } else {
      this.mm.munmap(start, end);
      this.#native.delete(start, end);
      this.memory.map(at, lengthBytes, { prot });
    }
    this.#settle();
    return at;
  }

  #placeFor(address: number, lengthBytes: number, flags: number): number {
    if (lengthBytes > USER_ADDRESS_END) return this.refuse('ENOMEM', 'user space is that large', 'less', 'more');
    if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) !== 0) {
      if (address > USER_ADDRESS_END - lengthBytes)
        return this.refuse('ENOMEM', 'the range is in user space', hex(USER_ADDRESS_END), hex(address + lengthBytes));
      if (!isPageAligned(address)) return this.refuse('EINVAL', 'the address is page-aligned', 'so', hex(address));
      if ((flags & MAP_FIXED_NOREPLACE) !== 0 && !this.#isFree(address, lengthBytes))
        return this.refuse('EEXIST', 'nothing is mapped there', 'a free range', 'a mapping');
      return address;
    }
    const hint = addressOf(pageOf(address));
    if (hint > 0 && hint <= USER_ADDRESS_END - lengthBytes && this.#isFree(hint, lengthBytes)) return hint;
    while (!this.#isFree(this.#nextMapping, lengthBytes)) this.#nextMapping += PAGE_SIZE_BYTES;
    const place = this.#nextMapping;
    this.#nextMapping = addressOf(pages(place, lengthBytes)[1]);
    return place;
  }

  #isFree(address: number, lengthBytes: number): boolean {
    const [start, end] = pages(address, lengthBytes);
    return this.#native.overlapping(start, end).length === 0 && !this.memory.overlaps(address, lengthBytes);
  }

  /** EINVAL: not page-aligned, or empty. */
  munmap(address: number, lengthBytes: number): number {
    if (!isPageAligned(address) || lengthBytes <= 0 || address + lengthBytes > USER_ADDRESS_END)
      return this.#badRange(address, lengthBytes);
    this.#unmap(address, lengthBytes);
    return 0;
  }

  #unmap(address: number, lengthBytes: number): void {
    const [start, end] = pages(address, lengthBytes);
    const isOurs = this.#hasEnclave(start, end);
    this.mm.munmap(start, end);
    this.#native.delete(start, end);
    this.memory.unmap(address, lengthBytes);
    this.#settle();
    if (isOurs) this.#said('munmap', () => place(address, lengthBytes), 0);
  }

  /** EINVAL: not page-aligned. ENOMEM: a hole. EACCES, as `Mm.mprotect` says. */
  mprotect(address: number, lengthBytes: number, prot: number): number {
    if (!isPageAligned(address)) return this.#badRange(address, lengthBytes);
    if (lengthBytes <= 0) return 0;
    const [start, end] = pages(address, lengthBytes);
    const ret = this.#mprotect(address, lengthBytes, prot);
    if (!this.#hasEnclave(start, end)) return ret;
    return this.#said('mprotect', () => ({ ...place(address, lengthBytes), prot: Prot.format(prot) }), ret);
  }

  /** VMA by VMA, up to the first that refuses, or to a hole. */
  #mprotect(address: number, lengthBytes: number, prot: number): number {
    const [start, end] = pages(address, lengthBytes);
    const vmas = this.mm.vmas().filter(({ startPage, endPage }) => endPage > start && startPage < end);
    for (let page: number = start; page < end;) {
      const [vma] = vmas.filter(({ endPage }) => endPage > page);
      const isOurs = vma !== undefined && vma.startPage <= page;
      const to = Math.min(end, isOurs ? vma.endPage : (vma?.startPage ?? end));
      if (isOurs) {
        const result = this.mm.mprotect(page, to, prot);
        if (result.kind === 'errno') return this.refused(result);
        this.#native.set(page, to, prot);
        this.applyUpdates();
      } else if (!this.memory.protect(page * PAGE_SIZE_BYTES, (to - page) * PAGE_SIZE_BYTES, prot)) {
        return this.refuse('ENOMEM', 'all of the range is mapped', 'no hole', 'a hole');
      }
      page = to;
    }
    return 0;
  }

  /**
   * Moves or shrinks a mapping; the new address. `to` is looked at with MREMAP_FIXED only. EINVAL, ENOMEM, and EFAULT as
   * `Mm.mremap` says.
   */
  mremap(address: number, oldBytes: number, newBytes: number, flags: number = MREMAP_MAYMOVE, to = 0): number {
    const fixed = (flags & MREMAP_FIXED) !== 0;
    if (!isPageAligned(address) || newBytes <= 0 || (fixed && (flags & MREMAP_MAYMOVE) === 0))
      return this.#badRange(address, newBytes);
    const [oldStart, oldEnd] = pages(address, oldBytes);
    if (fixed && (!isPageAligned(to) || (to < address + oldBytes && address < to + newBytes)))
      return this.#badRange(to, newBytes);
    const target = fixed ? to : address;
    if (this.mm.vmaAt(oldStart) === undefined) {
      if (!this.memory.overlaps(address, 1)) return this.#hole();
      if (this.memory.move(address, oldBytes, target, newBytes)) return target;
      return this.#hole();
    }
    // In Linux's order: what makes room is gone, also when the move is refused then.
    if (fixed) this.#unmap(target, newBytes);
    if (newBytes < oldBytes) this.#unmap(address + newBytes, oldBytes - newBytes);
    if (!fixed && newBytes <= oldBytes) return address;
    const [start, end] = pages(target, newBytes);
    const result = this.mm.mremap(oldStart, Math.min(oldEnd, oldStart + end - start), start, end);
    const args = () => ({ ...place(address, oldBytes), newAddress: hex(target), newLength: hex(newBytes) });
    this.#said('mremap', args, result.kind === 'errno' ? this.refused(result) : 0);
    if (result.kind === 'errno') return -result.errno;
    this.#native.delete(oldStart, oldEnd);
    // Whatever the rights of the pages at the old place were.
    this.#native.set(start, end, this.mm.vmaAt(start)!.prot);
    this.#settle();
    return target;
  }

  #hole(): number {
    return this.refuse('EFAULT', 'the old range is mapped', 'no hole', 'a hole');
  }

  /** EINVAL, ENODEV, EACCES, as `Mm.madvise` says; ENOMEM: a hole, behind which it goes on. */
  madvise(address: number, lengthBytes: number, advice: number): number {
    if (!isPageAligned(address)) return this.#badRange(address, lengthBytes);
    if (!advices.has(advice)) return this.refuse('EINVAL', 'the advice exists', 'a number of MADV_', `${advice}`);
    const [start, end] = pages(address, lengthBytes);
    const ret = this.#advise(start, end, advice);
    if (!this.#hasEnclave(start, end)) return ret;
    return this.#said('madvise', () => ({ ...place(address, lengthBytes), advice: adviceName(advice) }), ret);
  }

  #advise(start: LinPage, end: LinPage, advice: number): number {
    let complete = true;
    for (let page = start; page < end; page = linPage(page + 1)) {
      const result = this.mm.madvise(page, page + 1, advice);
      if (result.kind === 'errno') return this.refused(result);
      complete &&= this.#native.get(page) !== undefined || this.memory.protOf(addressOf(page)) !== undefined;
    }
    return complete ? 0 : this.refuse('ENOMEM', 'all of the range is mapped', 'no hole', 'a hole');
  }

  /** fork: a child's mappings are its parent's as they really are. */
  inherit(parent: VirtualAddressSpace): void {
    for (const { start, end, value } of parent.#native) this.#native.set(start, end, value);
    this.#nextMapping = parent.#nextMapping;
    this.applyUpdates();
  }

  /** The end of the process, or exec. */
  leaveMemory(): void {
    this.machine.kernel.exitProcess(this.mm);
    this.#native.clear();
    this.memory = new VirtualMemory();
  }

  /** Reads as the program would, outside of enclaves: `bytes`, or what it gets instead. */
  read(address: number, lengthBytes: number): Touched & { readonly bytes: Uint8Array } {
    const bytes = new Uint8Array(lengthBytes);
    const touched = this.#accessEach(address, bytes, 'read', (part) => part.fill(ONES));
    return { ...touched, bytes };
  }

  /** Writes as the program would, outside of enclaves. */
  write(address: number, bytes: Uint8Array): Touched {
    return this.#accessEach(address, bytes, 'write', () => {});
  }

  #accessEach(
    address: number,
    bytes: Uint8Array,
    access: 'read' | 'write',
    abortPage: (part: Uint8Array) => void,
  ): Touched {
    let worst: Touched = { kind: 'ok' };
    for (let done = 0; done < bytes.length;) {
      const at = address + done;
      const part = bytes.subarray(done, done + PAGE_SIZE_BYTES - (at % PAGE_SIZE_BYTES));
      const touched = this.mm.vmaAt(pageOf(at))
        ? this.touch(at, access, false)
        : this.#accessOrdinary(at, part, access);
      if (touched.kind === 'abort-page') abortPage(part);
      else if (touched.kind !== 'ok') return touched;
      if (touched.kind === 'abort-page') worst = touched;
      done += part.length;
    }
    return worst;
  }

  #accessOrdinary(address: number, part: Uint8Array, access: 'read' | 'write'): Touched {
    const prot = this.memory.protOf(address);
    if (prot === undefined) return { kind: 'unmapped' };
    if (this.memory[access](address, part) === part.length) return { kind: 'ok' };
    const errorCode = U | (prot === PROT_NONE ? 0 : P) | (access === 'write' ? W : 0);
    return { kind: 'fault', vector: Vector.PF, errorCode, address: addressOf(pageOf(address)) };
  }

  /** One access to an enclave page, mended as long as the kernel model mends it. */
  touch(address: number, access: Access, inside: boolean, beforeRetry: () => void = () => {}): Touched {
    const page = pageOf(address);
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      beforeRetry();
      if (inside && this.canReach(address, access)) return { kind: 'ok' };
      const verdict = this.mm.fault({ page, access, inside });
      this.emit(() => ({
        kind: 'fault',
        name: '#PF',
        args: { access, address: hex(address), from: inside ? 'inside' : 'outside' },
        ...resultOf(verdict),
      }));
      this.applyUpdates();
      if (verdict.kind === 'fault') {
        const { vector, errorCode, address: at } = verdict.fault;
        return { kind: 'fault', vector, errorCode, address: at };
      }
      if (verdict.kind === 'not-ours') return { kind: 'unmapped' };
      if (verdict.kind !== 'retry') return { kind: verdict.kind };
    }
    throw new Error(`${access} of ${hex(address)} is retried for ever`);
  }

  /** What the process's own mapping allows right now, with no help of the host's. */
  canReach(address: number, access: Access): boolean {
    const page = pageOf(address);
    const prot = this.#native.get(page) ?? 0;
    const { PROT_READ, PROT_WRITE, PROT_EXEC } = Prot.bit;
    const needed = { read: PROT_READ | PROT_WRITE | PROT_EXEC, write: PROT_WRITE, exec: PROT_EXEC }[access];
    if ((prot & needed) === 0) return false;
    const file = this.mm.enclaveAt(page);
    return file?.secs !== undefined && this.machine.contents.has(file.secs, page);
  }

  /** The protection that its mapping there really has. */
  nativeProt(address: number): number | undefined {
    return this.#native.get(pageOf(address));
  }

  applyUpdates(): void {
    for (const { startPage, endPage, prot } of this.mm.takeUpdates()) this.#native.set(startPage, endPage, prot);
  }

  #settle(): void {
    this.applyUpdates();
    this.leaveUnmapped();
    this.machine.releaseUnreferenced();
  }

  #hasEnclave(start: number, end: number): boolean {
    return this.#native.overlapping(start, end).length > 0;
  }

  /** Tells whoever listens to the trace. */
  emit(event: () => Omit<TraceEvent, 'pid'>): void {
    const { trace } = this.machine.machine;
    if (trace.on) trace.emit({ pid: this.pid, ...event() });
  }

  /** A system call on enclave memory, and what it gives. */
  #said(name: string, args: () => PlainRecord, ret: number): number {
    this.emit(() => ({
      kind: 'mmap',
      name,
      args: args(),
      ...(ret >= 0
        ? { outcome: 'ok', result: '0' }
        : { outcome: 'errno', result: errnoName(-ret), ...(this.lastWhy && { why: this.lastWhy }) }),
    }));
    return ret;
  }

  /** `0`, another value in hexadecimal, or `EACCES: the check that refused; expected ..., found ...`. */
  explain(ret: number): string {
    if (ret >= 0) return ret < 10 ? `${ret}` : hex(ret);
    const { lastWhy } = this;
    const because =
      lastWhy === undefined ? '' : `: ${lastWhy.check}; expected ${lastWhy.expected}, found ${lastWhy.found}`;
    return errnoName(-ret) + because;
  }

  /** What a system call gave, where it has to have worked. Throws an Error that says why it did not. */
  must(ret: number, name: string): number {
    if (ret < 0) throw new Error(`${name}: ${this.explain(ret)}`);
    return ret;
  }

  protected refused(result: Extract<KernelResult, { kind: 'errno' }>): number {
    this.lastWhy = result.why;
    return -result.errno;
  }

  protected refuse(errno: ErrnoName, check: string, expected: string, found: string): number {
    this.lastWhy = why(check, expected, found);
    return -Errno[errno];
  }

  protected badDescriptor(fd: number): number {
    return this.refuse('EBADF', 'the descriptor is open', 'an open descriptor', `${fd}`);
  }

  #badRange(address: number, lengthBytes: number): number {
    const found = `${hex(address)} + ${hex(lengthBytes)}`;
    return this.refuse('EINVAL', 'the range is page-aligned, not empty and in user space', 'such a range', found);
  }
}

const place = (address: number, lengthBytes: number): PlainRecord => ({
  address: hex(address),
  length: hex(lengthBytes),
});

const advices: ReadonlySet<number> = new Set(Object.values(Madvise));

const hex = (address: number): string => `0x${address.toString(16)}`;

function pages(address: number, lengthBytes: number): [start: LinPage, end: LinPage] {
  return [pageOf(address), pageOf(address + lengthBytes + PAGE_SIZE_BYTES - 1)];
}
