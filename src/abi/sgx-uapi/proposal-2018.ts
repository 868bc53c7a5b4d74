/**
 * proposal-2018: CREATE on the device gives a descriptor of the enclave, ADD_PAGE and INIT are ioctls of that, mappings
 * hold a reference, and the device is free for global ioctls. KVM's model.
 * Origin: Sean Christopherson, "Re: x86/sgx: uapi change proposal", 19 Dec 2018
 *
 * The mail names the ioctls and gives no struct: those of the drivers of the time are meant, without what the descriptor
 * says already. SGX_GET_INFO is ours: the mail only says that there could be global ioctls.
 */
import { ioctlTable } from '../../lib/ioctl.ts';
import { array, bitField, layout, reserved, u32, u64 } from '../../lib/layout.ts';
import { Attributes, MiscSelect, Xfrm } from '../sgx-arch.ts';
import { EnclaveCreate, EnclaveInit, provisionIoctls, SGX_MAGIC } from '../sgx-uapi.ts';
import {
  addPageErrors,
  createErrors,
  EnclaveAddPage,
  EnclaveSetAttribute,
  initErrors,
  rules2018,
  setAttributeErrors,
} from './drivers-2018.ts';
import { SGX_2018, SGX_2018_PROVISION, SGX_ENCLAVE_INODE, type SgxGeneration } from './generation.ts';

/** What api_version says. */
export const SGX_API_VERSION = 1;
export const SGX_INFO_SECTIONS = 8;

/** `features` of SGX_GET_INFO, by CPUID.12H.0:EAX and CPUID.7:ECX. */
export const SgxInfoFeatures = bitField({ SGX1: 0, SGX2: 1, FLC: 2, KSS: 3, AEX_NOTIFY: 4 });

export const SgxInfoSection = layout(
  'sgx_info_section',
  16,
  { source: 'ours' },
  { base: u64(0, 'physical address'), size: u64(8, 'bytes') },
);

/**
 * As VFIO has it: argsz says how much the caller knows, and comes back as how much there is to know. A longer struct of
 * a later kernel begins with this one.
 */
export const SgxInfo = layout(
  'sgx_info',
  216,
  {
    source: 'ours',
    kernel: {
      struct: 'sgx_info',
      fields: { argSz: 'argsz', miscSelect: 'miscselect', sizeLog2_32: 'size_log2_32', sizeLog2_64: 'size_log2_64' },
    },
  },
  {
    argSz: u32(0, 'in: bytes of this struct that the caller has; out: bytes that the kernel can fill'),
    flags: u32(4, 'in and out: 0'),
    apiVersion: u32(8, 'SGX_API_VERSION'),
    features: u32(12, 'what processor and kernel can do', SgxInfoFeatures),
    attributes: u64(16, 'SECS.ATTRIBUTES that CREATE and INIT take without a token', Attributes),
    xfrm: u64(24, 'SECS.XFRM that ECREATE takes', Xfrm),
    miscSelect: u32(32, 'SECS.MISCSELECT that ECREATE takes', MiscSelect),
    sizeLog2_32: u32(36, 'a 32-bit enclave has less than 2 to this power bytes'),
    sizeLog2_64: u32(40, 'the same of a 64-bit enclave'),
    sectionCount: u32(44, 'EPC sections there are; more than the array has are not told'),
    epcBytes: u64(48, 'all sections together'),
    sections: array(56, SGX_INFO_SECTIONS, SgxInfoSection, 'EPC sections'),
    reserved: reserved(184, 32),
  },
);

export const proposalDeviceIoctls = ioctlTable(SGX_MAGIC, [
  {
    name: 'SGX_ENCLAVE_CREATE',
    nr: 0,
    dir: 'in',
    arg: EnclaveCreate,
    errors: [...createErrors, 'EMFILE'],
    doc: 'ECREATE; the value returned is a descriptor of the enclave, close-on-exec',
    aliases: [{ name: 'SGX_IOC_ENCLAVE_CREATE', origin: 'the drivers of 2018' }],
  },
  {
    name: 'SGX_GET_INFO',
    nr: 0x10,
    // The size is in argsz: so a program and a kernel of other years still understand each other.
    dir: 'none',
    arg: undefined,
    errors: ['EFAULT', 'EINVAL', 'E2BIG'],
    doc: 'what processor and kernel can do; the argument is a struct sgx_info',
  },
]);

export const proposalEnclaveIoctls = ioctlTable(SGX_MAGIC, [
  {
    name: 'SGX_ENCLAVE_ADD_PAGE',
    nr: 1,
    dir: 'in',
    arg: EnclaveAddPage,
    errors: addPageErrors,
    doc: 'EADD one page, EEXTEND the chunks that mrmask names',
    aliases: [{ name: 'SGX_IOC_ENCLAVE_ADD_PAGE', origin: 'the drivers of 2018' }],
  },
  {
    name: 'SGX_ENCLAVE_INIT',
    nr: 2,
    dir: 'in',
    arg: EnclaveInit,
    errors: initErrors,
    doc: 'EINIT; the value returned is its SGX code',
    aliases: [{ name: 'SGX_IOC_ENCLAVE_INIT', origin: 'the drivers of 2018' }],
  },
  {
    name: 'SGX_ENCLAVE_SET_ATTRIBUTE',
    nr: 3,
    dir: 'in',
    arg: EnclaveSetAttribute,
    errors: setAttributeErrors,
    doc: 'allow ATTRIBUTES.PROVISIONKEY',
    aliases: [{ name: 'SGX_IOC_ENCLAVE_SET_ATTRIBUTE', origin: 'the drivers of 2018' }],
  },
]);

export const proposalGeneration = {
  name: 'proposal-2018',
  summary: 'CREATE on /dev/sgx gives a descriptor of the enclave',
  origin: 'Sean Christopherson, Re: x86/sgx: uapi change proposal, 19 Dec 2018',
  nodes: [
    { path: SGX_2018, ioctls: proposalDeviceIoctls, mapping: 'none' },
    { path: SGX_ENCLAVE_INODE, ioctls: proposalEnclaveIoctls, mapping: 'aligned' },
    { path: SGX_2018_PROVISION, ioctls: provisionIoctls, mapping: 'none' },
  ],
  rules: rules2018,
} as const satisfies SgxGeneration;
