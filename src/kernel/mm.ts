/**
 * The address space of one process, as far as enclaves are mapped in it: VMAs, and which protections the process has
 * yet to apply to its real mappings.
 * Source: sgx_mmap in arch/x86/kernel/cpu/sgx/driver.c; sgx_vma_mprotect in encl.c
 */
import type { Enclu } from '../abi/sgx-arch.ts';
import { Madvise, Prot } from '../abi/linux.ts';
import { Errno } from '../lib/errno.ts';
import { IntervalMap } from '../lib/interval.ts';
import { fail, ok, why, type KernelResult, type LeafResult } from '../lib/outcome.ts';
import type { LinPage } from '../lib/units.ts';
import type { EnclaveAccess } from '../processor/enclu/access.ts';
import type { CheckEnterOptions, TcsParameters } from '../processor/enclu/check-enter.ts';
import type { EncluOperands } from '../processor/enclu/enclu.ts';
import { accessMemory } from './access.ts';
import type { EnclaveFile } from './enclave.ts';
import { checkMapAccess } from './file-access.ts';
import { handleFault, type FaultRequest, type FaultVerdict } from './fault.ts';
import type { Kernel } from './kernel.ts';
import { runCheckEnter, runEnclu, type InsideThread } from './leaves.ts';
import { checkMayMap, checkShared, isMappable, type Mappable, type MappedFile } from './may-map.ts';
import type { ProcessPort, ProtectionRun } from './ports.ts';
import { effectiveProt, exceedsLimit, RWX } from './protection.ts';

/** One enclave mapping: pages [startPage, endPage). */
export interface VmaRecord {
  readonly startPage: number;
  readonly endPage: number;
  readonly prot: number;
  readonly fileId: number;
}

export interface Vma {
  readonly file: Mappable;
  readonly prot: number;
}

export class Mm {
  readonly kernel: Kernel;
  readonly port: ProcessPort;
  #exited = false;
  readonly #vmas = new IntervalMap<Vma>();
  /** What the process's mappings have once it has applied all updates. */
  readonly #applied = new IntervalMap<number>();
  readonly #updates = new IntervalMap<number>();
  /** By enclave id: the last generation whose updates the process has applied. */
  readonly #acknowledged = new Map<number, number>();

  constructor(kernel: Kernel, port: ProcessPort) {
    this.kernel = kernel;
    this.port = port;
  }

  /**
   * Maps [startPage, endPage), replacing what was there. The address has been chosen and the generic checks made.
   * Offsets have no meaning: a page's identity is its address.
   *
   * EINVAL: MAP_PRIVATE. EACCES: the file's access mode. ENODEV: the file cannot be mapped. EACCES: an initialized
   * enclave and not in ELRANGE; READ_IMPLIES_EXEC; a page there was added with less than `prot`.
   */
  mmap(file: MappedFile, startPage: number, endPage: number, prot: number, flags: number): KernelResult {
    const target = isMappable(file) ? file : undefined;
    const forbidden = (target && checkShared(flags)) ?? checkMapAccess(file.access, prot);
    if (forbidden) return forbidden;
    if (target === undefined) return fail(Errno.ENODEV, why('the file can be mapped', 'one that can', file.node));
    const access = prot & RWX;
    const refused = checkMayMap(this.port, target, startPage, endPage, access);
    if (refused) return refused;
    this.munmap(startPage, endPage);
    this.#map(target, startPage, endPage, access);
    return ok();
  }

  /**
   * Changes the protection of the enclave VMAs in the range, all or none; false when there are none. Linux goes VMA by
   * VMA, and so does who calls this.
   * EACCES: the file's access mode, then as for mmap, of each part; an initialized enclave may have been mapped outside of ELRANGE before.
   */
  mprotect(startPage: number, endPage: number, prot: number): KernelResult<boolean> {
    const access = prot & RWX;
    const parts = this.#vmas.clipped(startPage, endPage);
    for (const { start, end, value } of parts) {
      const refused = checkMapAccess(value.file.access, prot) ?? checkMayMap(this.port, value.file, start, end, access);
      if (refused) return refused;
    }
    for (const { start, end, value } of parts) this.#map(value.file, start, end, access);
    return ok(parts.length > 0);
  }

  /** The range is no longer of any enclave, whatever takes its place. */
  munmap(startPage: number, endPage: number): void {
    const files = new Set(this.#vmas.overlapping(startPage, endPage).map(({ value }) => value.file));
    if (files.size === 0) return;
    this.#vmas.delete(startPage, endPage);
    this.#applied.delete(startPage, endPage);
    this.#updates.delete(startPage, endPage);
    for (const { value } of this.#vmas) files.delete(value.file);
    for (const file of files) file.mms.delete(this);
  }

  /**
   * Moves a mapping; its pages are then those of the new addresses.
   * EFAULT: the old range is not within one VMA, or would grow.
   */
  mremap(oldStart: number, oldEnd: number, newStart: number, newEnd: number): KernelResult {
    const touched = this.#vmas.overlapping(oldStart, oldEnd);
    const [vma] = touched;
    if (vma === undefined || touched.length > 1 || vma.start > oldStart || vma.end < oldEnd) {
      return fail(Errno.EFAULT, why('the old range lies in one mapping', 'one', `${touched.length}, not covering it`));
    }
    if (newEnd - newStart > oldEnd - oldStart) {
      return fail(
        Errno.EFAULT,
        why('an enclave mapping does not grow', `${oldEnd - oldStart} pages`, `${newEnd - newStart} pages`),
      );
    }
    const { file, prot } = vma.value;
    this.munmap(oldStart, oldEnd);
    this.munmap(newStart, newEnd);
    this.#map(file, newStart, newEnd, prot);
    return ok();
  }

  /** EINVAL: advice that mappings of device memory do not take. ENODEV, EACCES: MADV_REMOVE, by access mode. */
  madvise(startPage: number, endPage: number, advice: number): KernelResult {
    const [vma] = this.#vmas.overlapping(startPage, endPage);
    if (vma === undefined || acceptedAdvice.has(advice)) return ok();
    if (advice === Madvise.MADV_REMOVE) {
      const { writable } = vma.value.file.access;
      return fail(writable ? Errno.ENODEV : Errno.EACCES, why('the file has holes', 'a regular file', 'a device'));
    }
    return fail(Errno.EINVAL, why('the advice suits device memory', 'advice on access patterns', `advice ${advice}`));
  }

  vmas(): VmaRecord[] {
    return [...this.#vmas].map(({ start, end, value: { file, prot } }) => {
      return { startPage: start, endPage: end, prot, fileId: file.id };
    });
  }

  vmaAt(page: LinPage): Vma | undefined {
    return this.#vmas.get(page);
  }

  enclaveAt(page: LinPage): EnclaveFile | undefined {
    return this.#vmas.get(page)?.file.enclaveAt(page);
  }

  /** Enclaves mapped here. */
  enclaves(): ReadonlySet<EnclaveFile> {
    return new Set([...this.#vmas].flatMap(({ start, end, value }) => value.file.enclavesIn(start, end)));
  }

  maps(file: EnclaveFile, startPage: number, endPage: number): boolean {
    return this.#vmas.overlapping(startPage, endPage).some(({ value }) => value.file === file.memory);
  }

  /** Protections to apply to the process's mappings, in order of address; they count as applied from now on. */
  takeUpdates(): ProtectionRun[] {
    if (this.#updates.size === 0) return [];
    const runs = [...this.#updates].map(({ start, end, value }) => ({ startPage: start, endPage: end, prot: value }));
    this.#updates.clear();
    return runs;
  }

  /** No thread of the process uses rights from before `generation` of the enclave any more. */
  acknowledge(file: EnclaveFile, generation: number): void {
    this.#acknowledged.set(file.id, generation);
  }

  /** Nobody here can use rights from before `generation`. */
  hasApplied(file: EnclaveFile, generation: number): boolean {
    if (this.#exited || !this.port.hasThreadInside(file.id)) return true;
    const acknowledged = this.#acknowledged.get(file.id);
    return acknowledged !== undefined && ((acknowledged - generation) | 0) >= 0;
  }

  fault(request: FaultRequest): FaultVerdict {
    const verdict = handleFault(this, request);
    this.kernel.reclaimer.balance();
    return verdict;
  }

  /** The enclave through the mappings of this process, for the processor's ENCLU leaves. Its SECS must be in EPC. */
  access(file: EnclaveFile): EnclaveAccess {
    return {
      secs: file.secs!,
      isInElrange: (address) => file.isInElrange(address),
      isWritable: (page) => ((this.#vmas.get(page)?.prot ?? 0) & Prot.bit.PROT_WRITE) !== 0,
      lookup: (page) => {
        const vma = this.#vmas.get(page);
        if (vma === undefined || vma.file.enclaveAt(page) !== file || vma.prot === 0) return undefined;
        const entry = file.pages.get(page);
        if (entry === undefined || exceedsLimit(file, vma.prot, entry.flags)) return undefined;
        return file.pages.residentPage(page);
      },
    };
  }

  /** What a debugger reads and writes through /proc/PID/mem or ptrace. EIO. */
  accessMemory(address: number, buffer: Uint8Array, kind: 'read' | 'write'): KernelResult {
    const result = accessMemory(this, address, buffer, kind);
    this.kernel.reclaimer.balance();
    return result;
  }

  /** ENCLU of a thread of this process that is inside; pages that are missing are brought. */
  enclu(thread: InsideThread, leaf: number, operands: EncluOperands): LeafResult {
    return runEnclu(this, thread, leaf, operands);
  }

  /** The checks of EENTER (2) or ERESUME (3). */
  checkEnter(
    tcsAddress: number,
    aep: bigint,
    leaf: typeof Enclu.EENTER | typeof Enclu.ERESUME,
    options: CheckEnterOptions,
  ): LeafResult<TcsParameters> {
    return runCheckEnter(this, tcsAddress, aep, leaf, options);
  }

  /** For EnclaveFile: finds what must be applied in [startPage, endPage) now. */
  refresh(file: EnclaveFile, startPage: number, endPage: number): void {
    for (const part of this.#vmas.clipped(startPage, endPage)) {
      if (part.value.file !== file.memory) continue;
      for (const { start, end, value } of this.#applied.clipped(part.start, part.end)) {
        this.#require(file, part.value.prot, start, end, (prot) => prot !== value);
      }
    }
  }

  /** For a new child: the mappings of its parent, whose protections may be any. */
  inherit(vmas: readonly VmaRecord[]): void {
    for (const { startPage, endPage, prot, fileId } of vmas) {
      const file = this.kernel.mappable(fileId);
      if (file === undefined) continue;
      const vma = { file, prot: prot & RWX };
      file.mms.add(this);
      this.#vmas.set(startPage, endPage, vma);
      this.#applied.set(startPage, endPage, vma.prot);
      for (const enclave of file.enclavesIn(startPage, endPage)) {
        this.#require(enclave, vma.prot, startPage, endPage, () => true);
      }
    }
  }

  /** For the file: it is gone. */
  forgetFile(file: Mappable): void {
    for (const { start, end, value } of this.#vmas) if (value.file === file) this.munmap(start, end);
    this.#acknowledged.delete(file.id);
  }

  exit(): void {
    this.#exited = true;
    for (const { value } of this.#vmas) value.file.mms.delete(this);
    this.#vmas.clear();
    this.#applied.clear();
    this.#updates.clear();
    this.port.exited();
  }

  /** The process's mapping of the range has `prot` throughout now. */
  #map(file: Mappable, startPage: number, endPage: number, prot: number): void {
    file.mms.add(this);
    this.#vmas.set(startPage, endPage, { file, prot });
    setMerged(this.#applied, startPage, endPage, prot);
    this.#updates.delete(startPage, endPage);
    for (const enclave of file.enclavesIn(startPage, endPage)) this.refresh(enclave, startPage, endPage);
  }

  /** Asks for the effective protections of the pages with contents, where `differs` says so. */
  #require(
    enclave: EnclaveFile,
    vmaProt: number,
    startPage: number,
    endPage: number,
    differs: (prot: number) => boolean,
  ): void {
    const { epcm } = this.kernel.processor;
    let start = 0;
    let end = 0;
    let wanted = 0;
    const flush = () => {
      if (start === end) return;
      setMerged(this.#applied, start, end, wanted);
      setMerged(this.#updates, start, end, wanted);
    };
    enclave.visitFilled(startPage, endPage, (page, flags, epcPage) => {
      const limit = enclave.limitOf(page, flags);
      const prot = effectiveProt(this.kernel.rules, vmaProt, limit, epcm.secInfoFlags(epcPage));
      if (!differs(prot)) return;
      if (page !== end || prot !== wanted) {
        flush();
        start = page;
        wanted = prot;
      }
      end = page + 1;
    });
    flush();
  }
}

/** Sets a range and joins it to neighbours of the same value, so that page-by-page changes do not pile up. */
function setMerged(map: IntervalMap<number>, start: number, end: number, value: number): void {
  const left = map.find(start - 1);
  const right = map.find(end);
  map.set(left?.value === value ? left.start : start, right?.value === value ? right.end : end, value);
}

/**
 * What madvise does not refuse for VM_PFNMAP, VM_IO and VM_DONTEXPAND.
 * Model: Linux takes MADV_HUGEPAGE too, to no effect; on the memory behind our mappings it would have one.
 */
const acceptedAdvice: ReadonlySet<number> = new Set([
  Madvise.MADV_NORMAL,
  Madvise.MADV_RANDOM,
  Madvise.MADV_SEQUENTIAL,
  Madvise.MADV_WILLNEED,
  Madvise.MADV_DONTFORK,
  Madvise.MADV_MERGEABLE,
  Madvise.MADV_UNMERGEABLE,
  Madvise.MADV_NOHUGEPAGE,
  Madvise.MADV_DONTDUMP,
  Madvise.MADV_KEEPONFORK,
]);
