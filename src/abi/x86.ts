/**
 * Processor values that are not SGX's own: exception vectors, page-fault error codes, flags.
 * Spec: Intel SDM vol. 3A, "Interrupt and Exception Handling"; kernel: arch/x86/include/asm/trapnr.h, trap_pf.h
 */
import { bitField } from '../lib/layout.ts';

/** Exception vectors, by the SDM's mnemonics without the number sign. */
export const Vector = {
  DE: 0,
  DB: 1,
  BP: 3,
  OF: 4,
  BR: 5,
  UD: 6,
  NM: 7,
  DF: 8,
  TS: 10,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
  MC: 18,
  XM: 19,
  CP: 21,
} as const;

const vectorNames = new Map<number, string>(Object.entries(Vector).map(([name, vector]) => [vector, `#${name}`]));

/** `#PF` for 14. */
export function vectorName(vector: number): string {
  return vectorNames.get(vector) ?? `vector ${vector}`;
}

/** Error code of a #PF; SGX says that the EPCM refused. */
export const PageFaultError = bitField({ P: 0, W: 1, U: 2, RSVD: 3, I: 4, PK: 5, SHSTK: 6, SGX: 15 });

export const Rflags = bitField({
  CF: 0,
  PF: 2,
  AF: 4,
  ZF: 6,
  SF: 7,
  TF: 8,
  IF: 9,
  DF: 10,
  OF: 11,
  NT: 14,
  RF: 16,
  AC: 18,
});
