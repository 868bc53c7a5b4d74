/**
 * The address space of one process, as far as enclaves are mapped in it: VMAs, and which protections the process has
 * yet to apply to its real mappings.
 * Source: sgx_mmap in arch/x86/kernel/cpu/sgx/driver.c; sgx_encl_may_map, sgx_vma_mprotect in encl.c
 */
import type { Enclu } from '../abi/sgx-arch.ts';
import { Madvise, MapFlags, MapType, Prot } from '../abi/linux.ts';
import { Errno } from '../lib/errno.ts';
import { IntervalMap } from '../lib/interval.ts';
import { fail, ok, why, type Failure, type KernelResult, type LeafResult } from '../lib/outcome.ts';
import { addressOf, linPage, type LinPage } from '../lib/units.ts';
import type { EnclaveAccess } from '../processor/enclu/access.ts';
import type { CheckEnterOptions, TcsParameters } from '../processor/enclu/check-enter.ts';
import type { EncluOperands } from '../processor/enclu/enclu.ts';
import { accessMemory } from './access.ts';
import { EnclaveFile } from './enclave.ts';
import { checkMapAccess, type FileAccess } from './file-access.ts';
import { handleFault, type FaultRequest, type FaultVerdict } from './fault.ts';
import type { Kernel } from './kernel.ts';
import { runCheckEnter, runEnclu, type InsideThread } from './leaves.ts';
import { maxProtOf } from './page-table.ts';
import type { ProcessPort, ProtectionRun } from './ports.ts';
import { effectiveProt, exceedsMaxProt, RWX } from './protection.ts';

/** One enclave mapping: pages [startPage, endPage). */
export interface VmaRecord {
  readonly startPage: number;
  readonly endPage: number;
  readonly prot: number;
  readonly fileId: number;
}

/** A device's open file. */
export interface MappedFile {
  readonly node: string;
  readonly access: FileAccess;
}

export interface Vma {
  readonly file: EnclaveFile;
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
    const isEnclave = file instanceof EnclaveFile;
    const forbidden = (isEnclave ? checkShared(flags) : undefined) ?? checkMapAccess(file.access, prot);
    if (forbidden) return forbidden;
    if (!isEnclave) return fail(Errno.ENODEV, why('the device can be mapped', '/dev/sgx_enclave', file.node));
    const access = prot & RWX;
    const refused = this.#checkMayMap(file, startPage, endPage, access);
    if (refused) return refused;
    this.munmap(startPage, endPage);
    this.#map(file, startPage, endPage, access);
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
      const refused = checkMapAccess(value.file.access, prot) ?? this.#checkMayMap(value.file, start, end, access);
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
    return this.#vmas.get(page)?.file;
  }

  /** Enclaves mapped here. */
  enclaves(): ReadonlySet<EnclaveFile> {
    return new Set([...this.#vmas].map(({ value }) => value.file));
  }

  maps(file: EnclaveFile, startPage: number, endPage: number): boolean {
    return this.#vmas.overlapping(startPage, endPage).some(({ value }) => value.file === file);
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
        if (vma === undefined || vma.file !== file || vma.prot === 0) return undefined;
        const entry = file.pages.get(page);
        if (entry === undefined || exceedsMaxProt(vma.prot, entry.flags)) return undefined;
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
      if (part.value.file !== file) continue;
      for (const { start, end, value } of this.#applied.clipped(part.start, part.end)) {
        this.#require(part.value, start, end, (prot) => prot !== value);
      }
    }
  }

  /** For a new child: the mappings of its parent, whose protections may be any. */
  inherit(vmas: readonly VmaRecord[]): void {
    for (const { startPage, endPage, prot, fileId } of vmas) {
      const file = this.kernel.enclave(fileId);
      if (file === undefined) continue;
      const vma = { file, prot: prot & RWX };
      file.mms.add(this);
      this.#vmas.set(startPage, endPage, vma);
      this.#applied.set(startPage, endPage, vma.prot);
      this.#require(vma, startPage, endPage, () => true);
    }
  }

  /** For EnclaveFile: the enclave is gone. */
  forgetFile(file: EnclaveFile): void {
    for (const { start, end, value } of this.#vmas) if (value.file === file) this.munmap(start, end);
    this.#acknowledged.delete(file.id);
  }

  exit(): void {
    this.#exited = true;
    for (const file of this.enclaves()) file.mms.delete(this);
    this.#vmas.clear();
    this.#applied.clear();
    this.#updates.clear();
    this.port.exited();
  }

  /** The process's mapping of the range has `prot` throughout now. */
  #map(file: EnclaveFile, startPage: number, endPage: number, prot: number): void {
    file.mms.add(this);
    this.#vmas.set(startPage, endPage, { file, prot });
    setMerged(this.#applied, startPage, endPage, prot);
    this.#updates.delete(startPage, endPage);
    this.refresh(file, startPage, endPage);
  }

  /** Asks for the effective protections of the pages with contents, where `differs` says so. */
  #require(vma: Vma, startPage: number, endPage: number, differs: (prot: number) => boolean): void {
    const { epcm } = this.kernel.processor;
    let start = 0;
    let end = 0;
    let wanted = 0;
    const flush = () => {
      if (start === end) return;
      setMerged(this.#applied, start, end, wanted);
      setMerged(this.#updates, start, end, wanted);
    };
    vma.file.visitFilled(startPage, endPage, (page, flags, epcPage) => {
      const prot = effectiveProt(vma.prot, flags, epcm.secInfoFlags(epcPage));
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

  /** sgx_encl_may_map. */
  #checkMayMap(file: EnclaveFile, startPage: number, endPage: number, access: number): Failure | undefined {
    return (
      checkRange(file, startPage, endPage) ?? this.#checkPersonality() ?? checkMaxProt(file, startPage, endPage, access)
    );
  }

  #checkPersonality(): Failure | undefined {
    if (!this.port.readImpliesExec()) return undefined;
    return fail(Errno.EACCES, why('the personality has no READ_IMPLIES_EXEC', 'not set', 'set'));
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

function checkShared(flags: number): Failure | undefined {
  const type = MapFlags.extract(flags, 'MAP_TYPE');
  if (type === MapType.MAP_SHARED || type === MapType.MAP_SHARED_VALIDATE) return undefined;
  return fail(Errno.EINVAL, why('the mapping is MAP_SHARED', 'MAP_SHARED', MapFlags.format(flags)));
}

function checkRange(file: EnclaveFile, startPage: number, endPage: number): Failure | undefined {
  if (!file.initialized) return undefined;
  const start = addressOf(linPage(startPage));
  const end = addressOf(linPage(endPage));
  if (start >= file.base && end <= file.base + file.sizeBytes) return undefined;
  return fail(
    Errno.EACCES,
    why(
      'a mapping of an initialized enclave lies in ELRANGE',
      `${hex(file.base)}-${hex(file.base + file.sizeBytes)}`,
      `${hex(start)}-${hex(end)}`,
    ),
  );
}

/** Pages that are there allow all of `access`; pages that are not impose nothing. */
function checkMaxProt(file: EnclaveFile, startPage: number, endPage: number, access: number): Failure | undefined {
  let refused: Failure | undefined;
  file.pages.visit(startPage, endPage, (page, flags) => {
    if ((access & ~maxProtOf(flags)) === 0) return true;
    refused = fail(
      Errno.EACCES,
      why(
        'the protection is within what each page was added with',
        `at most ${Prot.format(maxProtOf(flags))} at ${hex(addressOf(page))}`,
        Prot.format(access),
        'map pages with the rights of their SECINFO',
      ),
    );
    return false;
  });
  return refused;
}

const hex = (address: number): string => `0x${address.toString(16)}`;
