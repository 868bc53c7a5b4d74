/**
 * The commands of /dev/sgx_enclave: what each checks, in the kernel's order. EBUSY and ENOTTY come before all of it.
 * Source: arch/x86/kernel/cpu/sgx/ioctl.c
 */
import { Attributes, Secs, SGX_VENDOR_INTEL, SigStruct } from '../../abi/sgx-arch.ts';
import { EnclaveCreate, EnclaveInit, EnclaveProvision } from '../../abi/sgx-uapi.ts';
import { Errno } from '../../lib/errno.ts';
import { fail, ok, why, type KernelResult } from '../../lib/outcome.ts';
import { createEnclave, initEnclave } from '../../kernel/build.ts';
import type { EnclaveFile } from '../../kernel/enclave.ts';
import type { IoctlCall, IoctlHandler } from '../dispatch.ts';
import { SgxProvisionFile } from '../sgx-provision/device.ts';
import { addPages } from './add-pages.ts';
import { checkBuilding } from './checks.ts';
import { modifyTypes, removePages, restrictPermissions } from './page-changes.ts';
import { modp, modt, remove } from './rfc-2021.ts';

type Call = IoctlCall<EnclaveFile>;
type Steps = Generator<void, KernelResult>;

export const handlers: Readonly<Record<string, IoctlHandler<EnclaveFile>>> = {
  SGX_IOC_ENCLAVE_CREATE: create,
  SGX_IOC_ENCLAVE_ADD_PAGES: addPages,
  SGX_IOC_ENCLAVE_INIT: init,
  SGX_IOC_ENCLAVE_PROVISION: provision,
  SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS: restrictPermissions,
  SGX_IOC_ENCLAVE_MODIFY_TYPES: modifyTypes,
  SGX_IOC_ENCLAVE_REMOVE_PAGES: removePages,
};

/** The same with the SGX2 commands of rfc-2021. */
export const rfcHandlers: Readonly<Record<string, IoctlHandler<EnclaveFile>>> = {
  SGX_IOC_ENCLAVE_CREATE: create,
  SGX_IOC_ENCLAVE_ADD_PAGES: addPages,
  SGX_IOC_ENCLAVE_INIT: init,
  SGX_IOC_ENCLAVE_PROVISION: provision,
  SGX_IOC_PAGE_MODP: modp,
  SGX_IOC_PAGE_MODT: modt,
  SGX_IOC_PAGE_REMOVE: remove,
};

/**
 * SGX_IOC_ENCLAVE_CREATE
 * EINVAL: created before.
 * EFAULT: the argument or the SECS cannot be read.
 * EINVAL: SECS.SIZE is no power of two, or larger than any file.
 * ENOMEM: no EPC for a VA page and the SECS. ERESTARTSYS: a signal while evicting.
 * EIO: ECREATE faulted.
 */
// oxlint-disable-next-line require-yield -- every handler is a generator, few are long
function* create(call: Call): Steps {
  const { file } = call;
  if (file.created) return fail(Errno.EINVAL, why('the enclave is not created yet', 'a fresh file', 'created before'));
  const argument = call.copyIn(EnclaveCreate);
  if (argument.kind !== 'ok') return argument;
  const secs = call.read(argument.value.src, Secs.sizeBytes, 'the SECS');
  if (secs.kind !== 'ok') return secs;
  call.show(Secs, secs.value);
  const created = createEnclave(file, secs.value, call.signalPending);
  file.kernel.reclaimer.balance();
  return created;
}

/**
 * SGX_IOC_ENCLAVE_INIT
 * EINVAL: not created, or initialized before.
 * EFAULT: the argument or the SIGSTRUCT cannot be read.
 * EINVAL: SIGSTRUCT.VENDOR is neither 0 nor Intel's.
 * EACCES, EINVAL, ERESTARTSYS, EIO, EPERM: see initEnclave.
 */
function* init(call: Call): Steps {
  const { file } = call;
  const refused = checkBuilding(file);
  if (refused) return refused;
  const argument = call.copyIn(EnclaveInit);
  if (argument.kind !== 'ok') return argument;
  const sigStruct = call.read(argument.value.sigStruct, SigStruct.sizeBytes, 'the SIGSTRUCT');
  if (sigStruct.kind !== 'ok') return sigStruct;
  const { vendor } = SigStruct.view(sigStruct.value);
  if (vendor !== 0 && vendor !== SGX_VENDOR_INTEL) {
    return fail(Errno.EINVAL, why('SIGSTRUCT.VENDOR', '0 or 0x8086', `0x${vendor.toString(16)}`));
  }
  return yield* initEnclave(file, sigStruct.value, call.signalPending);
}

/**
 * SGX_IOC_ENCLAVE_PROVISION, in any state.
 * EFAULT: the argument cannot be read.
 * EINVAL: the descriptor is not open, or not of /dev/sgx_provision.
 */
// oxlint-disable-next-line require-yield -- every handler is a generator, few are long
function* provision(call: Call): Steps {
  const argument = call.copyIn(EnclaveProvision);
  if (argument.kind !== 'ok') return argument;
  return allowProvisioning(call, call.file, argument.value.fd);
}

/** EINVAL: the descriptor is not open, or no token. */
export function allowProvisioning<F>(call: IoctlCall<F>, enclave: EnclaveFile, token: bigint): KernelResult {
  const fd = Number(token & 0xffff_ffffn);
  const file = call.resolveFd(fd);
  if (!(file instanceof SgxProvisionFile)) {
    const found = file === 'not-open' ? 'not open' : file === 'other' ? 'another file' : file.node;
    return fail(Errno.EINVAL, why('the descriptor is of the provisioning token', 'a token', `${fd}: ${found}`));
  }
  enclave.attributesMask |= Attributes.mask.PROVISIONKEY;
  return ok();
}
