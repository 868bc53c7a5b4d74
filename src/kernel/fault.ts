/**
 * Page faults on enclave memory: what Linux would do, and what exception the program gets when it can do nothing.
 * Source: access_error in arch/x86/mm/fault.c; sgx_vma_fault, sgx_encl_eaug_page in arch/x86/kernel/cpu/sgx/encl.c
 */
import { PageType, SecInfoFlags } from '../abi/sgx-arch.ts';
import { Prot } from '../abi/linux.ts';
import { PageFaultError } from '../abi/x86.ts';
import { ok, pageFault, why, type Fault, type Ok, type Why } from '../lib/outcome.ts';
import { addressOf, type EpcIndex, type LinPage } from '../lib/units.ts';
import { describeEntry } from '../processor/checks.ts';
import { eaug } from '../processor/encls/eaug.ts';
import { outcomeOf, type TraceResult } from '../trace/events.ts';
import type { EnclaveFile } from './enclave.ts';
import type { Mm, Vma } from './mm.ts';
import { maxProtOf } from './page-table.ts';
import { loadPage, loadSecs } from './paging.ts';
import { exceedsLimit, RWX } from './protection.ts';

export interface FaultRequest {
  readonly page: LinPage;
  readonly access: 'read' | 'write' | 'exec';
  /** The thread is inside an enclave. */
  readonly inside: boolean;
  /** `leaf`: the page is wanted for the processor's own use (a TCS, an SSA frame), whose rights the leaf checks. */
  readonly via?: 'access' | 'leaf';
}

export type FaultVerdict =
  /** Mended, or being mended: take the updates and run the instruction again. */
  | { readonly kind: 'retry' }
  /** SIGSEGV with SEGV_ACCERR. */
  | { readonly kind: 'fault'; readonly fault: Fault }
  /** The driver refused: SIGBUS with BUS_ADRERR; what the vDSO function reports is a #PF with this error code. */
  | { readonly kind: 'bus'; readonly errorCode: number; readonly why: Why }
  /** A present EPC page seen from outside: reads give ones, writes are lost. */
  | { readonly kind: 'abort-page' }
  /** No enclave is mapped there. */
  | { readonly kind: 'not-ours' };

/** For the trace. */
export function resultOf(verdict: FaultVerdict): TraceResult {
  if (verdict.kind === 'fault') return outcomeOf(verdict.fault);
  if (verdict.kind === 'bus') return { outcome: 'signal', result: 'SIGBUS', why: verdict.why };
  return { outcome: 'ok', result: verdict.kind === 'retry' ? 'mended' : verdict.kind };
}

/** Why the driver brings no page. */
interface NotBrought {
  readonly kind: 'bus';
  readonly why: Why;
}

const { P, W, U, I, SGX } = PageFaultError.bit;
const { PROT_WRITE, PROT_EXEC } = Prot.bit;

/**
 * The order is the hardware's and the kernel's: rights of the VMA, the driver, page tables again, EPCM.
 *
 * Model: a page counts as present in the page tables when it is in EPC with contents, whether or not this process has
 * touched it since its last mprotect.
 */
export function handleFault(mm: Mm, request: FaultRequest): FaultVerdict {
  const { page, access, inside, via } = request;
  const vma = mm.vmaAt(page);
  if (vma === undefined) return { kind: 'not-ours' };
  const bits = U | (access === 'write' ? W : 0) | (access === 'exec' ? I : 0);

  if (vma.prot === 0) return refused(page, bits, why('the mapping is accessible', 'any protection', 'PROT_NONE'));
  if (access === 'write' && (vma.prot & PROT_WRITE) === 0)
    return refused(page, bits | present(vma, page), vmaWhy(vma, access));

  const brought = bringPage(mm, vma, page);
  if (brought.kind === 'bus') return { ...brought, errorCode: bits };
  const epcPage = brought.value;
  const { processor, contents } = mm.kernel;
  const file = vma.file.enclaveAt(page)!;

  if (access === 'exec' && (vma.prot & PROT_EXEC) === 0) return refused(page, bits | P, vmaWhy(vma, access));
  const forbidden = runningRefusal(file, page, access);
  if (forbidden && access === 'write') return { kind: 'bus', errorCode: bits | P, why: forbidden };
  if (forbidden) return refused(page, bits | P, forbidden);
  if (!inside && via !== 'leaf') return { kind: 'abort-page' };
  const wanted = via === 'leaf' ? 0 : { read: 1, write: 2, exec: 4 }[access];
  const denied = epcmRefusal(mm, file, page, epcPage, wanted);
  if (denied) return refused(page, bits | P | SGX, denied);
  contents.restore(processor.epcm.secsOf(epcPage), page);
  file.refresh(page, page + 1);
  return { kind: 'retry' };
}

/** The driver's fault handler: the page is in EPC afterwards, or the verdict is SIGBUS. */
export function bringPage(mm: Mm, vma: Vma, page: LinPage): Ok<EpcIndex> | NotBrought {
  const file = vma.file.enclaveAt(page);
  if (file === undefined) return bus('an enclave is there', 'one that is alive', `none at ${hex(page)}`);
  const entry = file.pages.get(page);
  if (entry === undefined) {
    return mm.kernel.processor.profile.sgx2 && mm.kernel.rules.augmentedRights !== undefined
      ? augment(mm, file, page)
      : bus('the page was added', 'ADD_PAGES before, or a processor with SGX2', `no page at ${hex(page)}`);
  }
  if (exceedsLimit(file, vma.prot, entry.flags)) {
    return bus(
      'the mapping has no more rights than the page was added with',
      Prot.format(maxProtOf(entry.flags)),
      Prot.format(vma.prot & RWX),
      'mprotect the range to the rights of its pages',
    );
  }
  const loaded = loadPage(mm.kernel, file, page)!;
  return loaded.kind === 'ok' ? loaded : { kind: 'bus', why: loaded.why };
}

/** A page where there was none: EAUG. It stays PENDING until the enclave accepts it. */
function augment(mm: Mm, file: EnclaveFile, page: LinPage): Ok<EpcIndex> | NotBrought {
  if (!file.initialized) return bus('the enclave is initialized', 'INIT before', `no page at ${hex(page)} before INIT`);
  const { kernel } = mm;
  const target = kernel.reclaimer.allocate(file, page);
  if (target.kind !== 'ok') return { kind: 'bus', why: target.why };
  const grown = file.grow();
  if (grown.kind !== 'ok') {
    kernel.epc.give(target.value);
    return { kind: 'bus', why: grown.why };
  }
  // The SECS last: an allocation after it could evict it again.
  const secs = loadSecs(kernel, file);
  const result =
    secs.kind === 'ok'
      ? (kernel.injections?.leaf('EAUG', file, page) ??
        eaug(kernel.processor, { linAddr: addressOf(page), secInfo: undefined, secs: secs.value }, target.value))
      : secs;
  if (result.kind !== 'ok') {
    file.shrink(grown.value);
    kernel.epc.give(target.value);
    return { kind: 'bus', why: result.why };
  }
  // The limit by SECINFO has no meaning for pages that the enclave itself agrees to; rfc-2021 left X to a policy to come.
  file.pages.add(page, PageType.REG, kernel.rules.augmentedRights ?? RWX, target.value);
  kernel.epc.markReclaimable(target.value);
  kernel.epc.touch(target.value);
  return ok(target.value);
}

/**
 * Where page table entries follow what an ioctl last said, whatever the mapping allows and the EPCM has.
 *
 * Model: fetching from a page that lost X by SGX_IOC_PAGE_MODP is a #PF; the series of 2021 has nothing for that, and its
 * kernel would let the instruction fault for ever.
 */
function runningRefusal(file: EnclaveFile, page: LinPage, access: FaultRequest['access']): Why | undefined {
  if (file.kernel.rules.limit !== 'running' || access === 'read') return undefined;
  const limit = file.limitOf(page, file.pages.get(page)!.flags);
  if ((limit & (access === 'write' ? PROT_WRITE : PROT_EXEC)) !== 0) return undefined;
  return why(
    'the page table entry allows the access',
    access,
    `${Prot.format(limit)} at ${hex(page)}`,
    'SGX_IOC_PAGE_MODP tells the kernel of rights that EMODPE has given',
  );
}

/** Why the EPCM refuses enclave code the access, if it does. `wanted` = 0 asks only whether the page has contents. */
function epcmRefusal(mm: Mm, file: EnclaveFile, page: LinPage, epcPage: EpcIndex, wanted: number): Why | undefined {
  const { processor } = mm.kernel;
  const { epcm } = processor;
  const asked = wanted === 0 ? epcm.isFilled(epcPage) : epcm.type(epcPage) === PageType.REG && epcm.isFilled(epcPage);
  const allowed = asked && !epcm.blocked(epcPage) && (epcm.permissions(epcPage) & wanted) === wanted;
  if (allowed) return undefined;
  return why(
    'the EPCM allows the access',
    wanted === 0 ? 'a page with contents' : `PT_REG with ${SecInfoFlags.format(wanted)}, neither PENDING nor BLOCKED`,
    describeEntry(processor, epcPage),
    epcm.pending(epcPage) ? `the enclave has to EACCEPT ${hex(page)} of enclave ${file.id}` : undefined,
  );
}

function refused(page: LinPage, errorCode: number, reason: Why): FaultVerdict {
  return { kind: 'fault', fault: pageFault(addressOf(page), errorCode, reason) };
}

function present({ file }: Vma, page: LinPage): number {
  const enclave = file.enclaveAt(page);
  const epcPage = enclave?.pages.residentPage(page);
  return epcPage !== undefined && enclave!.kernel.processor.epcm.isFilled(epcPage) ? P : 0;
}

function vmaWhy(vma: Vma, access: string): Why {
  return why(`the mapping allows ${access}`, access, Prot.format(vma.prot), 'mprotect it');
}

function bus(check: string, expected: string, found: string, advice?: string): NotBrought {
  return { kind: 'bus', why: why(check, expected, found, advice) };
}

const hex = (page: LinPage): string => `0x${addressOf(page).toString(16)}`;
