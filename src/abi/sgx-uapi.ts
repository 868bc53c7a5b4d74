/**
 * Linux's user interface to SGX: device nodes, ioctls with their structures, the argument of the vDSO function.
 * Source: arch/x86/include/uapi/asm/sgx.h; arch/x86/kernel/cpu/sgx/ioctl.c, virt.c for the errnos
 */
import { ioctlTable } from '../lib/ioctl.ts';
import { bitField, layout, reserved, u16, u32, u64, type StructOf } from '../lib/layout.ts';
import { Attributes, MiscSelect, SecInfoFlags } from './sgx-arch.ts';

/** Misc character devices: `/dev/NAME`, `/sys/class/misc/NAME`, a line in /proc/misc. */
export const SGX_DEVICE_MAJOR = 10;
export const sgxDevices = {
  enclave: { name: 'sgx_enclave', path: '/dev/sgx_enclave' },
  provision: { name: 'sgx_provision', path: '/dev/sgx_provision' },
  vepc: { name: 'sgx_vepc', path: '/dev/sgx_vepc' },
} as const;

export const SGX_MAGIC = 0xa4;

/** `flags` of SGX_IOC_ENCLAVE_ADD_PAGES; the kernel looks at no other bit. */
export const AddPagesFlags = bitField({ SGX_PAGE_MEASURE: 0 });

/** What the driver itself allows: arch/x86/include/asm/sgx.h. Attributes that need no permission: */
export const SGX_ATTR_UNPRIV_MASK =
  Attributes.mask.DEBUG | Attributes.mask.MODE64BIT | Attributes.mask.KSS | Attributes.mask.AEXNOTIFY;
/** Attributes that need one. */
export const SGX_ATTR_PRIV_MASK = Attributes.mask.PROVISIONKEY | Attributes.mask.EINITTOKENKEY;
/** Attributes that the driver does not know; CET is among them. */
export const SGX_ATTR_RESERVED_MASK = BigInt.asUintN(
  64,
  ~(SGX_ATTR_UNPRIV_MASK | SGX_ATTR_PRIV_MASK | Attributes.mask.INIT),
);
/** MISCSELECT bits that the driver does not know. */
export const SGX_MISC_RESERVED_MASK = BigInt.asUintN(64, ~MiscSelect.mask.EXINFO);
/** SECINFO flags that ADD_PAGES does not take. */
export const SGX_SECINFO_RESERVED_MASK = BigInt.asUintN(
  64,
  ~(SecInfoFlags.mask.R | SecInfoFlags.mask.W | SecInfoFlags.mask.X | SecInfoFlags.mask.PT),
);

const uapi = 'arch/x86/include/uapi/asm/sgx.h';

export const EnclaveCreate = layout(
  'sgx_enclave_create',
  8,
  { source: uapi, kernel: { struct: 'sgx_enclave_create', fields: { src: 'src' } } },
  { src: u64(0, 'user address of a SECS, 4096 bytes, any alignment') },
);
export type EnclaveCreate = StructOf<typeof EnclaveCreate>;

export const EnclaveAddPages = layout(
  'sgx_enclave_add_pages',
  48,
  {
    source: uapi,
    kernel: {
      struct: 'sgx_enclave_add_pages',
      fields: {
        src: 'src',
        offset: 'offset',
        length: 'length',
        secInfo: 'secinfo',
        flags: 'flags',
        count: 'count',
      },
    },
  },
  {
    src: u64(0, 'user address of the contents, page-aligned'),
    offset: u64(8, 'bytes from the enclave base'),
    length: u64(16, 'bytes'),
    secInfo: u64(24, 'user address of a SECINFO, any alignment'),
    flags: u64(32, 'whether to measure', AddPagesFlags),
    count: u64(40, 'out: bytes added, also on error'),
  },
);
export type EnclaveAddPages = StructOf<typeof EnclaveAddPages>;

export const EnclaveInit = layout(
  'sgx_enclave_init',
  8,
  { source: uapi, kernel: { struct: 'sgx_enclave_init', fields: { sigStruct: 'sigstruct' } } },
  { sigStruct: u64(0, 'user address of a SIGSTRUCT, any alignment') },
);
export type EnclaveInit = StructOf<typeof EnclaveInit>;

export const EnclaveProvision = layout(
  'sgx_enclave_provision',
  8,
  { source: uapi, kernel: { struct: 'sgx_enclave_provision', fields: { fd: 'fd' } } },
  { fd: u64(0, 'file descriptor of sgx_provision, low 32 bits') },
);
export type EnclaveProvision = StructOf<typeof EnclaveProvision>;

export const EnclaveRestrictPermissions = layout(
  'sgx_enclave_restrict_permissions',
  40,
  {
    source: uapi,
    kernel: {
      struct: 'sgx_enclave_restrict_permissions',
      fields: {
        offset: 'offset',
        length: 'length',
        permissions: 'permissions',
        result: 'result',
        count: 'count',
      },
    },
  },
  {
    offset: u64(0, 'bytes from the enclave base'),
    length: u64(8, 'bytes'),
    permissions: u64(16, 'rights to keep', SecInfoFlags),
    result: u64(24, 'out: SGX code of EMODPR'),
    count: u64(32, 'out: bytes changed, also on error'),
  },
);
export type EnclaveRestrictPermissions = StructOf<typeof EnclaveRestrictPermissions>;

export const EnclaveModifyTypes = layout(
  'sgx_enclave_modify_types',
  40,
  {
    source: uapi,
    kernel: {
      struct: 'sgx_enclave_modify_types',
      fields: { offset: 'offset', length: 'length', pageType: 'page_type', result: 'result', count: 'count' },
    },
  },
  {
    offset: u64(0, 'bytes from the enclave base'),
    length: u64(8, 'bytes'),
    pageType: u64(16, 'PageType, TCS or TRIM'),
    result: u64(24, 'out: SGX code of EMODT'),
    count: u64(32, 'out: bytes changed, also on error'),
  },
);
export type EnclaveModifyTypes = StructOf<typeof EnclaveModifyTypes>;

export const EnclaveRemovePages = layout(
  'sgx_enclave_remove_pages',
  24,
  {
    source: uapi,
    kernel: {
      struct: 'sgx_enclave_remove_pages',
      fields: { offset: 'offset', length: 'length', count: 'count' },
    },
  },
  {
    offset: u64(0, 'bytes from the enclave base'),
    length: u64(8, 'bytes'),
    count: u64(16, 'out: bytes removed, also on error'),
  },
);
export type EnclaveRemovePages = StructOf<typeof EnclaveRemovePages>;

/** The last argument of `__vdso_sgx_enter_enclave`. */
export const EnclaveRun = layout(
  'sgx_enclave_run',
  256,
  {
    source: uapi,
    kernel: {
      struct: 'sgx_enclave_run',
      fields: {
        tcs: 'tcs',
        function: 'function',
        exceptionVector: 'exception_vector',
        exceptionErrorCode: 'exception_error_code',
        exceptionAddr: 'exception_addr',
        userHandler: 'user_handler',
        userData: 'user_data',
      },
    },
  },
  {
    tcs: u64(0, 'TCS to enter'),
    function: u32(8, 'last ENCLU leaf seen: EENTER, ERESUME or EEXIT'),
    exceptionVector: u16(12, 'vector of the exception'),
    exceptionErrorCode: u16(14, 'its error code'),
    exceptionAddr: u64(16, 'address of a #PF'),
    userHandler: u64(24, 'called at every exit; 0 for none'),
    userData: u64(32, 'never read by the kernel'),
    reserved: reserved(40, 216),
  },
);

/**
 * Ioctls of /dev/sgx_enclave. EBUSY (another ioctl on this enclave is running) and ENOTTY (unknown command) come
 * before any of the errors listed.
 */
export const enclaveIoctls = ioctlTable(SGX_MAGIC, [
  {
    name: 'SGX_IOC_ENCLAVE_CREATE',
    nr: 0,
    dir: 'in',
    arg: EnclaveCreate,
    errors: ['EINVAL', 'EFAULT', 'ENOMEM', 'EIO', 'ERESTARTSYS'],
    doc: 'ECREATE: the SECS gives size, base and attributes',
  },
  {
    name: 'SGX_IOC_ENCLAVE_ADD_PAGES',
    nr: 1,
    dir: 'inout',
    arg: EnclaveAddPages,
    errors: ['EINVAL', 'EFAULT', 'ENOMEM', 'EBUSY', 'EACCES', 'EIO', 'ERESTARTSYS'],
    doc: 'EADD a range from user memory, EEXTEND it when asked',
  },
  {
    name: 'SGX_IOC_ENCLAVE_INIT',
    nr: 2,
    dir: 'in',
    arg: EnclaveInit,
    errors: ['EINVAL', 'EFAULT', 'ENOMEM', 'EACCES', 'EIO', 'EPERM', 'ERESTARTSYS'],
    doc: 'EINIT: measurement and signature are verified',
  },
  {
    name: 'SGX_IOC_ENCLAVE_PROVISION',
    nr: 3,
    dir: 'in',
    arg: EnclaveProvision,
    errors: ['EFAULT', 'EINVAL'],
    doc: 'allow ATTRIBUTES.PROVISIONKEY',
  },
  {
    name: 'SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS',
    nr: 5,
    dir: 'inout',
    arg: EnclaveRestrictPermissions,
    errors: ['ENODEV', 'EINVAL', 'EFAULT', 'EAGAIN'],
    doc: 'EMODPR a range',
  },
  {
    name: 'SGX_IOC_ENCLAVE_MODIFY_TYPES',
    nr: 6,
    dir: 'inout',
    arg: EnclaveModifyTypes,
    errors: ['ENODEV', 'EINVAL', 'EFAULT', 'EAGAIN', 'EPERM'],
    doc: 'EMODT a range to TCS or TRIM',
  },
  {
    name: 'SGX_IOC_ENCLAVE_REMOVE_PAGES',
    nr: 7,
    dir: 'inout',
    arg: EnclaveRemovePages,
    errors: ['ENODEV', 'EINVAL', 'EFAULT', 'EAGAIN', 'EPERM', 'EBUSY'],
    doc: 'EREMOVE trimmed and accepted pages',
  },
]);

/** /dev/sgx_provision is only a token for SGX_IOC_ENCLAVE_PROVISION: every command gives ENOTTY. */
export const provisionIoctls = ioctlTable(SGX_MAGIC, []);

export const vepcIoctls = ioctlTable(SGX_MAGIC, [
  {
    name: 'SGX_IOC_VEPC_REMOVE_ALL',
    nr: 4,
    dir: 'none',
    arg: undefined,
    errors: ['EINVAL', 'EBUSY'],
    doc: 'EREMOVE every page; returns the number of SECS pages left',
  },
]);

/** Layouts of this file, for generated headers and tests. */
export const sgxUapiLayouts = [
  EnclaveCreate,
  EnclaveAddPages,
  EnclaveInit,
  EnclaveProvision,
  EnclaveRestrictPermissions,
  EnclaveModifyTypes,
  EnclaveRemovePages,
  EnclaveRun,
] as const;
