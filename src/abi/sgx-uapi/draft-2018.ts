/**
 * draft-2018: every ioctl is one of the device; `enclave_fd` in the struct says which enclave. Mappings are of the device
 * and know no enclave: an enclave lives as long as its own descriptor.
 * Origin: Jarkko Sakkinen's draft, quoted in "Re: x86/sgx: uapi change proposal", 19 Dec 2018
 *
 * Of its structs the mail has ADD_PAGE only, and that without the page's address ("my bad to remove it"). Both forms are
 * taken: with the address restored, and as mailed.
 */
import { ioctlTable } from '../../lib/ioctl.ts';
import { layout, u16, u64 } from '../../lib/layout.ts';
import { EnclaveCreate, provisionIoctls, SGX_MAGIC } from '../sgx-uapi.ts';
import { addPageErrors, createErrors, initErrors, rules2018, setAttributeErrors } from './drivers-2018.ts';
import { SGX_2018, SGX_2018_PROVISION, SGX_ENCLAVE_INODE, type SgxGeneration } from './generation.ts';

const source = 'Re: x86/sgx: uapi change proposal, 19 Dec 2018';
const fdDoc = 'descriptor that CREATE gave, low 32 bits';

export const DraftAddPage = layout(
  'sgx_enclave_add_page',
  34,
  {
    source,
    kernel: {
      struct: 'sgx_enclave_add_page',
      fields: { enclaveFd: 'enclave_fd', addr: 'addr', src: 'src', secInfo: 'secinfo', mrMask: 'mrmask' },
    },
  },
  {
    enclaveFd: u64(0, fdDoc),
    addr: u64(8, "the page's linear address"),
    src: u64(16, 'user address of its contents, any alignment'),
    secInfo: u64(24, 'user address of a SECINFO, any alignment'),
    mrMask: u16(32, 'which chunks to measure'),
  },
);

/** The page goes behind the one that was added last; the first to the base. */
export const DraftAddPageAsMailed = layout(
  'sgx_enclave_add_page_as_mailed',
  26,
  {
    source,
    kernel: {
      struct: 'sgx_enclave_add_page_as_mailed',
      fields: { enclaveFd: 'enclave_fd', src: 'src', secInfo: 'secinfo', mrMask: 'mrmask' },
    },
  },
  {
    enclaveFd: u64(0, fdDoc),
    src: u64(8, 'user address of its contents, any alignment'),
    secInfo: u64(16, 'user address of a SECINFO, any alignment'),
    mrMask: u16(24, 'which chunks to measure'),
  },
);

export const DraftInit = layout(
  'sgx_enclave_init',
  16,
  { source, kernel: { struct: 'sgx_enclave_init', fields: { enclaveFd: 'enclave_fd', sigStruct: 'sigstruct' } } },
  { enclaveFd: u64(0, fdDoc), sigStruct: u64(8, 'user address of a SIGSTRUCT, any alignment') },
);

export const DraftSetAttribute = layout(
  'sgx_enclave_set_attribute',
  16,
  {
    source,
    kernel: { struct: 'sgx_enclave_set_attribute', fields: { enclaveFd: 'enclave_fd', attributeFd: 'attribute_fd' } },
  },
  { enclaveFd: u64(0, fdDoc), attributeFd: u64(8, `descriptor of ${SGX_2018_PROVISION}`) },
);

export const draftIoctls = ioctlTable(SGX_MAGIC, [
  {
    name: 'SGX_IOC_ENCLAVE_CREATE',
    nr: 0,
    dir: 'in',
    arg: EnclaveCreate,
    errors: [...createErrors, 'EMFILE', 'EEXIST'],
    doc: 'ECREATE; the value returned is a descriptor, the handle of the enclave, close-on-exec',
  },
  {
    name: 'SGX_IOC_ENCLAVE_ADD_PAGE',
    nr: 1,
    dir: 'in',
    arg: DraftAddPage,
    errors: [...addPageErrors, 'EBADF'],
    doc: 'EADD one page, EEXTEND the chunks that mrmask names',
  },
  {
    name: 'SGX_IOC_ENCLAVE_ADD_PAGE_AS_MAILED',
    nr: 1,
    dir: 'in',
    arg: DraftAddPageAsMailed,
    errors: [...addPageErrors, 'EBADF'],
    doc: 'the same, behind the page that was added last',
    aliases: [{ name: 'SGX_IOC_ENCLAVE_ADD_PAGE', origin: 'the struct as mailed' }],
  },
  {
    name: 'SGX_IOC_ENCLAVE_INIT',
    nr: 2,
    dir: 'in',
    arg: DraftInit,
    errors: [...initErrors, 'EBADF'],
    doc: 'EINIT; the value returned is its SGX code',
  },
  {
    name: 'SGX_IOC_ENCLAVE_SET_ATTRIBUTE',
    nr: 3,
    dir: 'in',
    arg: DraftSetAttribute,
    errors: [...setAttributeErrors, 'EBADF'],
    doc: 'allow ATTRIBUTES.PROVISIONKEY',
  },
]);

/** An enclave's descriptor is a handle and nothing else. */
export const draftEnclaveIoctls = ioctlTable(SGX_MAGIC, []);

export const draftGeneration = {
  name: 'draft-2018',
  summary: 'every ioctl on /dev/sgx, with an enclave_fd in the struct; mappings keep nothing alive',
  origin: "Jarkko Sakkinen's draft, quoted in Re: x86/sgx: uapi change proposal, 19 Dec 2018",
  nodes: [
    { path: SGX_2018, ioctls: draftIoctls, mapping: 'aligned' },
    { path: SGX_ENCLAVE_INODE, ioctls: draftEnclaveIoctls, mapping: 'none' },
    { path: SGX_2018_PROVISION, ioctls: provisionIoctls, mapping: 'none' },
  ],
  rules: { ...rules2018, disjointMappings: true },
} as const satisfies SgxGeneration;
