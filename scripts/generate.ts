/**
 * Writes what is generated from tables: the C headers of src/abi, so that host and stub cannot disagree, and the parts
 * of docs/ that would otherwise grow old.
 * Usage: node scripts/generate.ts [--check]      --check writes nothing, names each stale file and exits with 1
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as sgx from '../src/abi/sgx-arch.ts';
import * as uapi from '../src/abi/sgx-uapi.ts';
import * as stub from '../src/abi/stub.ts';
import { generatedHeaders } from '../src/abi/traps.ts';
import { PageFaultError, Rflags, Vector } from '../src/abi/x86.ts';
import { Errno } from '../src/lib/errno.ts';
import type { IoctlTable } from '../src/lib/ioctl.ts';
import type { Layout } from '../src/lib/layout.ts';
import { compatibilityDocument } from './compatibility.ts';
import { fillIn } from './markdown.ts';
import { generationTables } from './generation-tables.ts';
import { injectTables } from './inject-tables.ts';
import { traceTables } from './trace-tables.ts';
import { uapiHeaders } from './uapi-headers.ts';
import { constantsOf, constantsOfBits, renderHeader, upperSnake, type Constant, type Section } from './c-header.ts';

const root = join(import.meta.dirname, '..');
const check = process.argv.includes('--check');
const stale: string[] = [];

const files = [
  { path: 'native/include/layout.h', text: layoutHeader() },
  ...generatedHeaders(),
  ...uapiHeaders(),
  filledIn('docs/trace.md', traceTables),
  filledIn('docs/inject.md', injectTables),
  filledIn('docs/generations.md', generationTables),
  { path: 'docs/compatibility.md', text: compatibilityDocument() },
];
for (const { path, text } of files) {
  const file = join(root, path);
  if (existsSync(file) && readFileSync(file, 'utf8') === text) continue;
  if (check) {
    stale.push(path);
    continue;
  }
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  console.log(`wrote ${path}`);
}
for (const path of stale) console.error(`${path} is stale: run "npm run generate"`);
if (stale.length > 0) process.exitCode = 1;

function filledIn(path: string, parts: Readonly<Record<string, string>>): { path: string; text: string } {
  return { path, text: fillIn(readFileSync(join(root, path), 'utf8'), parts) };
}

function layoutHeader(): string {
  const layouts = [...sgx.sgxLayouts, ...uapi.sgxUapiLayouts, ...Object.values<unknown>(stub).filter(isLayout)];
  return renderHeader(
    'VITRINE_LAYOUT_H',
    'src/abi',
    [...architecture(), ...kernelInterface(), ...stubContract()],
    layouts,
  );
}

function architecture(): Section[] {
  return [
    {
      title: 'ENCLU and ENCLV leaves',
      constants: [...constantsOf('ENCLU', sgx.Enclu), ...constantsOf('ENCLV', sgx.Enclv)],
    },
    { title: 'SGX codes', constants: constantsOf('SGX', sgx.SgxCode) },
    { title: 'Page types', constants: constantsOf('PAGE_TYPE', sgx.PageType) },
    {
      title: 'Bits of the structures',
      constants: [
        ...constantsOfBits('ATTRIBUTES', sgx.Attributes),
        ...constantsOfBits('MISCSELECT', sgx.MiscSelect),
        ...constantsOfBits('XFRM', sgx.Xfrm),
        ...constantsOfBits('SECINFO_FLAGS', sgx.SecInfoFlags),
        ...constantsOfBits('TCS_FLAGS', sgx.TcsFlags),
        ...constantsOf('TCS_STATE', sgx.TcsState),
        ...constantsOfBits('EXITINFO', sgx.ExitInfo),
        ...constantsOf('EXITINFO_TYPE', sgx.ExitType),
      ],
    },
    {
      title: 'Exceptions and flags',
      constants: [
        ...constantsOf('VECTOR', Vector),
        ...constantsOfBits('PF_ERROR', PageFaultError),
        ...constantsOfBits('RFLAGS', Rflags),
      ],
    },
  ];
}

function kernelInterface(): Section[] {
  const tables: readonly IoctlTable[] = [uapi.enclaveIoctls, uapi.vepcIoctls];
  const used = new Set(tables.flatMap((table) => table.entries.flatMap((entry) => entry.errors)));
  return [
    {
      title: 'Ioctls',
      constants: [
        { name: 'SGX_MAGIC', value: uapi.SGX_MAGIC },
        ...tables.flatMap((table) => constantsOf('', table.numbers)),
        ...constantsOfBits('SGX', uapi.AddPagesFlags),
      ],
    },
    { title: 'Errors that the ioctls give', constants: [...used].map((name) => ({ name, value: Errno[name] })) },
  ];
}

/** Everything that src/abi/stub.ts exports: plain numbers by name, const objects as NAME_KEY. */
function stubContract(): Section[] {
  const constants = Object.entries(stub).flatMap(([name, value]: [string, unknown]): Constant[] => {
    if (typeof value === 'number' || typeof value === 'bigint') return [{ name, value }];
    if (isLayout(value) || typeof value !== 'object') return [];
    return constantsOf(upperSnake(name), value as Record<string, number>);
  });
  return [{ title: 'Host and stub', constants }];
}

function isLayout(value: unknown): value is Layout {
  return typeof value === 'object' && value !== null && 'declared' in value && 'sizeBytes' in value;
}
