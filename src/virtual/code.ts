/**
 * Enclave code in TypeScript: a generator of what it does to memory, so that between two instructions others can run,
 * and an instruction that faulted is run again after ERESUME, as on hardware.
 *
 * @example
 * thread.run(tcs, function* () {
 *   const [first] = yield* read(address, 1);
 *   yield* write(address, Uint8Array.of(first! + 1));
 *   return first;
 * });
 */
import { Enclu } from '../abi/sgx-arch.ts';
import { readU64, writeU64 } from '../lib/bytes.ts';
import { PAGE_SIZE_BYTES } from '../lib/units.ts';
import type { EncluOperands } from '../processor/enclu/enclu.ts';

/** One instruction; a read or write is within one page. */
export type Instruction =
  | { readonly op: 'read'; readonly address: number; readonly lengthBytes: number }
  | { readonly op: 'write'; readonly address: number; readonly bytes: Uint8Array }
  | { readonly op: 'exec'; readonly address: number }
  | { readonly op: 'enclu'; readonly leaf: number; readonly operands: EncluOperands }
  | { readonly op: 'pause' };

/** What an instruction gives depends on the instruction. */
export type Code<T> = Generator<Instruction, T, unknown>;
export type EnclaveCode<T> = () => Code<T>;

/** Code, and where it is. */
export interface RunningCode {
  readonly code: Code<unknown>;
  /** To be performed, or performed again; undefined: the code says what comes next. */
  next: Instruction | undefined;
  /** What the last instruction gave. */
  result: unknown;
}

/** Bytes from `address` on, page by page. */
export function* read(address: number, lengthBytes: number): Code<Uint8Array> {
  const bytes = new Uint8Array(lengthBytes);
  for (const { at, start, end } of parts(address, lengthBytes)) {
    bytes.set((yield { op: 'read', address: at, lengthBytes: end - start }) as Uint8Array, start);
  }
  return bytes;
}

export function* write(address: number, bytes: Uint8Array): Code<void> {
  for (const { at, start, end } of parts(address, bytes.length)) {
    yield { op: 'write', address: at, bytes: bytes.subarray(start, end) };
  }
}

/** Eight bytes as a number. */
export function* load(address: number): Code<bigint> {
  return readU64(yield* read(address, 8), 0);
}

export function* store(address: number, value: bigint): Code<void> {
  const bytes = new Uint8Array(8);
  writeU64(bytes, 0, value);
  yield* write(address, bytes);
}

/** Jumps there: what follows is in that page, which has to be executable. */
export function* exec(address: number): Code<void> {
  yield { op: 'exec', address };
}

/** Does nothing, during which others may do something. */
export function* pause(): Code<void> {
  yield { op: 'pause' };
}

/** Stays inside until something takes it out. */
export function* spin(): Code<never> {
  for (;;) yield* pause();
}

/** ENCLU with these registers. The SGX code, 0 for success. */
export function* enclu(leaf: number, rbx = 0, rcx = 0, rdx = 0): Code<number> {
  return (yield { op: 'enclu', leaf, operands: { rbx, rcx, rdx } }) as number;
}

/** Operands are addresses: of a SECINFO, of the page, of the page to copy. */
export const eaccept = (secInfo: number, page: number): Code<number> => enclu(Enclu.EACCEPT, secInfo, page);
export const emodpe = (secInfo: number, page: number): Code<number> => enclu(Enclu.EMODPE, secInfo, page);
export const eacceptcopy = (secInfo: number, page: number, source: number): Code<number> =>
  enclu(Enclu.EACCEPTCOPY, secInfo, page, source);
/** Operands are addresses: of a KEYREQUEST, of the key. */
export const egetkey = (request: number, key: number): Code<number> => enclu(Enclu.EGETKEY, request, key);
/** Operands are addresses: of a TARGETINFO, of REPORTDATA, of the REPORT. */
export const ereport = (target: number, data: number, report: number): Code<number> =>
  enclu(Enclu.EREPORT, target, data, report);
export const edeccssa = (): Code<number> => enclu(Enclu.EDECCSSA);

function* parts(address: number, lengthBytes: number): Generator<{ at: number; start: number; end: number }> {
  for (let start = 0; start < lengthBytes;) {
    const at = address + start;
    const end = Math.min(lengthBytes, start + PAGE_SIZE_BYTES - (at % PAGE_SIZE_BYTES));
    yield { at, start, end };
    start = end;
  }
}
