/**
 * v17-2018: open() itself gives a unique enclave. What the review of v17 asked for, and the ancestor of what was merged.
 * Origin: Andy Lutomirski, Dave Hansen, Sean Christopherson, "Re: [PATCH v17 18/23] platform/x86: Intel SGX driver",
 * 17 Dec 2018
 *
 * The mail gives no structs: ioctls on the enclave's descriptor need no address, as v20 then had it. Those that name the
 * enclave by an address, as v17 itself has them, are taken too, so that a program of v17 runs.
 */
import { ioctlTable } from '../../lib/ioctl.ts';
import { EnclaveCreate, EnclaveInit, provisionIoctls, SGX_MAGIC } from '../sgx-uapi.ts';
import {
  addPageErrors,
  createErrors,
  EnclaveAddPage,
  EnclaveInitAt,
  EnclaveSetAttribute,
  EnclaveSetAttributeAt,
  initErrors,
  rules2018,
  setAttributeErrors,
} from './drivers-2018.ts';
import { SGX_2018, SGX_2018_PROVISION, type SgxGeneration } from './generation.ts';

const v17 = 'as v17 has it: the enclave is named by an address';

export const v17Ioctls = ioctlTable(SGX_MAGIC, [
  {
    name: 'SGX_IOC_ENCLAVE_CREATE',
    nr: 0,
    dir: 'in',
    arg: EnclaveCreate,
    errors: createErrors,
    doc: 'ECREATE: the SECS gives size, base and attributes',
  },
  {
    name: 'SGX_IOC_ENCLAVE_ADD_PAGE',
    nr: 1,
    dir: 'in',
    arg: EnclaveAddPage,
    errors: addPageErrors,
    doc: 'EADD one page, EEXTEND the chunks that mrmask names',
  },
  {
    name: 'SGX_IOC_ENCLAVE_INIT',
    nr: 2,
    dir: 'in',
    arg: EnclaveInit,
    errors: initErrors,
    doc: 'EINIT; the value returned is its SGX code',
  },
  {
    name: 'SGX_IOC_ENCLAVE_INIT_AT',
    nr: 2,
    dir: 'in',
    arg: EnclaveInitAt,
    errors: initErrors,
    doc: 'the same, by address',
    aliases: [{ name: 'SGX_IOC_ENCLAVE_INIT', origin: v17 }],
  },
  {
    name: 'SGX_IOC_ENCLAVE_SET_ATTRIBUTE',
    nr: 3,
    dir: 'in',
    arg: EnclaveSetAttribute,
    errors: setAttributeErrors,
    doc: 'allow ATTRIBUTES.PROVISIONKEY',
  },
  {
    name: 'SGX_IOC_ENCLAVE_SET_ATTRIBUTE_AT',
    nr: 3,
    dir: 'in',
    arg: EnclaveSetAttributeAt,
    errors: setAttributeErrors,
    doc: 'the same, by address',
    aliases: [{ name: 'SGX_IOC_ENCLAVE_SET_ATTRIBUTE', origin: v17 }],
  },
]);

export const v17Generation = {
  name: 'v17-2018',
  summary: 'open(/dev/sgx) is an enclave, ADD_PAGE by page with mrmask',
  origin: 'review of [PATCH v17 18/23] platform/x86: Intel SGX driver, 17 Dec 2018',
  nodes: [
    { path: SGX_2018, ioctls: v17Ioctls, mapping: 'aligned' },
    { path: SGX_2018_PROVISION, ioctls: provisionIoctls, mapping: 'none' },
  ],
  rules: rules2018,
} as const satisfies SgxGeneration;
