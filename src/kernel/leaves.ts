/**
 * ENCLU leaves of threads of a process: the processor's, with pages that are missing brought by the kernel in between,
 * as an AEX, a fault and a second try would.
 */
import { Prot } from '../abi/linux.ts';
import { Enclu } from '../abi/sgx-arch.ts';
import { PageFaultError } from '../abi/x86.ts';
import { pageFault, why, type Fault, type LeafResult, type Why } from '../lib/outcome.ts';
import { pageOf } from '../lib/units.ts';
import type { EnclaveAccess } from '../processor/enclu/access.ts';
import {
  checkEnter,
  frameAddress,
  type CheckEnterOptions,
  type TcsParameters,
} from '../processor/enclu/check-enter.ts';
import { enclu, type EncluOperands } from '../processor/enclu/enclu.ts';
import type { EnclaveFile } from './enclave.ts';
import { bringPage } from './fault.ts';
import type { LeafPlace } from './injections.ts';
import type { Mm } from './mm.ts';
import { loadSecs } from './paging.ts';

/** More than any leaf has operand pages; pages just brought are the last to be evicted. */
const MAX_TRIES = 64;
const { P, W, U } = PageFaultError.bit;

/** A thread that is inside an enclave. */
export interface InsideThread {
  readonly enclave: EnclaveFile;
  readonly tcsAddress: number;
}

/** The leaves after which the page at RCX may be used in another way. */
const changing: ReadonlySet<number> = new Set([Enclu.EACCEPT, Enclu.EMODPE, Enclu.EACCEPTCOPY]);

const enclaveLeaves: ReadonlyMap<number, LeafPlace> = new Map(
  (['EREPORT', 'EGETKEY', 'EACCEPT', 'EMODPE', 'EACCEPTCOPY', 'EDECCSSA'] as const).map((name) => [Enclu[name], name]),
);

export function runEnclu(
  mm: Mm,
  { enclave, tcsAddress }: InsideThread,
  leaf: number,
  operands: EncluOperands,
): LeafResult {
  const { processor } = mm.kernel;
  const result =
    inject(enclave, leaf, operands) ??
    run(mm, enclave, tcsAddress, (access) => enclu(processor, access, leaf, operands, tcsAddress));
  if (result.kind === 'ok' && changing.has(leaf)) enclave.refresh(pageOf(operands.rcx), pageOf(operands.rcx) + 1);
  return result;
}

function inject(enclave: EnclaveFile, leaf: number, { rcx }: EncluOperands): LeafResult | undefined {
  const { injections } = enclave.kernel;
  if (injections === undefined) return undefined;
  const name = enclaveLeaves.get(leaf);
  return name && injections.leaf(name, enclave, changing.has(leaf) ? pageOf(rcx) : undefined);
}

export function runCheckEnter(
  mm: Mm,
  tcsAddress: number,
  aep: bigint,
  leaf: typeof Enclu.EENTER | typeof Enclu.ERESUME,
  options: CheckEnterOptions,
): LeafResult<TcsParameters> {
  const file = mm.enclaveAt(pageOf(tcsAddress));
  const checked = run(mm, file, tcsAddress, (access) => {
    return checkEnter(mm.kernel.processor, access, tcsAddress, aep, leaf, options);
  });
  if (checked.kind === 'ok') noteEntry(file!, tcsAddress, checked.value);
  return checked;
}

/** EENTER uses the frame CSSA, ERESUME the one before. */
function noteEntry(file: EnclaveFile, tcsAddress: number, tcs: TcsParameters): void {
  const page = pageOf(tcsAddress);
  file.noteEntry(page, page + 1);
  const first = frameAddress(tcs, Math.max(0, tcs.cssa - 1));
  file.noteEntry(pageOf(first), pageOf(frameAddress(tcs, tcs.cssa + 1)));
}

/** Runs any leaf on the memory of the enclave at `address`, as this process sees it. */
export function runLeaf<T>(mm: Mm, address: number, leaf: (access: EnclaveAccess) => LeafResult<T>): LeafResult<T> {
  return run(mm, mm.enclaveAt(pageOf(address)), address, leaf);
}

function run<T>(
  mm: Mm,
  file: EnclaveFile | undefined,
  address: number,
  leaf: (access: EnclaveAccess) => LeafResult<T>,
): LeafResult<T> {
  if (file === undefined || !file.created) {
    const fault = notPresent(address, why('the operand is in the EPC', 'an enclave mapped there', 'none'));
    // Where there is a mapping and no enclave (any more), the driver has nothing to bring.
    return file === undefined && mm.vmaAt(pageOf(address)) !== undefined ? { ...fault, bus: true } : fault;
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
    if (
      vma === undefined ||
      vma.file.enclaveAt(pageOf(result.address)) !== file ||
      vma.prot === 0 ||
      tries === MAX_TRIES
    )
      return result;
    // The kernel brings nothing for a write that the mapping forbids.
    if ((result.errorCode & W) !== 0 && (vma.prot & Prot.bit.PROT_WRITE) === 0) return result;
    const brought = bringPage(mm, vma, pageOf(result.address));
    if (brought.kind === 'bus') return { ...pageFault(result.address, result.errorCode, brought.why), bus: true };
  }
}

function notPresent(address: number, reason: Why): Fault {
  return pageFault(address, U, reason);
}
