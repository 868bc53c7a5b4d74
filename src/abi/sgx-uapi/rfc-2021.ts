/**
 * rfc-2021: the first version of the SGX2 series. Numbers and sizes are those that were merged; what they do is not.
 * Origin: Reinette Chatre, "[PATCH 00/25] x86/sgx and selftests/sgx: Support SGX2", 1 Dec 2021, and the answers to it
 */
import { ioctlTable } from '../../lib/ioctl.ts';
import { layout, u64 } from '../../lib/layout.ts';
import { Prot } from '../linux.ts';
import { enclaveIoctls, provisionIoctls, sgxDevices, SGX_MAGIC } from '../sgx-uapi.ts';
import type { SgxGeneration } from './generation.ts';

const source = '[PATCH 11/25, 16/25, 17/25] of the SGX2 series, V1, Dec 2021';
const offset = u64(0, 'bytes from the enclave base');
const length = u64(8, 'bytes');

export const PageModp = layout(
  'sgx_page_modp',
  40,
  { source },
  {
    offset,
    length,
    prot: u64(16, 'rights that the pages are to have', Prot),
    result: u64(24, 'out: SGX code of EMODPR'),
    count: u64(32, 'out: bytes changed, also on error; the text says pages'),
  },
);

export const PageModt = layout(
  'sgx_page_modt',
  40,
  { source },
  {
    offset,
    length,
    type: u64(16, 'PageType, TCS or TRIM'),
    result: u64(24, 'out: SGX code of EMODT'),
    count: u64(32, 'out: bytes changed, also on error; the text says pages'),
  },
);

export const PageRemove = layout(
  'sgx_page_remove',
  24,
  { source },
  { offset, length, count: u64(16, 'out: bytes removed, also on error') },
);

const [create, addPages, init, provision] = enclaveIoctls.entries;

const v1 = 'review of V1, 4 to 6 Dec 2021';
const v2 = 'V2, Feb 2022';

export const rfcIoctls = ioctlTable(SGX_MAGIC, [
  create!,
  addPages!,
  init!,
  provision!,
  {
    name: 'SGX_IOC_PAGE_MODP',
    nr: 5,
    dir: 'inout',
    arg: PageModp,
    errors: ['ENODEV', 'EINVAL', 'EFAULT', 'EPERM'],
    doc: 'EMODPR a range, and tell the kernel what EMODPE has given',
    aliases: [
      { name: 'SGX_IOC_ENCLAVE_MOD_PROTECTIONS', origin: v1 },
      { name: 'SGX_IOC_ENCLAVE_RELAX_PERMISSIONS', origin: `${v2}: the half after EMODPE` },
      { name: 'SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS', origin: `${v2}: the other half; merged` },
    ],
  },
  {
    name: 'SGX_IOC_PAGE_MODT',
    nr: 6,
    dir: 'inout',
    arg: PageModt,
    errors: ['ENODEV', 'EINVAL', 'EFAULT', 'EPERM'],
    doc: 'EMODT a range to TCS or TRIM',
    aliases: [
      { name: 'SGX_IOC_ENCLAVE_MODIFY_TYPE', origin: `${v1}, asked for; ${v2}, with a SECINFO instead of the type` },
      { name: 'SGX_IOC_ENCLAVE_MOD_TYPE', origin: `${v1}, answered` },
      { name: 'SGX_IOC_ENCLAVE_MODIFY_TYPES', origin: 'V4, Apr 2022, with the type again; merged' },
    ],
  },
  {
    name: 'SGX_IOC_PAGE_REMOVE',
    nr: 7,
    dir: 'inout',
    arg: PageRemove,
    errors: ['ENODEV', 'EINVAL', 'EFAULT', 'EPERM'],
    doc: 'EREMOVE trimmed and accepted pages',
    aliases: [{ name: 'SGX_IOC_ENCLAVE_REMOVE_PAGES', origin: `${v2}; merged` }],
  },
]);

export const rfcGeneration = {
  name: 'rfc-2021',
  summary: 'as mainline, with SGX_IOC_PAGE_MODP, MODT and REMOVE of the first SGX2 series',
  origin: 'Reinette Chatre, [PATCH 00/25] x86/sgx and selftests/sgx: Support SGX2, 1 Dec 2021',
  nodes: [
    { path: sgxDevices.enclave.path, ioctls: rfcIoctls, mapping: 'shared' },
    { path: sgxDevices.provision.path, ioctls: provisionIoctls, mapping: 'none' },
  ],
  rules: { limit: 'running', guardsRange: true, augmentedRights: 3, disjointMappings: false },
} as const satisfies SgxGeneration;
