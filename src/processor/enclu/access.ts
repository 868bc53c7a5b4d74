/**
 * How an ENCLU leaf sees its enclave's memory: the accessing process's mappings and the EPCM together.
 * Spec: SDM "Access-control Requirements" and the operand checks of EACCEPT and EMODPE.
 */
import { PageType, SecInfoFlags } from '../../abi/sgx-arch.ts';
import { PageFaultError } from '../../abi/x86.ts';
import { generalProtection, ok, pageFault, why, type Fault, type LeafResult } from '../../lib/outcome.ts';
import { PAGE_SIZE_BYTES, pageOf, type EpcIndex, type LinPage } from '../../lib/units.ts';
import {
  checkSecInfoReserved,
  describeEntry,
  ENCLU_READ_ERROR_CODE,
  ENCLU_WRITE_ERROR_CODE,
  epcmFault,
  hex,
  NOT_PRESENT_ERROR_CODE,
} from '../checks.ts';
import type { Processor } from '../processor.ts';

const { P, W, U } = PageFaultError.bit;
const { R: READ, W: WRITE } = SecInfoFlags.bit;

/** The enclave that a thread is in (or enters), through the mappings of its process. */
export interface EnclaveAccess {
  readonly secs: EpcIndex;
  /** The page's EPC page where it is in EPC and mapped by the process; undefined: the kernel has to bring it. */
  lookup(page: LinPage): EpcIndex | undefined;
  /** Does the process's mapping of the page allow writing? */
  isWritable(page: LinPage): boolean;
  isInElrange(address: number): boolean;
}

/** A memory operand of a leaf: what the SDM asks of it. */
export interface Operand {
  readonly name: string;
  readonly alignBytes: number;
  /** Whether the leaf writes to it, not only reads. */
  readonly written?: boolean;
}

/**
 * The checks that the SDM makes of every memory operand in the enclave, in its order: alignment and ELRANGE are #GP,
 * the rest is #PF at the operand. An operand as large as its alignment lies within one page.
 */
export function checkOperand(
  cpu: Processor,
  access: EnclaveAccess,
  address: number,
  { name, alignBytes, written = false }: Operand,
): Fault | undefined {
  const refused = checkAligned(address, alignBytes, name) ?? checkOperandInElrange(access, address, name);
  if (refused) return refused;
  const page = resolve(access, address, name, written);
  if (page.kind !== 'ok') return page as Fault;
  return (
    (written ? checkWritable(access, address, name) : undefined) ??
    checkOrdinaryPage(
      cpu,
      access,
      page.value,
      address,
      written ? WRITE : READ,
      written ? ENCLU_WRITE_ERROR_CODE : ENCLU_READ_ERROR_CODE,
    )
  );
}

/** The operand's EPC page, or #PF with P=0 so that the kernel brings it. */
export function resolve(
  access: EnclaveAccess,
  address: number,
  operand: string,
  written = false,
): LeafResult<EpcIndex> {
  const page = access.lookup(pageOf(address));
  if (page !== undefined) return ok(page);
  return pageFault(
    address,
    written ? NOT_PRESENT_ERROR_CODE | W : NOT_PRESENT_ERROR_CODE,
    why(`${operand} is in the EPC and mapped`, 'a present page', hex(address)),
  );
}

/** #PF of the page tables, so without the SGX bit. */
export function checkWritable(access: EnclaveAccess, address: number, operand: string): Fault | undefined {
  if (access.isWritable(pageOf(address))) return undefined;
  return pageFault(
    address,
    P | W | U,
    why(`the mapping of ${operand} can be written`, 'PROT_READ|PROT_WRITE', 'a read-only mapping', 'mprotect it'),
  );
}

export function checkOperandInElrange(access: EnclaveAccess, address: number, operand: string): Fault | undefined {
  if (access.isInElrange(address)) return undefined;
  return generalProtection(why(`${operand} is in ELRANGE`, 'an address of the enclave', hex(address)));
}

export function checkAligned(address: number, alignBytes: number, operand: string): Fault | undefined {
  if (address % alignBytes === 0) return undefined;
  return generalProtection(
    why(`${operand} is ${alignBytes}-byte aligned`, `a multiple of ${alignBytes}`, hex(address)),
  );
}

/** May enclave code with these rights use the page as ordinary memory at this address? */
export function checkOrdinaryPage(
  cpu: Processor,
  access: EnclaveAccess,
  page: EpcIndex,
  address: number,
  rights: number,
  errorCode: number,
): Fault | undefined {
  const { epcm } = cpu;
  const usable =
    epcm.typeIfValid(page) === PageType.REG &&
    (epcm.permissions(page) & rights) === rights &&
    !epcm.pending(page) &&
    !epcm.modified(page) &&
    !epcm.blocked(page) &&
    epcm.secsOf(page) === access.secs &&
    epcm.page(page) === pageOf(address);
  if (usable) return undefined;
  return epcmFault(
    cpu,
    why(
      `EPCM lets the enclave use ${hex(address)}`,
      `valid PT_REG with ${SecInfoFlags.format(rights)}, not PENDING, MODIFIED or BLOCKED, of this enclave at this address`,
      describeEntry(cpu, page),
    ),
    address,
    errorCode,
  );
}

/** Reads the SECINFO operand that lies in the (checked) page at `address`. */
export function readSecInfo(cpu: Processor, access: EnclaveAccess, address: number): LeafResult<Uint8Array> {
  const secInfo = new Uint8Array(64);
  cpu.contents.read(access.secs, pageOf(address), address % PAGE_SIZE_BYTES, secInfo);
  return checkSecInfoReserved(secInfo) ?? ok(secInfo);
}

/** Fault for an operand page whose EPCM entry does not suit the leaf. */
export function operandFault(cpu: Processor, page: EpcIndex, address: number, check: string, expected: string): Fault {
  return epcmFault(cpu, why(check, expected, describeEntry(cpu, page)), address, ENCLU_READ_ERROR_CODE);
}
