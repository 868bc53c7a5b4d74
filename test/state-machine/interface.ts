/** The generations of the interface, as far as a history must know them: their tables. */
import { enclaveIoctls, provisionIoctls, sgxDevices } from '../../src/abi/sgx-uapi.ts';
import type { Ioctl } from '../../src/lib/ioctl.ts';

export type Uapi = 'mainline';
export const uapis: readonly Uapi[] = ['mainline'];

interface Node {
  readonly path: string;
  readonly ioctls: readonly Ioctl[];
  readonly isMappable: boolean;
}

const nodes: Readonly<Record<Uapi, readonly Node[]>> = {
  mainline: [
    { path: sgxDevices.enclave.path, ioctls: enclaveIoctls.entries, isMappable: true },
    { path: sgxDevices.provision.path, ioctls: provisionIoctls.entries, isMappable: false },
  ],
};

const nodeOf = (uapi: Uapi, path: string): Node | undefined => nodes[uapi].find((node) => node.path === path);

/** The ioctls that a descriptor of this node takes. */
export const ioctlsOf = (uapi: Uapi, path: string): readonly Ioctl[] => nodeOf(uapi, path)?.ioctls ?? [];

export const isMappable = (uapi: Uapi, path: string): boolean => nodeOf(uapi, path)?.isMappable ?? false;

export const ioctlNamesOf = (uapi: Uapi): string[] =>
  nodes[uapi].flatMap(({ ioctls }) => ioctls.map(({ name }) => name));
