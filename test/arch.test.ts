// The shape of the source tree, held by reading its import lines: which folder may import which, and what stays out.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const src = path.join(import.meta.dirname, '..', 'src');

/** Each folder of src/ with the folders it may import besides itself; the order is docs/design.md's. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  lib: [],
  abi: ['lib'],
  formats: ['lib', 'abi'],
  trace: ['lib', 'abi'],
  processor: ['lib', 'abi', 'trace'],
  nitro: ['lib', 'abi', 'formats', 'trace'],
  kernel: ['lib', 'abi', 'processor', 'trace'],
  devices: ['lib', 'abi', 'processor', 'kernel', 'nitro', 'trace'],
  machine: ['lib', 'abi', 'processor', 'kernel', 'nitro', 'devices', 'trace'],
  virtual: ['lib', 'abi', 'formats', 'processor', 'kernel', 'nitro', 'devices', 'machine', 'trace'],
  attach: ['lib', 'abi', 'processor', 'kernel', 'nitro', 'devices', 'machine', 'trace'],
  server: ['lib', 'abi', 'processor', 'kernel', 'nitro', 'devices', 'machine', 'attach', 'formats', 'trace'],
  cli: ['lib', 'abi', 'processor', 'kernel', 'nitro', 'devices', 'machine', 'attach', 'server', 'formats', 'trace'],
};

/** Folders that are pure models: they publish events but never know who stores them, and do no I/O. */
const PURE = ['lib', 'abi', 'processor', 'kernel', 'formats', 'virtual'];
const PURE_NODE_MODULES = ['node:crypto', 'node:diagnostics_channel', 'node:zlib'];
const MODELS = ['processor', 'kernel', 'nitro', 'devices', 'machine', 'attach', 'virtual'];
/** The one file of src/trace that models may import: event types and channels, no store. */
const TRACE_FOR_MODELS = 'trace/events.ts';

interface SourceFile {
  /** Relative to src/, e.g. `kernel/vma.ts`. */
  readonly name: string;
  readonly folder: string;
  readonly text: string;
  readonly imports: readonly string[];
}

function importsOf(text: string): string[] {
  const statements = text.matchAll(
    /^\s*(?:import|export)\b[^;'"]*?from\s*'([^']+)'|^\s*import\s*'([^']+)'|\bimport\(\s*'([^']+)'/gm,
  );
  return [...statements].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
}

const files: readonly SourceFile[] = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => {
    const text = readFileSync(path.join(src, name), 'utf8');
    return { name, folder: name.includes('/') ? name.slice(0, name.indexOf('/')) : '', text, imports: importsOf(text) };
  });

const isTest = (file: SourceFile): boolean => file.name.endsWith('.test.ts');
const shipped = files.filter((file) => !isTest(file));

/** The files of ours that `file` imports, relative to src/; imports that leave src/ start with `..`. */
function ownImports(file: SourceFile): string[] {
  return file.imports
    .filter((target) => target.startsWith('.'))
    .map((target) => path.normalize(path.join(path.dirname(file.name), target)));
}

function offences(among: readonly SourceFile[], offend: (file: SourceFile) => readonly string[]): string[] {
  return among.flatMap((file) => offend(file).map((target) => `${file.name}: ${target}`));
}

describe('the layers of src', () => {
  it('has only folders that the import rule knows', () => {
    const folders = new Set(files.map((file) => file.folder).filter((folder) => folder !== ''));
    expect([...folders].filter((folder) => !(folder in MAY_IMPORT))).toEqual([]);
  });

  it('imports downwards only', () => {
    const inFolders = shipped.filter((file) => file.folder !== '');
    const found = offences(inFolders, (file) => {
      const allowed = [file.folder, ...(MAY_IMPORT[file.folder] ?? [])];
      return ownImports(file).filter((target) => !allowed.some((folder) => target.startsWith(`${folder}/`)));
    });
    expect(found).toEqual([]);
  });

  it('lets models publish events but never import what stores them', () => {
    const models = shipped.filter((file) => MODELS.includes(file.folder));
    const found = offences(models, (file) =>
      ownImports(file).filter((target) => target.startsWith('trace/') && target !== TRACE_FOR_MODELS),
    );
    expect(found).toEqual([]);
  });

  it('names relative imports with their extension, so that Node runs the sources as they are', () => {
    const found = offences(files, (file) =>
      file.imports.filter((target) => target.startsWith('.') && !/\.(ts|json)$/.test(target)),
    );
    expect(found).toEqual([]);
  });
});

describe('what stays out', () => {
  it('keeps the pure folders free of input and output', () => {
    const pure = shipped.filter((file) => PURE.includes(file.folder));
    const found = offences(pure, (file) =>
      file.imports.filter((target) => target.startsWith('node:') && !PURE_NODE_MODULES.includes(target)),
    );
    expect(found).toEqual([]);
  });

  it('keeps clocks and randomness injected in the models', () => {
    const models = shipped.filter((file) => ['processor', 'kernel', 'virtual'].includes(file.folder));
    const found = offences(
      models,
      (file) => file.text.match(/\b(Date\.now|performance\.now|Math\.random|randomBytes|randomFillSync)\b/g) ?? [],
    );
    expect(found).toEqual([]);
  });

  it('keeps koffi in attach/linux', () => {
    const found = offences(files, (file) =>
      file.name.startsWith('attach/linux/') ? [] : file.imports.filter((target) => /^koffi($|\/)/.test(target)),
    );
    expect(found).toEqual([]);
  });

  it('uses only syntax that type stripping can erase', () => {
    const found = offences(
      files,
      (file) => file.text.match(/^\s*(export\s+)?(declare\s+)?(const\s+)?(enum|namespace)\s+\w+/gm) ?? [],
    );
    expect(found).toEqual([]);
  });

  it('has no file above 400 lines', () => {
    const long = files.filter((file) => file.text.split('\n').length > 400);
    expect(long.map((file) => file.name)).toEqual([]);
  });
});
