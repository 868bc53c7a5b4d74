import { describe, expect, test } from 'vitest';
import { ioctlNumber, ioctlTable } from './ioctl.ts';
import { layout, u64 } from './layout.ts';

const Arg = layout('arg', 8, { source: 'test' }, { value: u64(0, '') });
const table = ioctlTable(0xa4, [
  { name: 'IN', nr: 0, dir: 'in', arg: Arg, errors: ['EINVAL'], doc: '' },
  { name: 'NONE', nr: 4, dir: 'none', arg: undefined, errors: [], doc: '' },
]);

test.each([
  ['_IO(0xa4, 4)', ioctlNumber('none', 0xa4, 4, 0), 0x0000_a404],
  ['_IOW(0xa4, 0, 8 bytes)', ioctlNumber('in', 0xa4, 0, 8), 0x4008_a400],
  ['_IOR(0xaa, 1, 16 bytes)', ioctlNumber('out', 0xaa, 1, 16), 0x8010_aa01],
  ['_IOWR(0xa4, 1, 48 bytes)', ioctlNumber('inout', 0xa4, 1, 48), 0xc030_a401],
])('%s', (_macro, number, expected) => {
  expect(number).toBe(expected);
});

describe('a table', () => {
  test('finds an entry by its exact number, sign extension aside', () => {
    expect(table.find(0x4008_a400)?.name).toBe('IN');
    expect(table.find(table.numbers.NONE)?.sizeBytes).toBe(0);
    expect(table.find(0x4010_a400)).toBeUndefined();
    const inout = ioctlTable(0xa4, [{ name: 'BOTH', nr: 1, dir: 'inout', arg: Arg, errors: [], doc: '' }]);
    expect(inout.find(0xc008_a401 | 0)?.name).toBe('BOTH');
  });

  test('names what it knows and takes apart what it does not', () => {
    expect(table.describe(0x4008_a400)).toBe('IN');
    expect(table.describe(0xc030_a401)).toBe('unknown ioctl 0xc030a401 (inout, magic 0xa4, nr 1, 48 bytes)');
  });
});
