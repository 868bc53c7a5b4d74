/**
 * Numbers of the SGX architecture: leaves, codes, page types and the bits of its flag words.
 * Spec: Intel SDM vol. 3D, "Enclave Access Control and Data Structures", "SGX Instruction References".
 */
import { bitField } from '../lib/layout.ts';

/** ENCLS leaf numbers (EAX). */
export const Encls = {
  ECREATE: 0x00,
  EADD: 0x01,
  EINIT: 0x02,
  EREMOVE: 0x03,
  EDBGRD: 0x04,
  EDBGWR: 0x05,
  EEXTEND: 0x06,
  ELDB: 0x07,
  ELDU: 0x08,
  EBLOCK: 0x09,
  EPA: 0x0a,
  EWB: 0x0b,
  ETRACK: 0x0c,
  EAUG: 0x0d,
  EMODPR: 0x0e,
  EMODT: 0x0f,
  ERDINFO: 0x10,
  ETRACKC: 0x11,
  ELDBC: 0x12,
  ELDUC: 0x13,
  EUPDATESVN: 0x18,
} as const;

/** ENCLU leaf numbers (EAX). */
export const Enclu = {
  EREPORT: 0,
  EGETKEY: 1,
  EENTER: 2,
  ERESUME: 3,
  EEXIT: 4,
  EACCEPT: 5,
  EMODPE: 6,
  EACCEPTCOPY: 7,
  EVERIFYREPORT2: 8,
  EDECCSSA: 9,
} as const;

/** ENCLV leaf numbers (EAX). */
export const Enclv = { EDECVIRTCHILD: 0, EINCVIRTCHILD: 1, ESETCONTEXT: 2 } as const;

/** What a leaf leaves in RAX: SDM "Error Codes". */
export const SgxCode = {
  SGX_SUCCESS: 0,
  SGX_INVALID_SIG_STRUCT: 1,
  SGX_INVALID_ATTRIBUTE: 2,
  SGX_BLKSTATE: 3,
  SGX_INVALID_MEASUREMENT: 4,
  SGX_NOTBLOCKABLE: 5,
  SGX_PG_INVLD: 6,
  SGX_EPC_PAGE_CONFLICT: 7,
  SGX_INVALID_SIGNATURE: 8,
  SGX_MAC_COMPARE_FAIL: 9,
  SGX_PAGE_NOT_BLOCKED: 10,
  SGX_NOT_TRACKED: 11,
  SGX_VA_SLOT_OCCUPIED: 12,
  SGX_CHILD_PRESENT: 13,
  SGX_ENCLAVE_ACT: 14,
  SGX_ENTRYEPOCH_LOCKED: 15,
  SGX_INVALID_EINITTOKEN: 16,
  SGX_PREV_TRK_INCMPL: 17,
  SGX_PG_IS_SECS: 18,
  SGX_PAGE_ATTRIBUTES_MISMATCH: 19,
  SGX_PAGE_NOT_MODIFIABLE: 20,
  SGX_PAGE_NOT_DEBUGGABLE: 21,
  SGX_INVALID_COUNTER: 25,
  SGX_PG_NONEPC: 26,
  SGX_TRACK_NOT_REQUIRED: 27,
  SGX_INVALID_REPORTMACSTRUCT: 28,
  SGX_INVALID_CPUSVN: 32,
  SGX_INVALID_ISVSVN: 64,
  SGX_UNMASKED_EVENT: 128,
  SGX_INVALID_KEYNAME: 256,
} as const;

const sgxCodeNames = new Map<number, string>(Object.entries(SgxCode).map(([name, code]) => [code, name]));

/** `SGX_NOT_TRACKED` for 11. */
export function sgxCodeName(code: number): string {
  return sgxCodeNames.get(code) ?? `SGX code ${code}`;
}

/** EPCM.PT and SECINFO.FLAGS.PT. */
export const PageType = { SECS: 0, TCS: 1, REG: 2, VA: 3, TRIM: 4, SS_FIRST: 5, SS_REST: 6 } as const;
export type PageType = (typeof PageType)[keyof typeof PageType];

const pageTypeNames = new Map<number, string>(Object.entries(PageType).map(([name, type]) => [type, `PT_${name}`]));

/** `PT_REG` for 2. */
export function pageTypeName(type: number): string {
  return pageTypeNames.get(type) ?? `PT ${type}`;
}

/** SDM "ATTRIBUTES". The upper half of the 128 bits is XFRM and a field of its own here. */
export const Attributes = bitField({
  INIT: 0,
  DEBUG: 1,
  MODE64BIT: 2,
  PROVISIONKEY: 4,
  EINITTOKENKEY: 5,
  CET: 6,
  KSS: 7,
  AEXNOTIFY: 10,
});

/** SDM "SECS.MISCSELECT". */
export const MiscSelect = bitField({ EXINFO: 0, CPINFO: 1 });

/** XCR0 and XFRM: SDM vol. 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features". */
export const Xfrm = bitField({
  X87: 0,
  SSE: 1,
  AVX: 2,
  BNDREGS: 3,
  BNDCSR: 4,
  OPMASK: 5,
  ZMM_HI256: 6,
  HI16_ZMM: 7,
  PKRU: 9,
  TILECFG: 17,
  TILEDATA: 18,
});

/** SDM "SECINFO.FLAGS". */
export const SecInfoFlags = bitField({ R: 0, W: 1, X: 2, PENDING: 3, MODIFIED: 4, PR: 5, PT: [8, 15, PageType] });

/** SDM "TCS.FLAGS". */
export const TcsFlags = bitField({ DBGOPTIN: 0, AEXNOTIFY: 1 });

/** EXITINFO.EXIT_TYPE. */
export const ExitType = { HARDWARE: 3, SOFTWARE: 6 } as const;

/** SDM "EXITINFO". */
export const ExitInfo = bitField({ VECTOR: [0, 7], TYPE: [8, 10, ExitType], VALID: 31 });

/** CPUID leaf 0x12: SDM vol. 2A, "CPUID - CPU Identification", Intel SGX leaves. */
export const SgxCpuid = {
  LEAF: 0x12,
  FIRST_EPC_SUBLEAF: 2,
  EPC_INVALID: 0,
  EPC_SECTION: 1,
  EPC_TYPE_MASK: 0xf,
} as const;
