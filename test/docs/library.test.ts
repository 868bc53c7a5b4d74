// The programs of docs/library.md and examples/library: they are typed, they run, and they print what is said of them.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = path.join(import.meta.dirname, '..', '..');
/** Inside the clone, so that `vitrine` is the clone itself. */
const work = path.join(root, '.cache', `library-${process.pid}`);
const examples = path.join(root, 'examples', 'library');

interface Program {
  readonly title: string;
  readonly code: string;
  readonly prints: string;
}

const page = readFileSync(path.join(root, 'docs', 'library.md'), 'utf8');
const programs: readonly Program[] = [...page.matchAll(/^```ts\n(.*?)^```\n\n```text\n(.*?)^```$/gms)].map((match) => ({
  title: page
    .slice(0, match.index)
    .match(/^## .*$/gm)!
    .at(-1)!
    .slice(3),
  code: match[1]!,
  prints: match[2]!,
}));

function run(file: string): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--conditions=vitrine-source', file], {
    cwd: root,
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([0, '']);
  return stdout;
}

const fileOf = (index: number): string => path.join(work, `program-${index}.ts`);

beforeAll(() => {
  mkdirSync(work, { recursive: true });
  programs.forEach(({ code }, index) => writeFileSync(fileOf(index), code));
});

afterAll(() => rmSync(work, { recursive: true, force: true }));

describe('docs/library.md', () => {
  it('has a text for each program, and each is found', () => {
    expect(programs.length).toBe(page.match(/^```ts$/gm)!.length);
  });

  it('is right to the compiler', () => {
    const config = path.join(work, 'tsconfig.json');
    writeFileSync(config, JSON.stringify({ extends: '../../tsconfig.json', include: ['*.ts'] }));
    const tsc = path.join(root, 'node_modules', '.bin', 'tsc');
    const { stdout } = spawnSync(process.execPath, [tsc, '-p', config], { encoding: 'utf8' });
    expect(stdout).toBe('');
  });

  it.each(programs.map(({ title, prints }, index) => [title, index, prints] as const))('%s', (_, index, prints) => {
    expect(run(fileOf(index))).toBe(prints);
  });
});

describe('examples/library', () => {
  it.each(readdirSync(examples).filter((name) => name.endsWith('.ts')))('%s prints what its .txt says', (name) => {
    const file = path.join(examples, name);
    expect(run(file)).toBe(readFileSync(file.replace(/\.ts$/, '.txt'), 'utf8'));
  });
});
