/**
 * Named bits of an integer: one value serves masks in code and names in traces.
 */

/** A bit number, or `[lowBit, highBit, names?]` for a part of several bits whose values may have names. */
export type BitSpec = number | readonly [lowBit: number, highBit: number, names?: Readonly<Record<string, number>>];

export interface BitField<S extends Readonly<Record<string, BitSpec>> = Readonly<Record<string, BitSpec>>> {
  readonly spec: S;
  /** Mask of each name, for 64-bit fields. A part's mask covers all its bits. */
  readonly mask: { readonly [K in keyof S]: bigint };
  /** Mask of each name as a number, for fields of at most 32 bits. */
  readonly bit: { readonly [K in keyof S]: number };
  /** All named bits. */
  readonly known: bigint;
  /** The value of a part (or 0/1 of a single bit), shifted down. */
  extract(value: bigint | number, name: keyof S & string): number;
  /** `R|W|PT=REG`, `MAP_SHARED|MAP_FIXED`; unnamed bits are shown as a hexadecimal rest; nothing set is `0`. */
  format(value: bigint | number): string;
}

/**
 * Declares named bits.
 * @example bitField({ R: 0, W: 1, PT: [8, 15, { TCS: 1, REG: 2 }] }).format(0x203n) // 'R|W|PT=REG'
 */
export function bitField<const S extends Readonly<Record<string, BitSpec>>>(spec: S): BitField<S> {
  const parts = Object.entries(spec).map(([name, entry]) => part(name, entry));
  const known = parts.reduce((all, { mask }) => all | mask, 0n);
  return {
    spec,
    mask: Object.fromEntries(parts.map(({ name, mask }) => [name, mask])) as BitField<S>['mask'],
    bit: Object.fromEntries(parts.map(({ name, mask }) => [name, Number(mask)])) as BitField<S>['bit'],
    known,
    extract(value, name) {
      const found = parts.find((candidate) => candidate.name === name)!;
      return Number((BigInt(value) & found.mask) >> found.lowBit);
    },
    format(value) {
      const all = BigInt.asUintN(64, BigInt(value));
      const words = parts.map((each) => formatPart(each, all)).filter((word) => word !== '');
      const rest = all & ~known;
      if (rest !== 0n) words.push(`0x${rest.toString(16)}`);
      return words.length === 0 ? '0' : words.join('|');
    },
  };
}

interface Part {
  readonly name: string;
  readonly lowBit: bigint;
  readonly mask: bigint;
  /** Present for parts of several bits. */
  readonly valueNames: ReadonlyMap<number, string> | undefined;
}

function part(name: string, spec: BitSpec): Part {
  if (typeof spec === 'number') return { name, lowBit: BigInt(spec), mask: 1n << BigInt(spec), valueNames: undefined };
  const [low, high, names] = spec;
  return {
    name,
    lowBit: BigInt(low),
    mask: ((1n << BigInt(high - low + 1)) - 1n) << BigInt(low),
    valueNames: new Map(Object.entries(names ?? {}).map(([key, value]) => [value, key])),
  };
}

function formatPart({ name, lowBit, mask, valueNames }: Part, all: bigint): string {
  const value = Number((all & mask) >> lowBit);
  if (valueNames === undefined) return value === 0 ? '' : name;
  const valueName = valueNames.get(value);
  if (valueName !== undefined) return sharesPrefix(name, valueName) ? valueName : `${name}=${valueName}`;
  return value === 0 ? '' : `${name}=${value}`;
}

/** MAP_SHARED says by itself that it is the MAP_TYPE; REG does not say that it is the PT. */
function sharesPrefix(name: string, valueName: string): boolean {
  return name.includes('_') && valueName.startsWith(name.slice(0, name.indexOf('_') + 1));
}
