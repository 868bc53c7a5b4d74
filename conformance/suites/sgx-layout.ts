// Holds our table of sizes, offsets and numbers against the kernel's own headers, by asking a C compiler.

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Suite, SuiteContext, SuiteResult } from '../suite.ts';

interface AbiTable {
  readonly structs: Record<
    string,
    { readonly size: number; readonly fields: Record<string, readonly [offset: number, size: number]> }
  >;
  readonly ioctls: Record<string, string>;
  readonly constants: Record<string, number | string>;
}

const HEADERS = ['arch/x86/include/uapi/asm/sgx.h', 'arch/x86/include/asm/sgx.h'];
const TABLE = new URL('../../test/vectors/sgx-abi.json', import.meta.url);

/** Structures of the headers that are no interface to anybody, with the reason. */
const NOT_INTERFACE: readonly string[] = [];

/** The table flattened to C expressions and the value we claim for each. */
function claims(table: AbiTable): [expression: string, value: bigint][] {
  const structs = Object.entries(table.structs).flatMap(([name, { size, fields }]) => [
    [`sizeof(struct ${name})`, BigInt(size)] as [string, bigint],
    ...Object.entries(fields).flatMap(([field, [offset, length]]): [string, bigint][] => [
      [`offsetof(struct ${name}, ${field})`, BigInt(offset)],
      [`sizeof(((struct ${name} *)0)->${field})`, BigInt(length)],
    ]),
  ]);
  const numbers = Object.entries({ ...table.ioctls, ...table.constants });
  return [...structs, ...numbers.map(([name, value]): [string, bigint] => [name, BigInt(value)])];
}

/** Structures and ioctls that the headers have and our table lacks. */
function missing(table: AbiTable, headers: string): string[] {
  const structs = [...headers.matchAll(/^struct (\w+) \{/gm)].map((match) => match[1] ?? '');
  const ioctls = [...headers.matchAll(/^#define (SGX_IOC_\w+)/gm)].map((match) => match[1] ?? '');
  return [
    ...structs
      .filter((name) => !(name in table.structs) && !NOT_INTERFACE.includes(name))
      .map((name) => `struct ${name}`),
    ...ioctls.filter((name) => !(name in table.ioctls)),
  ];
}

function askCompiler(context: SuiteContext, expressions: readonly string[]): bigint[] | string {
  const source = path.join(context.workDir, 'sgx-layout.c');
  const binary = path.join(context.workDir, 'sgx-layout');
  const prints = expressions.map((expression) => `  printf("%llu\\n", (unsigned long long)(${expression}));`);
  const includes = [
    '<stddef.h>',
    '<stdio.h>',
    ...HEADERS.map((header) => `"${path.join(context.kernel.root, header)}"`),
  ];
  const text = [...includes.map((name) => `#include ${name}`), 'int main(void) {', ...prints, '  return 0;', '}', ''];
  writeFileSync(source, text.join('\n'));
  const include = [
    '-I',
    path.join(context.kernel.root, 'tools/include'),
    '-I',
    path.join(context.kernel.root, 'arch/x86/include'),
  ];
  const compiled = spawnSync('gcc', ['-w', ...include, '-o', binary, source], { encoding: 'utf8' });
  if (compiled.status !== 0) return compiled.stderr;
  return spawnSync(binary, { encoding: 'utf8' }).stdout.trim().split('\n').map(BigInt);
}

export const sgxLayout: Suite = {
  name: 'sgx-layout',
  summary: "our structures, ioctl numbers and constants against the kernel's headers",
  run(context): Promise<SuiteResult> {
    const table = JSON.parse(readFileSync(TABLE, 'utf8')) as AbiTable;
    const claimed = claims(table);
    const values = askCompiler(
      context,
      claimed.map(([expression]) => expression),
    );
    const total = claimed.length;
    if (typeof values === 'string') {
      return Promise.resolve({
        passed: 0,
        total,
        skipped: 0,
        problems: [`the comparison does not compile:\n${values}`],
      });
    }
    const wrong = claimed.flatMap(([expression, ours], index) =>
      values[index] === ours ? [] : [`${expression} is ${values[index]} for the kernel and ${ours} for us`],
    );
    const headers = HEADERS.map((header) => readFileSync(path.join(context.kernel.root, header), 'utf8')).join('\n');
    const absent = missing(table, headers).map((name) => `our table lacks ${name}`);
    return Promise.resolve({ passed: total - wrong.length, total, skipped: 0, problems: [...wrong, ...absent] });
  },
};
