import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { array, bitField, bytes, i32, i64, layout, nested, reserved, snakeCase, u16, u32, u64, u8 } from './layout.ts';
import { plainText } from './plain.ts';
import type { StructOf } from './layout.ts';

const source = { source: 'test' };
const Flags = bitField({ R: 0, W: 1, PT: [8, 15, { SECS: 0, TCS: 1, REG: 2 }], TOP: 63 });
const Inner = layout('INNER', 16, source, {
  flags: u64(0, 'flags', Flags),
  low: i32(8, 'signed'),
  gap: reserved(12, 4),
});
const Outer = layout('OUTER', 80, source, {
  byte: u8(0, 'a byte'),
  pad: reserved(1, 1),
  word: u16(2, 'a word'),
  dword: u32(4, 'a double word'),
  big: i64(8, 'signed'),
  inner: nested(16, Inner, 'a struct'),
  list: array(32, 3, u64(0, 'element'), 'numbers'),
  pairs: array(56, 1, Inner, 'structs'),
  raw: bytes(72, 8, 'bytes'),
});

const u64s = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const int32s = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const inners = fc.record({ flags: u64s, low: int32s });
const outers: fc.Arbitrary<StructOf<typeof Outer>> = fc.record({
  byte: fc.integer({ min: 0, max: 255 }),
  word: fc.integer({ min: 0, max: 65535 }),
  dword: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  big: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  inner: inners,
  list: fc.array(u64s, { minLength: 3, maxLength: 3 }),
  pairs: fc.array(inners, { minLength: 1, maxLength: 1 }),
  raw: fc.uint8Array({ minLength: 8, maxLength: 8 }),
});

describe('codec', () => {
  test('decode undoes encode, at any offset', () => {
    fc.assert(
      fc.property(outers, fc.nat(9), (values, offset) => {
        const buffer = new Uint8Array(offset + Outer.sizeBytes).fill(0xee);
        buffer.set(Outer.encode(values), offset);
        expect(Outer.decode(buffer, offset)).toEqual(values);
      }),
    );
  });

  test('encode undoes decode when reserved areas are zero', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 80, maxLength: 80 }), (buffer) => {
        for (const area of [1, 28, 29, 30, 31, 68, 69, 70, 71]) buffer[area] = 0;
        expect(Outer.encode(Outer.decode(buffer))).toEqual(buffer);
      }),
    );
  });

  test('missing fields are zero, at every depth', () => {
    expect(Outer.encode({})).toEqual(new Uint8Array(80));
    expect(Outer.decode(Outer.encode({ inner: { low: -1 } })).inner).toEqual({ flags: 0n, low: -1 });
  });

  test('decoded bytes are a copy', () => {
    const buffer = new Uint8Array(80);
    const decoded = Outer.decode(buffer);
    buffer.fill(1);
    expect(decoded.raw).toEqual(new Uint8Array(8));
  });

  test.each([
    ['a number too large', { word: 65536 }, /OUTER\.word: 65536 is not a u16/],
    ['a fraction', { byte: 0.5 }, /OUTER\.byte/],
    ['a bigint too large', { list: [2n ** 64n] }, /OUTER\.list/],
    ['too many elements', { list: [0n, 0n, 0n, 0n] }, /4 elements for an array of 3/],
    ['bytes of another length', { raw: new Uint8Array(7) }, /7 bytes for a field of 8/],
  ])('encode refuses %s', (_what, values, message) => {
    expect(() => Outer.encode(values)).toThrow(message);
  });

  test('decode refuses bytes that are too short', () => {
    expect(() => Outer.decode(new Uint8Array(100), 21)).toThrow('OUTER needs 80 bytes at 21');
  });
});

describe('view', () => {
  test('what is set is what decode sees', () => {
    fc.assert(
      fc.property(outers, fc.nat(9), (values, offset) => {
        const buffer = new Uint8Array(offset + Outer.sizeBytes);
        const view = Outer.view(buffer, offset);
        const { inner, list, pairs, raw, ...scalars } = values;
        Object.assign(view, scalars);
        Object.assign(view.inner, inner);
        list.forEach((value, index) => view.list.set(index, value));
        Object.assign(view.pairs.get(0), pairs[0]);
        view.raw.set(raw);
        expect(Outer.decode(buffer, offset)).toEqual(values);
        expect([view.byte, view.word, view.dword, view.big]).toEqual(Object.values(scalars));
      }),
    );
  });

  test('setters wrap as a register does', () => {
    const view = Outer.view(new Uint8Array(80));
    view.word = 0x12345;
    view.inner.flags = -1n;
    expect([view.word, view.inner.flags]).toEqual([0x2345, 2n ** 64n - 1n]);
  });
});

describe('reserved areas', () => {
  test('the first byte that is not zero is named', () => {
    const buffer = new Uint8Array(90);
    expect(Inner.firstNonzeroReserved(buffer, 40)).toBeUndefined();
    buffer[40 + 14] = 1;
    expect(Inner.firstNonzeroReserved(buffer, 40)).toEqual({ name: 'gap', offset: 14 });
    expect([Inner.reservedAreZero(buffer, 40), Inner.reservedAreZero(buffer)]).toEqual([false, true]);
  });
});

describe('declaration', () => {
  test.each([
    ['an overlap', { a: u32(0, ''), b: u32(2, '') }, 'S.b at 2 overlaps a, which ends at 4'],
    ['a gap', { a: u16(0, ''), b: u32(4, '') }, 'S.b at 4 leaves a gap after a, which ends at 2'],
    ['a gap at the start', { a: u32(4, '') }, 'S.a at 4 leaves a gap after the start, which ends at 0'],
    ['fields past the end', { a: u64(0, ''), b: u8(8, '') }, 'S has 8 bytes, its fields end at 9'],
    ['a missing tail', { a: u32(0, '') }, 'S has 8 bytes, its fields end at 4'],
  ])('%s is an error at load', (_what, fields, message) => {
    expect(() => layout('S', 8, source, fields)).toThrow(message);
  });

  test('fields are listed by offset, whatever the order of declaration', () => {
    const { fields } = layout('S', 8, source, { b: u32(4, ''), a: u32(0, '') });
    expect(fields.map(({ name, offset }) => [name, offset])).toEqual([
      ['a', 0],
      ['b', 4],
    ]);
  });

  test('the alignment is that of the largest field unless declared', () => {
    expect([Outer.alignBytes, layout('S', 1, { ...source, align: 64 }, { a: u8(0, '') }).alignBytes]).toEqual([8, 64]);
  });

  test.each([
    ['SECS', 'secs'],
    ['sgx_enclave_run', 'sgx_enclave_run'],
    ['srcPage', 'src_page'],
    ['VmaRecord', 'vma_record'],
  ])('%s in C is %s', (name, expected) => {
    expect(snakeCase(name)).toBe(expected);
  });
});

describe('data for the trace', () => {
  const values = { byte: 9, word: 10, dword: 0x10000, big: -16n, inner: { flags: 0x203n, low: -3 }, list: [1n, 0xffn] };
  const outer = Outer.plain(Outer.decode(Outer.encode(values)));

  test('bits by name, 64-bit integers always as text, zero byte areas left out', () => {
    expect(outer).toMatchObject({
      byte: 9,
      word: 10,
      dword: 0x10000,
      big: '-0x10',
      inner: { flags: 'R|W|PT=REG', low: -3 },
      list: ['0x1', '0xff', '0x0'],
    });
    expect(outer).not.toHaveProperty('raw');
  });

  test('as text: small counts in decimal, addresses in hexadecimal', () => {
    expect(plainText(outer)).toContain('byte=9 word=0xa dword=0x10000 big=-0x10 inner={flags=R|W|PT=REG low=-3}');
    expect(plainText({ list: [1, 255] })).toBe('list=[1, 0xff]');
  });

  test('as text: short byte fields in full, long ones cut', () => {
    const S = layout('S', 72, source, { short: bytes(0, 32, ''), long: bytes(32, 40, '') });
    const data = S.plain({ short: new Uint8Array(32).fill(0xab), long: new Uint8Array(40).fill(0xcd) });
    expect(data['long']).toBe('cd'.repeat(40));
    expect(plainText(data)).toBe(`short=${'ab'.repeat(32)} long=${'cd'.repeat(8)}...(40 bytes)`);
  });
});

describe('bit fields', () => {
  test.each([
    [0n, 'PT=SECS'],
    [3, 'R|W|PT=SECS'],
    [0x300n, 'PT=3'],
    [0x8000_0000_0001_0100n, 'PT=TCS|TOP|0x10000'],
  ])('%s reads %s', (value, text) => {
    expect(Flags.format(value)).toBe(text);
  });

  test('nothing set and no name for zero reads 0', () => {
    expect(bitField({ A: 3 }).format(0)).toBe('0');
  });

  test('masks and parts', () => {
    expect(Flags.mask).toEqual({ R: 1n, W: 2n, PT: 0xff00n, TOP: 2n ** 63n });
    expect(Flags.bit.PT).toBe(0xff00);
    expect([Flags.extract(0x203n, 'PT'), Flags.extract(0x203, 'W'), Flags.extract(1n, 'W')]).toEqual([2, 1, 0]);
    expect(Flags.known).toBe(0x8000_0000_0000_ff03n);
  });
});
