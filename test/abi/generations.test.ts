/** Numbers, sizes and places of the generations: our tables, the committed ones, and what gcc makes of the headers. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { sgxNodes, type SgxGeneration } from '../../src/abi/sgx-uapi/generation.ts';
import {
  generationsWithCommand,
  generationsWithMapping,
  generationsWithNode,
  sgxGenerations,
  sgxUapis,
  type SgxUapi,
} from '../../src/abi/sgx-uapi/generations.ts';
import { SgxInfo } from '../../src/abi/sgx-uapi/proposal-2018.ts';
import type { Ioctl } from '../../src/lib/ioctl.ts';
import type { Layout } from '../../src/lib/layout.ts';

interface Vector {
  readonly number: string;
  readonly sizeBytes: number;
  /** By the header's spelling. */
  readonly fields: Readonly<Record<string, readonly [offset: number, sizeBytes: number]>>;
}

const root = path.join(import.meta.dirname, '..', '..');
const vectors = JSON.parse(readFileSync(new URL('../vectors/sgx-generations.json', import.meta.url), 'utf8')) as Record<
  SgxUapi,
  Record<string, Vector>
>;

const nodesOf = (uapi: SgxUapi): SgxGeneration['nodes'] => sgxGenerations[uapi].nodes;
const ioctlsOf = (uapi: SgxUapi): readonly Ioctl[] => nodesOf(uapi).flatMap(({ ioctls }) => ioctls.entries);
const argumentOf = ({ name, arg }: Ioctl): Layout | undefined => (name === 'SGX_GET_INFO' ? SgxInfo : arg);
const places = (layout: Layout | undefined): Vector['fields'] =>
  Object.fromEntries(
    (layout?.fields ?? [])
      .filter(({ kind }) => kind !== 'reserved')
      .map(({ name, offset, sizeBytes }) => [layout!.kernel?.fields[name] ?? name, [offset, sizeBytes]]),
  );

describe.each(sgxUapis)('%s', (uapi) => {
  it('is as pinned', () => {
    const ours = Object.fromEntries(
      ioctlsOf(uapi).map((entry): [string, Vector] => [
        entry.name,
        {
          number: `0x${entry.number.toString(16).padStart(8, '0')}`,
          sizeBytes: argumentOf(entry)?.sizeBytes ?? 0,
          fields: places(argumentOf(entry)),
        },
      ]),
    );
    expect(ours).toEqual(vectors[uapi]);
  });

  it('no number is taken twice on a descriptor, and every error and alias stands once', () => {
    for (const { ioctls } of nodesOf(uapi)) {
      const numbers = ioctls.entries.map(({ number }) => number);
      expect(new Set(numbers).size).toBe(numbers.length);
      for (const { errors, aliases = [] } of ioctls.entries) {
        expect(new Set<string>(errors).size).toBe(errors.length);
        expect(new Set(aliases.map(({ name }) => name)).size).toBe(aliases.length);
      }
    }
  });

  it('has nodes that the stub knows', () => {
    const known: readonly string[] = sgxNodes.map((node) => node.path);
    for (const node of nodesOf(uapi)) expect(known).toContain(node.path);
  });
});

it.each(sgxUapis.filter((uapi) => uapi !== 'mainline'))('the header of %s, as gcc has it, is the table', (uapi) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-uapi-'));
  try {
    const pinned = Object.entries(vectors[uapi]).filter(
      ([name]) => uapi !== 'rfc-2021' || name.startsWith('SGX_IOC_PAGE_'),
    );
    const lines = pinned.map(([name]) => `printf("${name} 0x%08x\\n", (unsigned)${name});`);
    const source = `#include <stdio.h>\n#include "${uapi}.h"\nint main(void) { ${lines.join('\n')} return 0; }\n`;
    const program = path.join(folder, 'print');
    writeFileSync(`${program}.c`, source);
    const headers = path.join(root, 'examples', 'generations', 'uapi');
    const made = spawnSync('gcc', ['-Wall', '-Werror', `-I${headers}`, '-o', program, `${program}.c`], {
      encoding: 'utf8',
    });
    expect(made.stderr).toBe('');
    const { stdout } = spawnSync(program, { encoding: 'utf8' });
    expect(stdout.trimEnd().split('\n')).toEqual(pinned.map(([name, { number }]) => `${name} ${number}`));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it('which generation a node, a command and a mapping belong to', () => {
  expect(generationsWithNode('/dev/sgx')).toEqual(['proposal-2018', 'draft-2018', 'v17-2018']);
  expect(generationsWithMapping('/dev/sgx')).toEqual(['draft-2018', 'v17-2018']);
  expect(generationsWithCommand('/dev/sgx', 0x4022_a401)).toEqual({
    names: ['draft-2018'],
    ioctl: 'SGX_IOC_ENCLAVE_ADD_PAGE',
  });
  expect(generationsWithCommand('/dev/sgx', 0x1234)).toEqual({ names: [], ioctl: undefined });
});
