/**
 * A generation of Linux's SGX interface: one that was merged, or one that was proposed and discussed. Each is a table:
 * which nodes there are, which ioctls their descriptors take, what can be mapped, and how the driver behind it differs.
 * docs/generations.md tells them apart in words.
 */
import type { IoctlTable } from '../../lib/ioctl.ts';

/**
 * What a program can get a descriptor of, in any generation; the stub knows them by index. S_IFCHR for devices, S_IFREG
 * for the token that was a file of securityfs, neither for what has no name.
 */
export const sgxNodes = [
  { path: '/dev/sgx_enclave', mode: 0o020_660 },
  { path: '/dev/sgx_provision', mode: 0o020_660 },
  { path: '/dev/sgx', mode: 0o020_660 },
  { path: '/sys/kernel/security/sgx/provision', mode: 0o100_600 },
  { path: 'anon_inode:sgx-enclave', mode: 0o600 },
] as const;
export type SgxNodePath = (typeof sgxNodes)[number]['path'];

/** The device of 2018, the token of that time, and the enclave's descriptor that the device gives. */
export const SGX_2018 = '/dev/sgx';
export const SGX_2018_PROVISION = '/sys/kernel/security/sgx/provision';
export const SGX_ENCLAVE_INODE = 'anon_inode:sgx-enclave';

/**
 * `none`: ENODEV. `shared`: MAP_SHARED only. `aligned`: the same, and where the kernel chooses the address it is a
 * multiple of the length, which has to be a power of two and two pages at least, else EINVAL.
 */
export type Mapping = 'none' | 'shared' | 'aligned';

export interface GenerationNode {
  readonly path: SgxNodePath;
  readonly ioctls: IoctlTable;
  readonly mapping: Mapping;
}

/** What the driver does otherwise, apart from its ioctls. R, W, X are 1, 2, 4. */
export interface SgxRules {
  /**
   * What limits mappings and page table entries. `vetted`: what a page was added with. `running`: what it was last
   * changed to by ioctl; mappings may be wider, and a write that the entry forbids is SIGBUS. `nothing`: the EPCM alone.
   */
  readonly limit: 'vetted' | 'running' | 'nothing';
  /** mmap of an initialized enclave outside ELRANGE, or with READ_IMPLIES_EXEC, is EACCES. */
  readonly guardsRange: boolean;
  /** Rights that mappings of a page may have that came by a touch (EAUG); undefined: none comes, a hole is SIGBUS. */
  readonly augmentedRights: number | undefined;
  /** Mappings are of the device, not of an enclave, and keep none alive. */
  readonly disjointMappings: boolean;
}

export interface SgxGeneration {
  readonly name: string;
  /** One line for help texts. */
  readonly summary: string;
  /** Who wrote it down, and when. */
  readonly origin: string;
  readonly nodes: readonly GenerationNode[];
  readonly rules: SgxRules;
}
