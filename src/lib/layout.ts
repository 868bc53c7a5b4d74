/**
 * Structures declared once, as values. From one `layout(...)` come the codec, live views, the reserved-area check,
 * data for the trace, the C header and the comparison with the kernel's headers.
 *
 * @example
 * export const SecInfo = layout('SECINFO', 64, { source: 'SDM "Security Information (SECINFO)"', align: 64 }, {
 *   flags: u64(0, 'access rights and page type', SecInfoFlags),
 *   reserved: reserved(8, 56),
 * });
 * type SecInfo = StructOf<typeof SecInfo>; // { flags: bigint }
 */
import type { Field } from './fields.ts';
import type { Plain, PlainRecord } from './plain.ts';

export { bitField, type BitField } from './bit-field.ts';
export { array, bytes, i32, i64, nested, reserved, u16, u32, u64, u8, formatInteger, type Field } from './fields.ts';

export type Fields = Readonly<Record<string, Field>>;

type Visible<F extends Fields> = { [K in keyof F as F[K] extends { kind: 'reserved' } ? never : K]: F[K] };
type FieldsOf<L> = L extends Layout<infer F> ? Visible<F> : never;

/** The decoded struct: numbers up to 32 bits, bigints for 64, byte arrays; reserved areas left out. */
export type StructOf<L extends Layout> = {
  -readonly [K in keyof FieldsOf<L>]: FieldsOf<L>[K] extends Field<infer T, infer _V, infer _I> ? T : never;
};
/** What `encode` takes: any of the fields, missing ones are zero. */
export type ValuesOf<L extends Layout> = {
  [K in keyof FieldsOf<L>]?: FieldsOf<L>[K] extends Field<infer _T, infer _V, infer In> ? In : never;
};
/** Live accessors on bytes: byte fields are windows, nested structs are views, arrays have `get` and `set`. */
export type ViewOf<L extends Layout> = {
  -readonly [K in keyof FieldsOf<L>]: FieldsOf<L>[K] extends Field<infer _T, infer V, infer _I> ? V : never;
};

/** A field as a table row, for traces, documents and generated headers. */
export interface FieldInfo extends Field {
  readonly name: string;
}

export interface LayoutOptions {
  /** Where it is written down: SDM section title or kernel file. */
  readonly source: string;
  /** Required alignment in bytes; without it the largest alignment of a field. */
  readonly align?: number;
  /** Name of the generated C struct; without it the name in snake case. */
  readonly cName?: string;
  /** The kernel's own struct for it and its spelling of our fields; fields the kernel leaves out are not listed. */
  readonly kernel?: { readonly struct: string; readonly fields: Readonly<Record<string, string>> };
}

export interface Layout<F extends Fields = Fields> extends Omit<LayoutOptions, 'align'> {
  readonly name: string;
  readonly cName: string;
  readonly sizeBytes: number;
  readonly alignBytes: number;
  /** In the order of their offsets. */
  readonly fields: readonly FieldInfo[];
  /** Carries the type of the declaration. */
  readonly declared: F;
  /** Copies out of `bytes`. Throws a RangeError when they are too short. */
  decode(bytes: Uint8Array, offset?: number): StructOf<Layout<F>>;
  /** Exactly `sizeBytes` bytes. Throws a RangeError for a value that does not fit its field. */
  encode(values: ValuesOf<Layout<F>>): Uint8Array;
  /** Accessors on the bytes themselves; setters wrap like a register, they do not check. */
  view(bytes: Uint8Array, offset?: number): ViewOf<Layout<F>>;
  reservedAreZero(bytes: Uint8Array, offset?: number): boolean;
  /** The first reserved byte that is not zero: the area's name and the byte's offset in the struct. */
  firstNonzeroReserved(
    bytes: Uint8Array,
    offset?: number,
  ): { readonly name: string; readonly offset: number } | undefined;
  offsetOf(fieldName: keyof F & string): number;
  /** Every field as data for the trace; byte areas that are all zero are left out. */
  plain(values: StructOf<Layout<F>>): PlainRecord;
}

/**
 * Declares a struct. Throws when fields overlap, leave a gap (reserved areas must be declared) or pass the end.
 * @param sizeBytes the whole struct, tail included
 */
export function layout<const F extends Fields>(
  name: string,
  sizeBytes: number,
  options: LayoutOptions,
  declared: F,
): Layout<F> {
  const fields: FieldInfo[] = Object.entries(declared).map(([fieldName, field]) => ({ ...field, name: fieldName }));
  fields.sort((a, b) => a.offset - b.offset);
  checkFields(name, sizeBytes, fields);
  const visible = fields.filter((field) => field.kind !== 'reserved');
  const reservedAreas = fields.filter((field) => field.kind === 'reserved');
  const View = viewClass(visible);
  const dataView = (bytes: Uint8Array, offset: number): DataView => {
    if (offset + sizeBytes > bytes.length)
      throw new RangeError(`${name} needs ${sizeBytes} bytes at ${offset}, there are ${bytes.length}`);
    return new DataView(bytes.buffer, bytes.byteOffset + offset, sizeBytes);
  };

  const self: Layout<F> = {
    name,
    cName: options.cName ?? snakeCase(name),
    source: options.source,
    ...(options.kernel && { kernel: options.kernel }),
    sizeBytes,
    alignBytes: options.align ?? Math.max(1, ...fields.map((field) => field.alignBytes)),
    fields,
    declared,
    decode(bytes, offset = 0) {
      const data = dataView(bytes, offset);
      const values: Record<string, unknown> = {};
      for (const field of visible) values[field.name] = field.get(data, field.offset);
      return values as StructOf<Layout<F>>;
    },
    encode(values) {
      const bytes = new Uint8Array(sizeBytes);
      const data = new DataView(bytes.buffer);
      const given = values as Readonly<Record<string, unknown>>;
      for (const field of visible) {
        const value = given[field.name];
        if (value === undefined) continue;
        checkValue(name, field, value);
        field.set(data, field.offset, value);
      }
      return bytes;
    },
    view: (bytes, offset = 0) => new View(dataView(bytes, offset)) as ViewOf<Layout<F>>,
    reservedAreZero: (bytes, offset = 0) => self.firstNonzeroReserved(bytes, offset) === undefined,
    firstNonzeroReserved(bytes, offset = 0) {
      for (const area of reservedAreas) {
        // A plain loop: leaves do this to hundreds of bytes each time, and findIndex takes ten times as long.
        const end = Math.min(offset + area.offset + area.sizeBytes, bytes.length);
        for (let at = offset + area.offset; at < end; at++) {
          if (bytes[at] !== 0) return { name: area.name, offset: at - offset };
        }
      }
      return undefined;
    },
    offsetOf: (fieldName) => declared[fieldName]!.offset,
    plain(values) {
      const decoded = values as Readonly<Record<string, unknown>>;
      const entries = visible.map((field) => [field.name, field.plain(decoded[field.name])] as const);
      return Object.fromEntries(entries.filter((entry): entry is [string, Plain] => entry[1] !== undefined));
    },
  };
  return self;
}

/** `SECS` to `secs`, `StubRequest` and `stubRequest` to `stub_request`. */
export function snakeCase(name: string): string {
  if (/^[A-Z0-9_]+$/.test(name)) return name.toLowerCase();
  return name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase();
}

function checkFields(name: string, sizeBytes: number, fields: readonly FieldInfo[]): void {
  let end = 0;
  let previous = 'the start';
  for (const field of fields) {
    const where = `${name}.${field.name} at ${field.offset}`;
    if (field.offset < end) throw new Error(`${where} overlaps ${previous}, which ends at ${end}`);
    if (field.offset > end) throw new Error(`${where} leaves a gap after ${previous}, which ends at ${end}`);
    end = field.offset + field.sizeBytes;
    previous = field.name;
  }
  if (end !== sizeBytes) throw new Error(`${name} has ${sizeBytes} bytes, its fields end at ${end}`);
}

function checkValue(name: string, field: FieldInfo, value: unknown): void {
  try {
    field.check(value);
  } catch (error) {
    throw new RangeError(`${name}.${field.name}: ${(error as Error).message}`, { cause: error });
  }
}

/** One class per layout: its accessors are fixed at declaration, an access looks nothing up. */
function viewClass(fields: readonly FieldInfo[]): new (data: DataView) => object {
  class View {
    readonly #data: DataView;
    constructor(data: DataView) {
      this.#data = data;
    }
    static {
      for (const field of fields) {
        const { offset } = field;
        Object.defineProperty(View.prototype, field.name, {
          enumerable: true,
          get(this: View) {
            return field.live(this.#data, offset);
          },
          set(this: View, value: unknown) {
            field.set(this.#data, offset, value);
          },
        });
      }
    }
  }
  return View;
}
