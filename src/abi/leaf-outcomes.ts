/**
 * How the leaves can end, other than well: exceptions, and codes in RAX. What a leaf can give on hardware, also where
 * the model, in which leaves run one at a time, never does.
 * Spec: SDM vol. 3D, "SGX Instruction References", the tables of error codes and exceptions of each leaf.
 */
import type { SgxCode } from './sgx-bits.ts';

export interface LeafOutcomes {
  readonly leaf: 'ENCLS' | 'ENCLU';
  readonly codes: readonly (keyof typeof SgxCode)[];
  /** The leaf came with SGX2. */
  readonly sgx2?: true;
}

/** Every leaf here can raise #GP and #PF, too. */
export const leafOutcomes = {
  ECREATE: { leaf: 'ENCLS', codes: [] },
  EADD: { leaf: 'ENCLS', codes: [] },
  EEXTEND: { leaf: 'ENCLS', codes: [] },
  EINIT: {
    leaf: 'ENCLS',
    codes: [
      'SGX_INVALID_SIG_STRUCT',
      'SGX_INVALID_ATTRIBUTE',
      'SGX_INVALID_MEASUREMENT',
      'SGX_INVALID_SIGNATURE',
      'SGX_INVALID_EINITTOKEN',
      'SGX_INVALID_CPUSVN',
      'SGX_UNMASKED_EVENT',
    ],
  },
  EPA: { leaf: 'ENCLS', codes: [] },
  ELDU: { leaf: 'ENCLS', codes: ['SGX_MAC_COMPARE_FAIL', 'SGX_EPC_PAGE_CONFLICT'] },
  ETRACK: { leaf: 'ENCLS', codes: ['SGX_PREV_TRK_INCMPL', 'SGX_EPC_PAGE_CONFLICT'] },
  EAUG: { leaf: 'ENCLS', codes: [], sgx2: true },
  EMODPR: { leaf: 'ENCLS', codes: ['SGX_PAGE_NOT_MODIFIABLE', 'SGX_EPC_PAGE_CONFLICT'], sgx2: true },
  EMODT: { leaf: 'ENCLS', codes: ['SGX_PAGE_NOT_MODIFIABLE', 'SGX_EPC_PAGE_CONFLICT'], sgx2: true },
  EREPORT: { leaf: 'ENCLU', codes: [] },
  EGETKEY: {
    leaf: 'ENCLU',
    codes: ['SGX_INVALID_ATTRIBUTE', 'SGX_INVALID_CPUSVN', 'SGX_INVALID_ISVSVN', 'SGX_INVALID_KEYNAME'],
  },
  EACCEPT: { leaf: 'ENCLU', codes: ['SGX_PAGE_ATTRIBUTES_MISMATCH', 'SGX_NOT_TRACKED'], sgx2: true },
  EMODPE: { leaf: 'ENCLU', codes: [], sgx2: true },
  EACCEPTCOPY: { leaf: 'ENCLU', codes: ['SGX_PAGE_ATTRIBUTES_MISMATCH'], sgx2: true },
  EDECCSSA: { leaf: 'ENCLU', codes: [], sgx2: true },
} as const satisfies Readonly<Record<string, LeafOutcomes>>;
