import { describe, expect, it } from 'vitest';
import { behaviours } from '../../scripts/compatibility-rows.ts';
import { brokenClaims, compatibilityDocument, modelTexts } from '../../scripts/compatibility.ts';
import { fillIn, table } from '../../scripts/markdown.ts';

const behaviour = 'something';
const here = 'test/scripts/compatibility.test.ts';
const other = 'src/lib/interval.test.ts';

describe('docs/compatibility.md', () => {
  it('has every leaf, ioctl and row, each with a state', () => {
    const document = compatibilityDocument();
    const lines = document.split('\n').filter((line) => /^\| .*\*\*(done|different|not yet)\*\*/.test(line));
    expect(lines.length).toBeGreaterThan(31 + 9 + behaviours.length);
    for (const name of ['EREPORT', 'EWB', 'SGX_IOC_ENCLAVE_INIT', 'SGX_IOC_VEPC_REMOVE_ALL']) {
      expect(lines.filter((line) => line.includes(name)).length).toBeGreaterThan(0);
    }
    expect(behaviours).toHaveLength(45);
  });

  it.each([
    ['no test and no reason', { behaviour }, 'is done by no test'],
    ['a file that is not there', { behaviour, tests: [['test/no-such.test.ts', 'title']] as const }, 'test/no-such'],
    ['a title that is not there', { behaviour, tests: [[other, 'no such title']] as const }, 'no such title'],
    ['a word that is no title', { behaviour, tests: [[other, 'describe(']] as const }, 'claims'],
  ])('takes no row that claims %s', (_what, row, complaint) => {
    expect(brokenClaims(row).join()).toContain(complaint);
  });

  it('takes a row with a test that is there, or with a reason', () => {
    expect(brokenClaims({ behaviour, tests: [[here, 'takes a row with a test that is there']] })).toEqual([]);
    expect(brokenClaims({ behaviour, notYet: 'because' })).toEqual([]);
  });
});

describe('Model: comments', () => {
  it.each([
    ['/** Model: one line. */', ['one line.']],
    ['/**\n * What it is.\n * Model: two\n * lines.\n */\ncode();', ['two lines.']],
    ['/**\n * Model: to the end of\n * a paragraph.\n *\n * Not this.\n */', ['to the end of a paragraph.']],
    ['/**\n * Model: not what is tagged.\n * Spec: SDM\n */', ['not what is tagged.']],
    ['  // Model: of a line\n  // and the next.\n  code();', ['of a line and the next.']],
    ['/* A symbolic link is not seen (Model: nothing is at its end).\n */', ['nothing is at its end']],
    ['ProcessorModel: no tag', []],
  ])('%j', (source, texts) => {
    expect(modelTexts(source)).toEqual(texts);
  });
});

describe('parts of a document', () => {
  const document = 'a\n<!-- generated: x -->\nold\n<!-- end -->\nb\n';

  it('are replaced, and the rest is left alone', () => {
    expect(fillIn(document, { x: 'new' })).toBe('a\n<!-- generated: x -->\nnew\n<!-- end -->\nb\n');
    expect(fillIn(fillIn(document, { x: 'new' }), { x: 'new' })).toBe(fillIn(document, { x: 'new' }));
  });

  it('must all be known and all have a place', () => {
    expect(() => fillIn(document, {})).toThrow('no part x');
    expect(() => fillIn(document, { x: '', y: '' })).toThrow('no place for y');
  });

  it('tables keep bars and line breaks out of their cells', () => {
    expect(table(['h'], [['a|b\nc']])).toBe('| h |\n| --- |\n| a\\|b c |');
  });
});
