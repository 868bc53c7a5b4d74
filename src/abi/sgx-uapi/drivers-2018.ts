/**
 * What the interfaces of 2018 have in common: the structures of the drivers of that time. mrmask chooses which of a
 * page's sixteen 256-byte chunks are measured, bit i the i-th.
 * Source: arch/x86/include/uapi/asm/sgx.h of "Intel SGX1 support", v15 to v20.
 */
import type { ErrnoName } from '../../lib/errno.ts';
import { layout, u16, u64 } from '../../lib/layout.ts';
import { SGX_2018_PROVISION, type SgxRules } from './generation.ts';

const source = 'arch/x86/include/uapi/asm/sgx.h of v17, 2018';
const secInfoDoc = 'user address of a SECINFO, any alignment';
const sigStructDoc = 'user address of a SIGSTRUCT, any alignment';
const attributeDoc = `descriptor of ${SGX_2018_PROVISION}`;

/** mrmask of a page that is measured whole. */
export const MRMASK_WHOLE_PAGE = 0xffff;

/** Packed: mrmask ends the struct. */
export const EnclaveAddPage = layout(
  'sgx_enclave_add_page',
  26,
  {
    source,
    kernel: {
      struct: 'sgx_enclave_add_page',
      fields: { addr: 'addr', src: 'src', secInfo: 'secinfo', mrMask: 'mrmask' },
    },
  },
  {
    addr: u64(0, "the page's linear address"),
    src: u64(8, 'user address of its contents, any alignment'),
    secInfo: u64(16, secInfoDoc),
    mrMask: u16(24, 'which chunks to measure'),
  },
);

export const EnclaveInitAt = layout(
  'sgx_enclave_init_at',
  16,
  { source, kernel: { struct: 'sgx_enclave_init_at', fields: { addr: 'addr', sigStruct: 'sigstruct' } } },
  { addr: u64(0, 'an address in the enclave'), sigStruct: u64(8, sigStructDoc) },
);

export const EnclaveSetAttribute = layout(
  'sgx_enclave_set_attribute',
  8,
  { source, kernel: { struct: 'sgx_enclave_set_attribute', fields: { attributeFd: 'attribute_fd' } } },
  { attributeFd: u64(0, attributeDoc) },
);

export const EnclaveSetAttributeAt = layout(
  'sgx_enclave_set_attribute_at',
  16,
  { source, kernel: { struct: 'sgx_enclave_set_attribute_at', fields: { addr: 'addr', attributeFd: 'attribute_fd' } } },
  { addr: u64(0, 'an address in the enclave'), attributeFd: u64(8, attributeDoc) },
);

/** What the handlers of that time give, in whatever struct the argument comes. */
export const createErrors = ['EFAULT', 'EINVAL', 'ENOMEM', 'ERESTARTSYS'] as const satisfies readonly ErrnoName[];
export const addPageErrors = [
  'EFAULT',
  'EINVAL',
  'ENOMEM',
  'ERESTARTSYS',
  'EEXIST',
] as const satisfies readonly ErrnoName[];
export const initErrors = ['EFAULT', 'EINVAL', 'EACCES', 'ERESTARTSYS'] as const satisfies readonly ErrnoName[];
export const setAttributeErrors = ['EFAULT', 'EINVAL'] as const satisfies readonly ErrnoName[];

/** No SGX2, and no limit of mappings but the EPCM: both came later. */
export const rules2018: SgxRules = {
  limit: 'nothing',
  guardsRange: false,
  augmentedRights: undefined,
  disjointMappings: false,
};
