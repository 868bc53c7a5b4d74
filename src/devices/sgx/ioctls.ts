/** The commands of 2018, by generation: how each finds its enclave; what is then done to it is in build.ts. */
import { EnclaveCreate, EnclaveInit } from '../../abi/sgx-uapi.ts';
import { DraftAddPage, DraftAddPageAsMailed, DraftInit, DraftSetAttribute } from '../../abi/sgx-uapi/draft-2018.ts';
import {
  EnclaveAddPage,
  EnclaveInitAt,
  EnclaveSetAttribute,
  EnclaveSetAttributeAt,
} from '../../abi/sgx-uapi/drivers-2018.ts';
import { Secs } from '../../abi/sgx-arch.ts';
import { Errno } from '../../lib/errno.ts';
import type { Layout, StructOf } from '../../lib/layout.ts';
import { fail, ok, why, type KernelResult } from '../../lib/outcome.ts';
import { addressOf, linPage, PAGE_SIZE_BYTES, pageOf } from '../../lib/units.ts';
import type { EnclaveFile } from '../../kernel/enclave.ts';
import type { EpcSection } from '../../processor/cpuid.ts';
import { NewDescriptor, type IoctlCall, type IoctlHandler, type IoctlResult } from '../dispatch.ts';
import { checkBuilding, hex } from '../sgx-enclave/checks.ts';
import { allowProvisioning } from '../sgx-enclave/ioctls.ts';
import { add, checkInside, create, init, readSecs } from './build.ts';
import { SgxHandleFile, type SgxDeviceFile, type SgxSpaceFile } from './device.ts';
import { getInfo } from './info.ts';

type Steps = Generator<void, IoctlResult>;
type Handlers<F> = Readonly<Record<string, IoctlHandler<F>>>;

/** A handler that gets its argument. EFAULT. */
function on<F, L extends Layout>(
  layout: L,
  then: (call: IoctlCall<F>, argument: StructOf<L>) => IoctlResult | Steps,
): IoctlHandler<F> {
  return function* (call) {
    const argument = call.copyIn(layout);
    if (argument.kind !== 'ok') return argument;
    const result = then(call, argument.value);
    return 'next' in result ? yield* result : result;
  };
}

// --- v17-2018, and the enclaves of proposal-2018 -------------------------------------------------------------------------

const addPage = on<EnclaveFile, typeof EnclaveAddPage>(EnclaveAddPage, (call, page) => add(call, call.file, page));
const initByFd = on<EnclaveFile, typeof EnclaveInit>(EnclaveInit, (call, { sigStruct }) =>
  init(call, call.file, sigStruct),
);
const setAttribute = on<EnclaveFile, typeof EnclaveSetAttribute>(EnclaveSetAttribute, (call, { attributeFd }) =>
  allowProvisioning(call, call.file, attributeFd),
);

export const v17Handlers: Handlers<EnclaveFile> = {
  /** EINVAL: created before. Then as readSecs and create. */
  SGX_IOC_ENCLAVE_CREATE: on(EnclaveCreate, (call, { src }) => {
    const { file } = call;
    if (file.created) {
      return fail(Errno.EINVAL, why('the enclave is not created yet', 'a fresh file', 'created before'));
    }
    const secs = readSecs(call, src);
    return secs.kind === 'ok' ? create(call, file, secs.value) : secs;
  }),
  SGX_IOC_ENCLAVE_ADD_PAGE: addPage,
  SGX_IOC_ENCLAVE_INIT: initByFd,
  /** EINVAL: not created; the address is not in the enclave. */
  SGX_IOC_ENCLAVE_INIT_AT: on(EnclaveInitAt, (call, { addr, sigStruct }) =>
    call.file.created
      ? (checkInside(call.file, addr) ?? init(call, call.file, sigStruct))
      : init(call, call.file, sigStruct),
  ),
  SGX_IOC_ENCLAVE_SET_ATTRIBUTE: setAttribute,
  /** EINVAL: the address is not in the enclave. */
  SGX_IOC_ENCLAVE_SET_ATTRIBUTE_AT: on(
    EnclaveSetAttributeAt,
    (call, { addr, attributeFd }) => checkInside(call.file, addr) ?? allowProvisioning(call, call.file, attributeFd),
  ),
};

export const proposalEnclaveHandlers: Handlers<EnclaveFile> = {
  SGX_ENCLAVE_ADD_PAGE: addPage,
  SGX_ENCLAVE_INIT: initByFd,
  SGX_ENCLAVE_SET_ATTRIBUTE: setAttribute,
};

// --- the device of proposal-2018 -----------------------------------------------------------------------------------------

export const proposalDeviceHandlers = (
  sections: readonly EpcSection[],
  profile: Parameters<typeof getInfo>[1],
): Handlers<SgxDeviceFile> => ({
  SGX_ENCLAVE_CREATE: on(EnclaveCreate, (call, { src }) => {
    const secs = readSecs(call, src);
    return secs.kind === 'ok' ? createNew(call, call.file.newEnclave(), secs.value) : secs;
  }),
  SGX_GET_INFO: (call) => getInfo(call, profile, sections),
});

/** A descriptor of the enclave; of one that cannot be created nothing is left. */
function createNew<F>(
  call: IoctlCall<F>,
  enclave: SgxHandleFile | ReturnType<SgxDeviceFile['newEnclave']>,
  secs: Uint8Array,
): IoctlResult {
  const created = create(call, enclave, secs);
  if (created.kind === 'ok') {
    enclave.createdBy = call.mm.port.pid;
    return ok(new NewDescriptor(enclave));
  }
  enclave.release();
  return created;
}

// --- draft-2018 ------------------------------------------------------------------------------------------------------------

export const draftHandlers: Handlers<SgxSpaceFile> = {
  SGX_IOC_ENCLAVE_CREATE: on(EnclaveCreate, createDraft),
  SGX_IOC_ENCLAVE_ADD_PAGE: on(DraftAddPage, (call, { enclaveFd, ...page }) => {
    const enclave = enclaveOf(call, enclaveFd);
    return enclave.kind === 'ok' ? addAnd(call, enclave.value, page) : enclave;
  }),
  /** EINVAL: not created, or initialized. */
  SGX_IOC_ENCLAVE_ADD_PAGE_AS_MAILED: on(DraftAddPageAsMailed, (call, { enclaveFd, ...page }) => {
    const enclave = enclaveOf(call, enclaveFd);
    if (enclave.kind !== 'ok') return enclave;
    const { value: file } = enclave;
    const at = file.nextPage ?? file.basePage;
    return checkBuilding(file) ?? addAnd(call, file, { ...page, addr: BigInt(addressOf(at)) });
  }),
  SGX_IOC_ENCLAVE_INIT: on(DraftInit, (call, { enclaveFd, sigStruct }) => {
    const enclave = enclaveOf(call, enclaveFd);
    return enclave.kind === 'ok' ? init(call, enclave.value, sigStruct) : enclave;
  }),
  SGX_IOC_ENCLAVE_SET_ATTRIBUTE: on(DraftSetAttribute, (call, { enclaveFd, attributeFd }) => {
    const enclave = enclaveOf(call, enclaveFd);
    return enclave.kind === 'ok' ? allowProvisioning(call, enclave.value, attributeFd) : enclave;
  }),
};

/** ERESTARTSYS: a signal while threads leave an enclave that had these addresses. EEXIST: another one has them. */
function* createDraft(call: IoctlCall<SgxSpaceFile>, { src }: StructOf<typeof EnclaveCreate>): Steps {
  const { file } = call;
  const secs = readSecs(call, src);
  if (secs.kind !== 'ok') return secs;
  const { baseAddr, size } = Secs.view(secs.value);
  const start = Number(baseAddr) / PAGE_SIZE_BYTES;
  const end = Number(baseAddr + size) / PAGE_SIZE_BYTES;
  while (!file.clear(start, end)) {
    if (call.signalPending()) {
      return fail(Errno.ERESTARTSYS, why('no signal is pending while threads leave an enclave', 'none', 'one'));
    }
    yield;
  }
  const [other] = file.enclavesIn(start, end);
  if (other !== undefined) {
    return fail(
      Errno.EEXIST,
      why('no enclave of this device has these addresses', 'free addresses', `one at ${hex(other.base)}`),
    );
  }
  return createNew(call, file.newEnclave(), secs.value);
}

/** Adds a page, and remembers where the next one goes. */
function addAnd(call: IoctlCall<SgxSpaceFile>, enclave: SgxHandleFile, page: Parameters<typeof add>[2]): KernelResult {
  const added = add(call, enclave, page);
  if (added.kind === 'ok') enclave.nextPage = linPage(pageOf(Number(page.addr)) + 1);
  return added;
}

/** EBADF: not open. EINVAL: no enclave. Of any device: the descriptor is the handle, whoever created it. */
function enclaveOf(call: IoctlCall<SgxSpaceFile>, enclaveFd: bigint): KernelResult<SgxHandleFile> {
  const fd = Number(enclaveFd & 0xffff_ffffn);
  const file = call.resolveFd(fd);
  if (file instanceof SgxHandleFile) {
    file.addressed = true;
    call.advice?.knowsDescriptors(call.mm.port.pid);
    return ok(file);
  }
  if (file !== 'not-open') {
    const found = file === 'other' ? 'another file' : file.node;
    return fail(Errno.EINVAL, why('enclave_fd is of an enclave', 'what CREATE gave', `${fd}: ${found}`));
  }
  const advice =
    enclaveFd >= 0x1_0000n
      ? call.advice?.otherArgument(call.mm.port.pid, `names an address (${hex(enclaveFd)}) where enclave_fd stands`, [
          'v17-2018',
          'proposal-2018',
        ])
      : undefined;
  return fail(Errno.EBADF, why('enclave_fd is open', 'what CREATE gave', hex(enclaveFd), advice));
}
