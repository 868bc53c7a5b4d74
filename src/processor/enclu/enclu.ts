/**
 * ENCLU inside an enclave, as far as it is memory's business: which leaf works on which operands. The leaves that
 * move a thread (EENTER, ERESUME, EEXIT) are the business of whoever runs threads.
 * Spec: SDM "ENCLU - Execute an Enclave User Function of Specified Leaf Number".
 */
import { Enclu } from '../../abi/sgx-arch.ts';
import { generalProtection, why, type LeafResult } from '../../lib/outcome.ts';
import type { Processor } from '../processor.ts';
import type { EnclaveAccess } from './access.ts';
import { eaccept } from './eaccept.ts';
import { eacceptcopy } from './eacceptcopy.ts';
import { edeccssa } from './edeccssa.ts';
import { egetkey } from './egetkey.ts';
import { emodpe } from './emodpe.ts';
import { ereport } from './ereport.ts';

/** Registers, as addresses. */
export interface EncluOperands {
  readonly rbx: number;
  readonly rcx: number;
  readonly rdx: number;
}

const leafNames = new Map<number, string>(Object.entries(Enclu).map(([name, number]) => [number, name]));

export const encluName = (leaf: number): string => leafNames.get(leaf) ?? `ENCLU[${leaf}]`;

/** What the registers of each leaf are. */
const operandNames: ReadonlyMap<number, Readonly<Record<string, keyof EncluOperands>>> = new Map([
  [Enclu.EREPORT, { target: 'rbx', data: 'rcx', report: 'rdx' }],
  [Enclu.EGETKEY, { request: 'rbx', key: 'rcx' }],
  [Enclu.EACCEPT, { secinfo: 'rbx', page: 'rcx' }],
  [Enclu.EMODPE, { secinfo: 'rbx', page: 'rcx' }],
  [Enclu.EACCEPTCOPY, { secinfo: 'rbx', page: 'rcx', source: 'rdx' }],
] as const);

/** The registers that the leaf looks at, by what they are to it. */
export function namedOperands(leaf: number, operands: EncluOperands): Readonly<Record<string, number>> {
  const names = Object.entries(operandNames.get(leaf) ?? {});
  return Object.fromEntries(names.map(([name, register]) => [name, operands[register]]));
}

type Leaf = (cpu: Processor, access: EnclaveAccess, operands: EncluOperands, tcsAddress: number) => LeafResult;

const leaves: ReadonlyMap<number, Leaf> = new Map<number, Leaf>([
  [Enclu.EREPORT, (cpu, access, { rbx, rcx, rdx }) => ereport(cpu, access, rbx, rcx, rdx)],
  [Enclu.EGETKEY, (cpu, access, { rbx, rcx }) => egetkey(cpu, access, rbx, rcx)],
  [Enclu.EACCEPT, (cpu, access, { rbx, rcx }) => eaccept(cpu, access, rbx, rcx)],
  [Enclu.EMODPE, (cpu, access, { rbx, rcx }) => emodpe(cpu, access, rbx, rcx)],
  [Enclu.EACCEPTCOPY, (cpu, access, { rbx, rcx, rdx }) => eacceptcopy(cpu, access, rbx, rcx, rdx)],
  [Enclu.EDECCSSA, (cpu, access, _operands, tcsAddress) => edeccssa(cpu, access, tcsAddress)],
]);

/**
 * @param leaf EAX
 * @param tcsAddress of the TCS through which the thread is inside
 *
 * #GP: no such leaf. Otherwise as the leaf says.
 */
export function enclu(
  cpu: Processor,
  access: EnclaveAccess,
  leaf: number,
  operands: EncluOperands,
  tcsAddress: number,
): LeafResult {
  const run = leaves.get(leaf);
  if (run !== undefined) return run(cpu, access, operands, tcsAddress);
  return generalProtection(why('EAX is a leaf for enclaves', '0, 1, 4 to 7 or 9', `${leaf}`));
}
