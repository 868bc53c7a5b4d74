/** The code of the usual enclave (language.ts), as virtual threads run it. */
import { Enclu } from '../../src/abi/sgx-arch.ts';
import type { EnclaveFile } from '../../src/kernel/enclave.ts';
import { PAGE_SIZE_BYTES, pageOf } from '../../src/lib/units.ts';
import type { EpcContents } from '../../src/processor/ports.ts';
import { enclu, exec, load, read, store, type Code } from '../../src/virtual/code.ts';
import type { VirtualProcess } from '../../src/virtual/process.ts';
import { At, Do } from './language.ts';

/** What the code gets and gives, besides RDX. */
export interface EntryRegisters {
  readonly rdi: bigint;
  readonly rsi: bigint;
  readonly rdx: bigint;
  readonly r9: bigint;
}

const RETURN = 0xc3;
/** Leaves that say in RAX how it went; the others leave the leaf's number there. */
const answering: ReadonlySet<number> = new Set([Enclu.EGETKEY, Enclu.EACCEPT, Enclu.EACCEPTCOPY]);

/** RDX at EEXIT. */
export function* enclaveCode(
  { machine, mm }: VirtualProcess,
  tcs: number,
  { rdi, rsi, rdx, r9 }: EntryRegisters,
): Code<bigint> {
  const enclave = mm.enclaveAt(pageOf(tcs))!;
  const address = Number(rsi);
  const what = Number(rdi & 0xffff_ffffn);
  switch (what) {
    case Do.READ:
      return yield* load(address);
    case Do.WRITE:
      yield* store(address, rdx);
      return rdx;
    case Do.EXEC:
      return yield* execute(machine.contents, enclave, address);
    case Do.SUM:
      return sum(yield* read(address, Number(rdx) * 8));
    default: {
      const leaf = what & 0xff;
      const code = yield* enclu(leaf, Number(rdx), address, Number(r9));
      return BigInt(answering.has(leaf) ? code : leaf);
    }
  }
}

/** What is there returns, or is zeros, which add AL to the byte at RAX = 0. */
function* execute(contents: EpcContents, { secs, base }: EnclaveFile, address: number): Code<bigint> {
  yield* exec(address);
  const byte = new Uint8Array(1);
  contents.read(secs!, pageOf(address), address % PAGE_SIZE_BYTES, byte);
  if (byte[0] !== RETURN) yield* store(0, 0n);
  yield* exec(base + At.CODE);
  return 0n;
}

function sum(bytes: Uint8Array): bigint {
  let result = 0n;
  for (const word of new BigUint64Array(bytes.slice().buffer)) {
    result = BigInt.asUintN(64, (result << 5n) | (result >> 59n)) ^ word;
  }
  return result;
}
