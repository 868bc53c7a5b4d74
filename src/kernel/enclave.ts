/**
 * An open file of /dev/sgx_enclave: one enclave, from open to the last reference.
 * Source: struct sgx_encl, arch/x86/kernel/cpu/sgx/encl.h, encl.c, driver.c
 */
import { OpenAccess } from '../abi/linux.ts';
import { Attributes } from '../abi/sgx-arch.ts';
import { sgxDevices } from '../abi/sgx-uapi.ts';
import { Errno } from '../lib/errno.ts';
import { IntervalMap } from '../lib/interval.ts';
import { fail, InvariantError, ok, type Failure, type KernelResult, type LeafResult } from '../lib/outcome.ts';
import { epcIndex, pageOf, type EpcIndex, type LinPage } from '../lib/units.ts';
import { epa } from '../processor/encls/epa.ts';
import { eremove } from '../processor/encls/eremove.ts';
import { etrack } from '../processor/encls/etrack.ts';
import type { EnclaveSpace } from './enclave-space.ts';
import { fileAccess, type FileAccess } from './file-access.ts';
import type { Kernel } from './kernel.ts';
import type { Mm } from './mm.ts';
import { EnclavePageTable, isEvicted, maxProtOf } from './page-table.ts';
import { VA_SLOTS, VersionArrays } from './version-arrays.ts';

export interface EnclaveFileOptions {
  /** What its descriptors are of. */
  readonly node?: string;
  /** The device that is mapped in its place, where mappings are of no enclave. */
  readonly space?: EnclaveSpace;
}

export class EnclaveFile {
  readonly node: string;
  readonly kernel: Kernel;
  readonly access: FileAccess;
  /** Small, unique in the machine. */
  readonly id: number;
  readonly space: EnclaveSpace | undefined;
  /** Address spaces that map it. */
  readonly mms: Set<Mm>;
  readonly pages = new EnclavePageTable();
  readonly versionArrays = new VersionArrays();

  /** ELRANGE in bytes; both 0 before CREATE. */
  base = 0;
  sizeBytes = 0;
  created = false;
  initialized = false;
  /** As given to CREATE. */
  attributes = 0n;
  /** Attributes that INIT lets pass. */
  attributesMask = 0n;
  /** The SECS's EPC page, while it is in EPC. */
  secs: EpcIndex | undefined;
  /** Its handle in the backing store, while it is evicted. */
  evictedSecs: number | undefined;
  /** Rises when rights are cut that entries were checked against, which must be checked again then. 32 bits. */
  generation = 0;
  /** Pages that entries were checked against since the generation last rose: TCSs and save areas. */
  readonly #entryPages = new IntervalMap<true>();
  /** An ioctl is in progress (SGX_ENCL_IOCTL). */
  busy = false;
  /** Rights that were cut in [start, end) and that somebody may still use. */
  #cuts: { readonly start: number; readonly end: number; readonly released: () => boolean }[] = [];
  /** What pages were last changed to by ioctl, where that is not their limit (SgxRules.limit `running`). */
  readonly #running = new Map<LinPage, number>();
  #abandoned = false;
  #destroyed = false;
  /** Pages of the enclave and its SECS, for which VA slots are needed (page_cnt). */
  #pageCount = 0;

  constructor(
    kernel: Kernel,
    access: FileAccess = fileAccess(OpenAccess.O_RDWR),
    { node = sgxDevices.enclave.path, space }: EnclaveFileOptions = {},
  ) {
    this.kernel = kernel;
    this.access = access;
    this.node = node;
    this.space = space;
    this.mms = space?.mms ?? new Set();
    this.id = kernel.addEnclave(this);
    space?.add(this);
  }

  /** What is mapped, and so has its pages. */
  get memory(): EnclaveFile | EnclaveSpace {
    return this.space ?? this;
  }

  /** The enclave behind a page of a mapping of this file: this one. */
  enclaveAt(_page: LinPage): EnclaveFile {
    return this;
  }

  enclavesIn(_startPage: number, _endPage: number): readonly EnclaveFile[] {
    return [this];
  }

  /** SGX_ENCL_DEBUG. */
  get debug(): boolean {
    return this.created && (this.attributes & Attributes.mask.DEBUG) !== 0n;
  }

  get basePage(): LinPage {
    return pageOf(this.base);
  }

  isInElrange(address: number): boolean {
    return address >= this.base && address < this.base + this.sizeBytes;
  }

  /**
   * Counts one more page, and adds a VA page where its slot needs one. Returns whether it did.
   * Source: sgx_encl_grow. ENOMEM, ERESTARTSYS. EFAULT: EPA failed.
   */
  grow(signalPending?: () => boolean): KernelResult<boolean> {
    const needed = this.#pageCount % VA_SLOTS === 0;
    if (needed) {
      const { reclaimer, injections, processor, epc } = this.kernel;
      const page = reclaimer.allocate(this, undefined, signalPending);
      if (page.kind !== 'ok') return page;
      const made = injections?.leaf('EPA', this) ?? epa(processor, page.value);
      if (made.kind !== 'ok') {
        epc.give(page.value);
        return fail(Errno.EFAULT, made.why);
      }
      this.versionArrays.add(page.value);
    }
    this.#pageCount++;
    return ok(needed);
  }

  /** Takes back what `grow` did; `vaPageAdded` is false for a page that had been complete. Source: sgx_encl_shrink. */
  shrink(vaPageAdded: boolean): void {
    this.#pageCount--;
    if (!vaPageAdded) return;
    const page = this.versionArrays.pages.at(-1)!;
    this.versionArrays.removeLast();
    this.giveBack(page);
  }

  /** PROT bits that new mappings of a page and its page table entries may have. */
  limitOf(page: LinPage, entryFlags: number): number {
    return this.#running.get(page) ?? maxProtOf(entryFlags);
  }

  /** Where the rules follow running rights: what the page's page table entries get from now on. */
  setRunning(page: LinPage, rights: number): void {
    this.#running.set(page, rights);
  }

  /** The page's limit is what it was added with again; also when it goes. */
  clearRunning(page: LinPage): void {
    this.#running.delete(page);
  }

  /** Visits the pages of [start, end) that have contents which processes could use. */
  visitFilled(start: number, end: number, visit: (page: LinPage, flags: number, epcPage: EpcIndex) => void): void {
    const { epcm } = this.kernel.processor;
    this.pages.visit(start, end, (page, flags, location) => {
      if (!isEvicted(flags) && epcm.isFilled(epcIndex(location))) visit(page, flags, epcIndex(location));
    });
  }

  /** The EPCM or the table changed for [start, end): every address space looks at what it must apply. */
  refresh(start: number, end: number): void {
    for (const mm of this.mms) mm.refresh(this, start, end);
  }

  /**
   * Begins a new epoch and waits until no thread has translations from before: ETRACK and interrupts.
   * Source: sgx_enclave_etrack. EFAULT: ETRACK failed, again after an interrupt of all threads.
   */
  track(): Failure | undefined {
    const { processor } = this.kernel;
    if (this.#etrack().kind !== 'ok') {
      this.interruptThreads();
      const again = this.#etrack();
      if (again.kind !== 'ok') return fail(Errno.EFAULT, again.why);
    }
    const { epoch } = processor.secs(this.secs!);
    if (processor.threads.enteredBefore(this.secs!, epoch) > 0) this.interruptThreads();
    return undefined;
  }

  #etrack(): LeafResult {
    const { injections, processor } = this.kernel;
    return injections?.leaf('ETRACK', this) ?? etrack(processor, this.secs!);
  }

  /** Makes every thread inside leave once, in all processes. */
  interruptThreads(): void {
    for (const mm of this.mms) if (mm.port.hasThreadInside(this.id)) mm.port.kick(this.id);
  }

  /**
   * Rights in [start, end) were cut. The caller's own process applies that before its system call returns; from others
   * with threads inside the contents are held back until they have applied it too, those that are evicted now when they
   * are loaded. Nobody is waited for.
   */
  cutRights(start: number, end: number, caller: Mm): void {
    const others = [...this.mms].filter(
      (mm) => mm !== caller && mm.maps(this, start, end) && mm.port.hasThreadInside(this.id),
    );
    if (others.length > 0) {
      const generation = this.#nextGeneration();
      const released = () => others.every((mm) => mm.hasApplied(this, generation));
      this.visitFilled(start, end, (page) => this.kernel.contents.hold(this.secs!, page, released));
      this.#cuts = [...this.#cuts.filter((cut) => !cut.released()), { start, end, released }];
    }
    this.refresh(start, end);
    // The caller's own process applies the cut to all its threads at once; what was checked of other pages still holds.
    const isAlone = this.mms.size === 1 && this.mms.has(caller);
    if (isAlone && this.#entryPages.overlapping(start, end).length === 0) return;
    this.#entryPages.clear();
    this.generation = this.#nextGeneration();
    this.kernel.onGeneration(this, this.generation);
    for (const mm of others) mm.port.kick(this.id);
  }

  /** An entry by a TCS was allowed for what these pages are, and may be made again without asking. */
  noteEntry(startPage: number, endPage: number): void {
    this.#entryPages.set(startPage, endPage, true);
  }

  /** What tells when contents that are loaded for the page may go to the processes; undefined: at once. */
  releaseOf(page: LinPage): (() => boolean) | undefined {
    if (this.#cuts.length === 0) return undefined;
    this.#cuts = this.#cuts.filter(({ released }) => !released());
    const over = this.#cuts.filter(({ start, end }) => page >= start && page < end);
    return over.length === 0 ? undefined : () => over.every(({ released }) => released());
  }

  /**
   * The last descriptor is gone. Where mappings are of no enclave, threads may still be inside: nobody finds the enclave
   * any more, and they are made to leave. Returns whether they have, and it can be destroyed.
   */
  abandon(): boolean {
    if (this.space === undefined) return true;
    if (!this.#abandoned) {
      this.#abandoned = true;
      this.generation = this.#nextGeneration();
      this.kernel.onGeneration(this, this.generation);
    }
    this.interruptThreads();
    return ![...this.mms].some((mm) => mm.port.hasThreadInside(this.id));
  }

  get abandoned(): boolean {
    return this.#abandoned;
  }

  /** The last reference is gone: EREMOVE of everything, once. Source: sgx_encl_release. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.space?.remove(this);
    for (const mm of this.mms) mm.forgetFile(this);
    const { backing } = this.kernel;
    this.pages.visit(0, Infinity, (_page, flags, location) => {
      if (isEvicted(flags)) backing.free(location);
      else this.giveBack(epcIndex(location));
    });
    if (this.secs !== undefined) {
      this.kernel.forgetSecs(this.secs);
      this.giveBack(this.secs);
    }
    if (this.evictedSecs !== undefined) backing.free(this.evictedSecs);
    for (const page of this.versionArrays.pages) this.giveBack(page);
  }

  /** EREMOVE, then back to the free pages: sgx_encl_free_epc_page. */
  giveBack(page: EpcIndex): void {
    const removed = eremove(this.kernel.processor, page);
    if (removed.kind !== 'ok') throw new InvariantError(`EREMOVE of EPC page ${page}: ${removed.why.check}`);
    this.kernel.epc.give(page);
  }

  #nextGeneration(): number {
    return (this.generation + 1) >>> 0;
  }
}
