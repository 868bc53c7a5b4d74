/** The parts of docs/generations.md that are made from src/abi/sgx-uapi. */
import { sgxGenerations, sgxUapis } from '../src/abi/sgx-uapi/generations.ts';
import type { SgxGeneration } from '../src/abi/sgx-uapi/generation.ts';
import type { IoctlTable } from '../src/lib/ioctl.ts';
import { table } from './markdown.ts';

export const generationTables: Readonly<Record<string, string>> = { generations: overview(), ioctls: ioctls() };

function overview(): string {
  const rows = sgxUapis.map((name) => {
    const { summary, origin, nodes }: SgxGeneration = sgxGenerations[name];
    return [`\`${name}\``, summary, nodes.map(({ path }) => `\`${path}\``).join(', '), origin];
  });
  return table(['generation', 'in a line', 'descriptors of', 'origin'], rows);
}

function ioctls(): string {
  const rows = sgxUapis.flatMap((name) => {
    const { nodes }: SgxGeneration = sgxGenerations[name];
    return nodes.flatMap(({ path, ioctls: entries }) => ioctlRows(name, path, entries));
  });
  return table(['generation', 'on', 'ioctl', 'number', 'bytes', 'also called'], rows);
}

function ioctlRows(generation: string, path: string, { entries }: IoctlTable): string[][] {
  return entries.map(({ name, number, sizeBytes, aliases = [] }) => [
    generation,
    path.replace('anon_inode:sgx-enclave', "the enclave's descriptor"),
    `\`${name}\``,
    `0x${number.toString(16).toUpperCase().padStart(8, '0')}`,
    `${sizeBytes}`,
    aliases.map((alias) => `\`${alias.name}\` (${alias.origin})`).join('; '),
  ]);
}
