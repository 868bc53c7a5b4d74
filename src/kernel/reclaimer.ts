/**
 * Allocating EPC pages, and evicting pages of enclaves when there are too few.
 * Source: sgx_alloc_epc_page, sgx_reclaim_pages, ksgxd in arch/x86/kernel/cpu/sgx/main.c
 */
import { Errno } from '../lib/errno.ts';
import { fail, InvariantError, ok, why, type KernelResult } from '../lib/outcome.ts';
import type { EpcIndex, LinPage } from '../lib/units.ts';
import { eblock } from '../processor/encls/eblock.ts';
import type { Trace } from '../trace/events.ts';
import type { EnclaveFile } from './enclave.ts';
import { SGX_NR_HIGH_PAGES, SGX_NR_LOW_PAGES, SGX_NR_TO_SCAN } from './epc.ts';
import type { Kernel } from './kernel.ts';
import { evictPage } from './paging.ts';

export class Reclaimer {
  readonly #kernel: Kernel;
  readonly #trace: Trace;
  #awake = false;

  constructor(kernel: Kernel, trace: Trace) {
    this.#kernel = kernel;
    this.#trace = trace;
  }

  /**
   * A free EPC page for the enclave, for which others may have to go.
   * @param page the page of ELRANGE that it is for; undefined for SECS and VA pages
   * @param signalPending given by ioctls, which a signal may end
   *
   * ENOMEM: none is free and none can be evicted. ERESTARTSYS: a signal is pending and pages would have to be evicted.
   *
   * Model: faults reclaim at once where Linux lets them run again until ksgxd has; the program sees the same.
   */
  allocate(file: EnclaveFile, page: LinPage | undefined, signalPending?: () => boolean): KernelResult<EpcIndex> {
    const { epc, injections } = this.#kernel;
    const injected = injections?.errno('alloc', file, page);
    if (injected) return injected;
    for (;;) {
      const free = epc.take();
      if (free !== undefined) {
        if (epc.freePages < SGX_NR_LOW_PAGES) this.#awake = true;
        return ok(free);
      }
      if (epc.reclaimablePages === 0) {
        this.#kernel.onShortage();
        if (epc.freePages > 0) continue;
        return fail(
          Errno.ENOMEM,
          why(
            'a page of the EPC is free or can be evicted',
            'one page',
            `${epc.pages} pages in use, none can be evicted`,
            'give the machine more EPC, or end enclaves',
          ),
        );
      }
      if (signalPending?.() === true) {
        return fail(Errno.ERESTARTSYS, why('no signal is pending while pages are evicted', 'none', 'one'));
      }
      this.#reclaimBatch();
    }
  }

  /**
   * What ksgxd does when it was woken.
   * Model: at the end of an operation, not beside it; so it leaves a batch of pages, or, in an EPC full of SECS and VA
   * pages, it would take away what the operation has just brought, for ever.
   */
  balance(): void {
    if (!this.#awake) return;
    this.#awake = false;
    const { epc } = this.#kernel;
    while (epc.freePages < SGX_NR_HIGH_PAGES && epc.reclaimablePages > SGX_NR_TO_SCAN) this.#reclaimBatch();
  }

  /** One batch, when EPC is short: sgx_reclaim_direct. */
  reclaimDirect(): void {
    const { epc } = this.#kernel;
    if (epc.freePages < SGX_NR_LOW_PAGES && epc.reclaimablePages > 0) this.#reclaimBatch();
  }

  #reclaimBatch(): void {
    const { epc, processor } = this.#kernel;
    const victims: EpcIndex[] = [];
    while (victims.length < SGX_NR_TO_SCAN) {
      const victim = epc.takeVictim();
      if (victim === undefined) break;
      victims.push(victim);
    }
    for (const victim of victims) {
      const blocked = eblock(processor, victim);
      if (blocked.kind !== 'ok') throw new InvariantError(`EBLOCK of EPC page ${victim}: ${blocked.why.found}`);
    }
    for (const victim of victims) evictPage(this.#kernel, victim);
    if (this.#trace.on) {
      this.#trace.emit({
        kind: 'reclaim',
        pid: 0,
        name: 'ksgxd',
        args: { evictedPages: victims.length, freePages: epc.freePages, backingPages: this.#kernel.backing.pages },
      });
    }
  }
}
