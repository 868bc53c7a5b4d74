/** All generations of the SGX interface, by name; which of them a command number belongs to. */
import { enclaveIoctls, provisionIoctls, sgxDevices } from '../sgx-uapi.ts';
import { draftGeneration } from './draft-2018.ts';
import type { SgxGeneration } from './generation.ts';
import { proposalGeneration } from './proposal-2018.ts';
import { rfcGeneration } from './rfc-2021.ts';
import { v17Generation } from './v17-2018.ts';

export const mainlineGeneration = {
  name: 'mainline',
  summary: 'what Linux has since 5.11, with the SGX2 ioctls of 6.0',
  origin: 'arch/x86/include/uapi/asm/sgx.h',
  nodes: [
    { path: sgxDevices.enclave.path, ioctls: enclaveIoctls, mapping: 'shared' },
    { path: sgxDevices.provision.path, ioctls: provisionIoctls, mapping: 'none' },
  ],
  rules: { limit: 'vetted', guardsRange: true, augmentedRights: 7, disjointMappings: false },
} as const satisfies SgxGeneration;

export const sgxGenerations = {
  mainline: mainlineGeneration,
  'proposal-2018': proposalGeneration,
  'draft-2018': draftGeneration,
  'v17-2018': v17Generation,
  'rfc-2021': rfcGeneration,
} as const;

export type SgxUapi = keyof typeof sgxGenerations;
export const sgxUapis = Object.keys(sgxGenerations) as readonly SgxUapi[];
export const DEFAULT_SGX_UAPI: SgxUapi = 'mainline';

/** Generations of which a node is one. */
export function generationsWithNode(path: string): SgxUapi[] {
  return sgxUapis.filter((name) => sgxGenerations[name].nodes.some((node) => node.path === path));
}

/** Generations in which descriptors of this node take the command, and its name in the first of them. */
export function generationsWithCommand(
  path: string,
  command: number,
): { readonly names: SgxUapi[]; readonly ioctl: string | undefined } {
  const found = sgxUapis.flatMap((name) => {
    const nodes: SgxGeneration['nodes'] = sgxGenerations[name].nodes;
    const entry = nodes.find((node) => node.path === path)?.ioctls.find(command);
    return entry === undefined ? [] : [{ name, ioctl: entry.name }];
  });
  return { names: found.map(({ name }) => name), ioctl: found[0]?.ioctl };
}

/** Generations in which descriptors of this node can be mapped. */
export function generationsWithMapping(path: string): SgxUapi[] {
  return sgxUapis.filter((name) => {
    const nodes: SgxGeneration['nodes'] = sgxGenerations[name].nodes;
    return nodes.some((node) => node.path === path && node.mapping !== 'none');
  });
}
