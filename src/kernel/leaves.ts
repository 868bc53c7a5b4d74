/**
 * ENCLU leaves of threads of a process: the processor's, with pages that are missing brought by the kernel in between,
 * as an AEX, a fault and a second try would.
 */
import { Prot } from '../abi/linux.ts';
import { Enclu } from '../abi/sgx-arch.ts';
import { PageFaultError } from '../abi/x86.ts';
import { pageFault, why, type Fault, type LeafResult, type Why } from '../lib/outcome.ts';
import { PAGE_SIZE_BYTES, pageOf } from '../lib/units.ts';
import type { EnclaveAccess } from '../processor/enclu/access.ts';
import {
  checkEnter,
  frameAddress,
  type CheckEnterOptions,
  type TcsParameters,
} from '../processor/enclu/check-enter.ts';
import { eaccept } from '../processor/enclu/eaccept.ts';
import { emodpe } from '../processor/enclu/emodpe.ts';
import type { EnclaveFile } from './enclave.ts';
import { bringPage } from './fault.ts';
import type { Mm } from './mm.ts';
import { loadSecs } from './paging.ts';

/** More than any leaf has operand pages; pages just brought are the last to be evicted. */
const MAX_TRIES = 64;
const { P, W, U } = PageFaultError.bit;

export function runEaccept(mm: Mm, rbx: number, rcx: number): LeafResult {
  return changing(mm, rbx, rcx, (access) => eaccept(mm.kernel.processor, access, rbx, rcx));
}

export function runEmodpe(mm: Mm, rbx: number, rcx: number): LeafResult {
  return changing(mm, rbx, rcx, (access) => emodpe(mm.kernel.processor, access, rbx, rcx));
}

export function runCheckEnter(
  mm: Mm,
  tcsAddress: number,
  aep: bigint,
  leaf: typeof Enclu.EENTER | typeof Enclu.ERESUME,
  options: CheckEnterOptions,
): LeafResult<TcsParameters> {
  const file = mm.enclaveAt(pageOf(tcsAddress));
  const entered = run(mm, file, tcsAddress, (access) => {
    return checkEnter(mm.kernel.processor, access, tcsAddress, aep, leaf, options);
  });
  return (entered.kind === 'ok' && checkFrameMapping(mm, entered.value, leaf)) || entered;
}

/** An AEX will write to the SSA frame, so entering wants its mapping writable. */
function checkFrameMapping(mm: Mm, tcs: TcsParameters, leaf: number): Fault | undefined {
  const frame = leaf === Enclu.EENTER ? tcs.cssa : tcs.cssa - 1;
  const start = frameAddress(tcs, Math.max(0, Math.min(frame, tcs.nssa - 1)));
  for (let at = start; at < start + tcs.ssaFrameSizeBytes; at += PAGE_SIZE_BYTES) {
    const vma = mm.vmaAt(pageOf(at));
    if (vma !== undefined && (vma.prot & Prot.bit.PROT_WRITE) === 0) {
      return pageFault(
        at,
        P | W | U,
        why(
          'the mapping of the SSA frame can be written',
          'PROT_READ|PROT_WRITE',
          Prot.format(vma.prot),
          'mprotect it',
        ),
      );
    }
  }
  return undefined;
}

/** Runs any leaf on the enclave's memory as this process sees it. */
export function runLeaf<T>(mm: Mm, file: EnclaveFile, leaf: (access: EnclaveAccess) => LeafResult<T>): LeafResult<T> {
  return run(mm, file, file.base, leaf);
}

function changing(mm: Mm, rbx: number, rcx: number, leaf: (access: EnclaveAccess) => LeafResult): LeafResult {
  const file = enclaveOfOperands(mm, rbx, rcx);
  const result = run(mm, file, rbx, leaf);
  if (result.kind === 'ok') file!.refresh(pageOf(rcx), pageOf(rcx) + 1);
  return result;
}

function run<T>(
  mm: Mm,
  file: EnclaveFile | undefined,
  address: number,
  leaf: (access: EnclaveAccess) => LeafResult<T>,
): LeafResult<T> {
  if (file === undefined || !file.created) {
    return notPresent(address, why('the operand is in the EPC', 'an enclave mapped there', 'none'));
  }
  const result = bringing(mm, file, leaf);
  mm.kernel.reclaimer.balance();
  return result;
}

function bringing<T>(mm: Mm, file: EnclaveFile, leaf: (access: EnclaveAccess) => LeafResult<T>): LeafResult<T> {
  for (let tries = 1; ; tries++) {
    const secs = loadSecs(mm.kernel, file);
    if (secs.kind !== 'ok') return notPresent(file.base, secs.why);
    const result = leaf(mm.access(file));
    if (result.kind !== 'fault' || result.vector !== 14 || (result.errorCode & P) !== 0) return result;
    const vma = mm.vmaAt(pageOf(result.address));
    if (vma === undefined || vma.file !== file || vma.prot === 0 || tries === MAX_TRIES) return result;
    const brought = bringPage(mm, vma, pageOf(result.address));
    // Linux sends SIGBUS here; a leaf's outcome is the exception that precedes it.
    if (brought.kind === 'bus') return notPresent(result.address, brought.why);
  }
}

function notPresent(address: number, reason: Why): Fault {
  return pageFault(address, U, reason);
}

/** The enclave of a thread that works on these addresses: the one mapped there, or the one in whose ELRANGE they lie. */
function enclaveOfOperands(mm: Mm, rbx: number, rcx: number): EnclaveFile | undefined {
  const direct = mm.enclaveAt(pageOf(rbx)) ?? mm.enclaveAt(pageOf(rcx));
  if (direct) return direct;
  const mapped = [...mm.enclaves()];
  return mapped.find((file) => file.isInElrange(rbx)) ?? mapped.find((file) => file.isInElrange(rcx)) ?? mapped[0];
}
