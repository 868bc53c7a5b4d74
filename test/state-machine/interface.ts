/** The generations of the interface, as far as a history must know them: their tables. */
import type { GenerationNode } from '../../src/abi/sgx-uapi/generation.ts';
import { sgxGenerations, sgxUapis, type SgxUapi } from '../../src/abi/sgx-uapi/generations.ts';
import type { Ioctl } from '../../src/lib/ioctl.ts';

export type Uapi = SgxUapi;
export const uapis: readonly Uapi[] = sgxUapis;

const nodesOf = (uapi: Uapi): readonly GenerationNode[] => sgxGenerations[uapi].nodes;
const nodeOf = (uapi: Uapi, path: string): GenerationNode | undefined =>
  nodesOf(uapi).find((node) => node.path === path);

/** The ioctls that a descriptor of this node takes. */
export const ioctlsOf = (uapi: Uapi, path: string): readonly Ioctl[] => nodeOf(uapi, path)?.ioctls.entries ?? [];

export const isMappable = (uapi: Uapi, path: string): boolean => (nodeOf(uapi, path)?.mapping ?? 'none') !== 'none';

export const ioctlNamesOf = (uapi: Uapi): string[] =>
  nodesOf(uapi).flatMap(({ ioctls }) => ioctls.entries.map(({ name }) => name));
