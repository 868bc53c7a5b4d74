/**
 * The library: machines with virtual processes. docs/library.md tells of it with examples.
 *
 * @example
 * import { Enclave, Machine, read } from 'vitrine';
 *
 * const process = new Machine({ cpu: 'icelake', epc: '64M', seed: 1 }).process();
 * const enclave = Enclave.load(process);
 * process.thread().run(enclave.tcs[0]!, () => read(enclave.data, 8));
 */
import { MapFlags, MapType, MremapFlags, OpenAccess, OpenFlags, Prot } from './abi/linux.ts';
import { enclaveIoctls } from './abi/sgx-uapi.ts';

export { VirtualMachine as Machine, type VirtualMachineOptions as MachineOptions } from './virtual/machine.ts';
export { VirtualProcess as Process } from './virtual/process.ts';
export type { Access, Touched } from './virtual/touched.ts';
export { VirtualThreadRunner as Thread } from './virtual/thread.ts';
export { explainLeft, type Left } from './virtual/left.ts';
export { Enclave, PageKind, tcsPage } from './virtual/enclave.ts';
export type { EnclaveContents, EnclaveOptions, RangeResult } from './virtual/enclave.ts';
export * from './virtual/code.ts';

/** The calls of a process, in the kernel's words. */
export const { PROT_READ, PROT_WRITE, PROT_EXEC } = Prot.bit;
export const { MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE } = MapType;
export const { MAP_FIXED, MAP_ANONYMOUS, MAP_FIXED_NOREPLACE } = MapFlags.bit;
export const { MREMAP_MAYMOVE, MREMAP_FIXED } = MremapFlags.bit;
export const { O_RDONLY, O_WRONLY, O_RDWR } = OpenAccess;
export const { O_CLOEXEC } = OpenFlags.bit;
export const {
  SGX_IOC_ENCLAVE_CREATE,
  SGX_IOC_ENCLAVE_ADD_PAGES,
  SGX_IOC_ENCLAVE_INIT,
  SGX_IOC_ENCLAVE_PROVISION,
  SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS,
  SGX_IOC_ENCLAVE_MODIFY_TYPES,
  SGX_IOC_ENCLAVE_REMOVE_PAGES,
} = enclaveIoctls.byName;
/** Other generations of the interface: docs/generations.md. Each table has its ioctls in `byName`. */
export { draftIoctls } from './abi/sgx-uapi/draft-2018.ts';
export { sgxGenerations, sgxUapis, type SgxUapi } from './abi/sgx-uapi/generations.ts';
export { proposalDeviceIoctls, proposalEnclaveIoctls, SgxInfo } from './abi/sgx-uapi/proposal-2018.ts';
export { rfcIoctls } from './abi/sgx-uapi/rfc-2021.ts';
export { v17Ioctls } from './abi/sgx-uapi/v17-2018.ts';
export { Madvise } from './abi/linux.ts';
export { Errno, errnoName } from './lib/errno.ts';

/** SGX's structures, each with `encode` and `decode`, its bits and its numbers, in the manual's words. */
export {
  Attributes,
  Enclu,
  KeyName,
  KeyPolicy,
  KeyRequest,
  MiscSelect,
  PageType,
  Report,
  SecInfo,
  SecInfoFlags,
  Secs,
  SgxCode,
  sgxCodeName,
  SigStruct,
  TargetInfo,
  Tcs,
  TcsFlags,
  Xfrm,
} from './abi/sgx-arch.ts';
export { PageFaultError } from './abi/x86.ts';
export {
  newSigningKey,
  readSigningKey,
  signSigStruct,
  type SigningKey,
  type SigStructBody,
} from './formats/sigstruct.ts';
export { processorProfiles } from './machine/profiles.ts';
export { formatter, type TextOptions } from './trace/text.ts';
export type { TraceEvent } from './trace/events.ts';
