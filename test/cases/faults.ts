/** What a program hears of a fault: the signal that Linux sends, or what the vDSO function reports. */
import { PageFaultError, Vector } from '../../src/abi/x86.ts';
import { pageOf } from '../../src/lib/units.ts';
import type { Access, Touched } from '../../src/virtual/touched.ts';
import type { VirtualProcess } from '../../src/virtual/process.ts';
import type { Left } from '../../src/virtual/left.ts';
import { hex } from './language.ts';

export interface Caught {
  /** As steps give it: `SIGSEGV`, `SIGSEGV-EPCM`, `exception-GP`, ... */
  readonly name: string;
  /** si_code; undefined when the vDSO function reported the fault. */
  readonly code: number | undefined;
  readonly vector: number;
  /** Of page faults. */
  readonly errorCode: number;
  readonly address: number;
}

const SEGV_MAPERR = 1;
const SEGV_ACCERR = 2;
const BUS_ADRERR = 2;
const SI_KERNEL = 0x80;
const { W, U, I, SGX } = PageFaultError.bit;

const isMapped = (process: VirtualProcess, address: number): boolean =>
  process.mm.vmaAt(pageOf(address)) !== undefined || process.memory.protOf(address) !== undefined;

const suffixOf = (vector: number, errorCode: number): string => {
  if (vector === Vector.GP) return '-GP';
  return vector === Vector.PF && (errorCode & SGX) !== 0 ? '-EPCM' : '';
};

/** The signal of a page fault. */
function pageFault(process: VirtualProcess, address: number, errorCode: number, bus: boolean): Caught {
  const code = isMapped(process, address) ? SEGV_ACCERR : SEGV_MAPERR;
  const name = bus ? 'SIGBUS' : `SIGSEGV${suffixOf(Vector.PF, errorCode)}`;
  return { name, code: bus ? BUS_ADRERR : code, vector: Vector.PF, errorCode, address };
}

/** Of an access from outside of any enclave. */
export function accessFault(process: VirtualProcess, touched: Touched, address: number, access: Access): Caught {
  const errorCode =
    touched.kind === 'fault' ? touched.errorCode : U | (access === 'write' ? W : 0) | (access === 'exec' ? I : 0);
  return pageFault(process, address, errorCode, touched.kind === 'bus');
}

/** Of an entry that was refused, or that an exception ended. */
export function leftFault(
  process: VirtualProcess,
  left: Exclude<Left<unknown>, { kind: 'exit' }>,
  byVdso: boolean,
): Caught {
  const bus = left.kind === 'bus' || (left.kind === 'not-entered' && left.fault.bus === true);
  const { vector, errorCode, address } = left.kind === 'not-entered' ? left.fault : { vector: Vector.PF, ...left };
  const isPageFault = vector === Vector.PF;
  if (byVdso) {
    return { name: `exception${suffixOf(vector, errorCode)}`, code: undefined, vector, errorCode, address };
  }
  return isPageFault
    ? pageFault(process, address, errorCode, bus)
    : { name: 'SIGSEGV-GP', code: SI_KERNEL, vector, errorCode: 0, address: 0 };
}

/** As driver-cases prints it. */
export function faultText({ name, code, vector, errorCode, address }: Caught): string {
  const [what] = name.split('-');
  const how = code === undefined ? '' : ` code ${code}`;
  const where = vector === Vector.PF ? ` error ${hex(errorCode)} at ${hex(address)}` : '';
  return `${what}${how} vector ${vector}${where}`;
}
