/**
 * The kinds of field a layout is made of. Everything is little-endian; offsets are written, never computed,
 * so that a declaration can be compared with its document line by line.
 */
import { isZero, toHex } from './bytes.ts';
import type { BitField } from './bit-field.ts';
import type { Fields, Layout, StructOf, ValuesOf, ViewOf } from './layout.ts';
import type { Plain } from './plain.ts';

export type FieldKind = 'u8' | 'u16' | 'u32' | 'u64' | 'i32' | 'i64' | 'bytes' | 'reserved' | 'nested' | 'array';

/**
 * One field. `T` is its decoded value, `V` what a live view gives, `In` what `encode` and a view's setter take.
 * The codec methods take the DataView and the field's own position in it.
 */
export interface Field<T = unknown, V = T, In = T> {
  readonly kind: FieldKind;
  readonly offset: number;
  readonly sizeBytes: number;
  readonly alignBytes: number;
  readonly doc: string;
  readonly bits?: BitField | undefined;
  /** The struct inside, of `nested` fields and of arrays of structs. */
  readonly layout?: Layout | undefined;
  /** The element, its own offset unused, and the number of elements, of `array` fields. */
  readonly element?: Field | undefined;
  readonly count?: number | undefined;
  get(data: DataView, at: number): T;
  set(data: DataView, at: number, value: In): void;
  live(data: DataView, at: number): V;
  /**
   * As data for the trace: bits by name, 64-bit integers as `0x` text whatever they are (JSON's numbers are doubles),
   * bytes in hexadecimal. undefined means "not worth showing": bytes that are all zero.
   */
  plain(value: T): Plain | undefined;
  /** Throws a RangeError where the value does not fit: a bug of the caller's. */
  check(value: In): void;
}

export interface ReservedField extends Field<Uint8Array> {
  readonly kind: 'reserved';
}

/** Live access to an array field. */
export interface ArrayView<V, In> {
  readonly length: number;
  get(index: number): V;
  set(index: number, value: In): void;
}

type NumberKind = 'u8' | 'u16' | 'u32' | 'i32';
type BigKind = 'u64' | 'i64';

export const u8 = numberField(
  'u8',
  1,
  (data, at) => data.getUint8(at),
  (data, at, value) => data.setUint8(at, value),
);
export const u16 = numberField(
  'u16',
  2,
  (data, at) => data.getUint16(at, true),
  (data, at, value) => data.setUint16(at, value, true),
);
export const u32 = numberField(
  'u32',
  4,
  (data, at) => data.getUint32(at, true),
  (data, at, value) => data.setUint32(at, value, true),
);
export const i32 = numberField(
  'i32',
  4,
  (data, at) => data.getInt32(at, true),
  (data, at, value) => data.setInt32(at, value, true),
);
export const u64 = bigField(
  'u64',
  (data, at) => data.getBigUint64(at, true),
  (data, at, value) => data.setBigUint64(at, value, true),
);
export const i64 = bigField(
  'i64',
  (data, at) => data.getBigInt64(at, true),
  (data, at, value) => data.setBigInt64(at, value, true),
);

/** A run of raw bytes: decoded to a copy, viewed in place. */
export function bytes(offset: number, lengthBytes: number, doc: string): Field<Uint8Array> {
  return {
    kind: 'bytes',
    offset,
    sizeBytes: lengthBytes,
    alignBytes: 1,
    doc,
    get: (data, at) => window(data, at, lengthBytes).slice(),
    set: (data, at, value) => window(data, at, lengthBytes).set(value),
    live: (data, at) => window(data, at, lengthBytes),
    plain: (value) => (isZero(value) ? undefined : toHex(value)),
    check(value) {
      if (value.length !== lengthBytes) throw new RangeError(`${value.length} bytes for a field of ${lengthBytes}`);
    },
  };
}

/** An area that must be zero. It has a name for the check that refuses it, but is no part of the decoded struct. */
export function reserved(offset: number, lengthBytes: number, doc = 'must be zero'): ReservedField {
  return { ...bytes(offset, lengthBytes, doc), kind: 'reserved' };
}

/** A struct inside a struct. */
export function nested<F extends Fields>(
  offset: number,
  layout: Layout<F>,
  doc: string,
): Field<StructOf<Layout<F>>, ViewOf<Layout<F>>, ValuesOf<Layout<F>>> {
  return {
    kind: 'nested',
    offset,
    sizeBytes: layout.sizeBytes,
    alignBytes: layout.alignBytes,
    doc,
    layout,
    get: (data, at) => layout.decode(window(data, at, layout.sizeBytes)),
    set: (data, at, value) => window(data, at, layout.sizeBytes).set(layout.encode(value)),
    live: (data, at) => layout.view(window(data, at, layout.sizeBytes)),
    plain: (value) => layout.plain(value),
    check() {},
  };
}

/**
 * `count` elements without gaps between them.
 * @param element a field such as `u64(0, '')` (its offset is not used), or a layout for an array of structs
 */
export function array<F extends Fields>(
  offset: number,
  count: number,
  element: Layout<F>,
  doc: string,
): Field<StructOf<Layout<F>>[], ArrayView<ViewOf<Layout<F>>, ValuesOf<Layout<F>>>, readonly ValuesOf<Layout<F>>[]>;
export function array<T, V, In>(
  offset: number,
  count: number,
  element: Field<T, V, In>,
  doc: string,
): Field<T[], ArrayView<V, In>, readonly In[]>;
export function array(
  offset: number,
  count: number,
  of: Field | Layout,
  doc: string,
): Field<unknown[], ArrayView<unknown, unknown>, readonly unknown[]> {
  const element: Field = 'get' in of ? of : nested(0, of, doc);
  const stride = element.sizeBytes;
  return {
    kind: 'array',
    offset,
    sizeBytes: stride * count,
    alignBytes: element.alignBytes,
    doc,
    bits: element.bits,
    layout: element.layout,
    element,
    count,
    get: (data, at) => Array.from({ length: count }, (_, index) => element.get(data, at + index * stride)),
    set(data, at, values) {
      values.forEach((value, index) => {
        element.set(data, at + index * stride, value);
      });
    },
    live: (data, at) => ({
      length: count,
      get: (index) => element.live(data, at + index * stride),
      set: (index, value) => element.set(data, at + index * stride, value),
    }),
    plain: (values) => values.map((value) => element.plain(value) ?? ''),
    check(values) {
      if (values.length > count) throw new RangeError(`${values.length} elements for an array of ${count}`);
      for (const value of values) element.check(value);
    },
  };
}

/** `0x...` from ten on, so that small counts read as counts and addresses as addresses. */
export function formatInteger(value: bigint | number): string {
  if (value < 0) return `-${formatInteger(-value)}`;
  return value < 10 ? value.toString() : `0x${value.toString(16)}`;
}

const hex = (value: bigint): string => (value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`);

function numberField(
  kind: NumberKind,
  sizeBytes: number,
  get: (data: DataView, at: number) => number,
  set: (data: DataView, at: number, value: number) => void,
) {
  const low = kind === 'i32' ? -(2 ** 31) : 0;
  const high = kind === 'i32' ? 2 ** 31 - 1 : 2 ** (8 * sizeBytes) - 1;
  return (offset: number, doc: string, bits?: BitField): Field<number> => ({
    kind,
    offset,
    sizeBytes,
    alignBytes: sizeBytes,
    doc,
    bits,
    get,
    set,
    live: get,
    plain: (value) => (bits === undefined ? value : bits.format(value)),
    check(value) {
      if (!Number.isInteger(value) || value < low || value > high) throw new RangeError(`${value} is not a ${kind}`);
    },
  });
}

function bigField(
  kind: BigKind,
  get: (data: DataView, at: number) => bigint,
  set: (data: DataView, at: number, value: bigint) => void,
) {
  const wrap = kind === 'i64' ? BigInt.asIntN : BigInt.asUintN;
  return (offset: number, doc: string, bits?: BitField): Field<bigint, bigint, bigint | number> => ({
    kind,
    offset,
    sizeBytes: 8,
    alignBytes: 8,
    doc,
    bits,
    get,
    set: (data, at, value) => set(data, at, typeof value === 'bigint' ? value : BigInt(value)),
    live: get,
    plain: (value) => (bits === undefined ? hex(value) : bits.format(value)),
    check(value) {
      const fits = typeof value === 'bigint' ? wrap(64, value) === value : Number.isSafeInteger(value);
      if (!fits || (kind === 'u64' && value < 0)) throw new RangeError(`${value} is not a ${kind}`);
    },
  });
}

function window(data: DataView, at: number, lengthBytes: number): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset + at, lengthBytes);
}
