/**
 * Ioctls declared once: a table computes the numbers, finds an entry by number and names what it does not know.
 * Source: include/uapi/asm-generic/ioctl.h
 */
import type { ErrnoName } from './errno.ts';
import type { Layout } from './layout.ts';

/** As the program sees it: `in` is read by the kernel (_IOW), `out` is written by it (_IOR). */
export type IoctlDirection = 'none' | 'in' | 'out' | 'inout';

export interface IoctlEntry {
  readonly name: string;
  /** The sequence number in the low byte. */
  readonly nr: number;
  readonly dir: IoctlDirection;
  readonly arg: Layout | undefined;
  /** Every errno the kernel's handler gives, restarts included. */
  readonly errors: readonly ErrnoName[];
  readonly doc: string;
  /** Other names that it has had. */
  readonly aliases?: readonly { readonly name: string; readonly origin: string }[];
}

export type Ioctl<E extends IoctlEntry = IoctlEntry> = E & {
  /** The 32-bit command number a program passes. */
  readonly number: number;
  readonly sizeBytes: number;
};

export interface IoctlTable<E extends IoctlEntry = IoctlEntry> {
  readonly magic: number;
  readonly entries: readonly Ioctl<E>[];
  /** Command numbers by name. */
  readonly numbers: { readonly [K in E['name']]: number };
  readonly byName: { readonly [K in E['name']]: Ioctl<Extract<E, { readonly name: K }>> };
  /** Exact 32-bit match, as in the kernel: another size is another command. */
  find(number: number): Ioctl<E> | undefined;
  /** The name, or the parts of an unknown number. */
  describe(number: number): string;
}

const directionBits: Readonly<Record<IoctlDirection, number>> = { none: 0, in: 1, out: 2, inout: 3 };
const directionNames: readonly IoctlDirection[] = ['none', 'in', 'out', 'inout'];

/** `_IOC(dir, magic, nr, size)`. */
export function ioctlNumber(dir: IoctlDirection, magic: number, nr: number, sizeBytes: number): number {
  return ((directionBits[dir] << 30) | (sizeBytes << 16) | (magic << 8) | nr) >>> 0;
}

export function ioctlTable<const E extends IoctlEntry>(magic: number, declared: readonly E[]): IoctlTable<E> {
  const entries = declared.map((entry): Ioctl<E> => {
    const sizeBytes = entry.arg?.sizeBytes ?? 0;
    return { ...entry, sizeBytes, number: ioctlNumber(entry.dir, magic, entry.nr, sizeBytes) };
  });
  const byNumber = new Map(entries.map((entry) => [entry.number, entry]));
  return {
    magic,
    entries,
    numbers: Object.fromEntries(entries.map((entry) => [entry.name, entry.number])) as IoctlTable<E>['numbers'],
    byName: Object.fromEntries(entries.map((entry) => [entry.name, entry])) as unknown as IoctlTable<E>['byName'],
    find: (number) => byNumber.get(number >>> 0),
    describe: (number) => byNumber.get(number >>> 0)?.name ?? describeUnknown(number >>> 0),
  };
}

function describeUnknown(number: number): string {
  const dir = directionNames[number >>> 30]!;
  return `unknown ioctl ${hex(number)} (${dir}, magic ${hex((number >>> 8) & 0xff)}, nr ${number & 0xff}, ${(number >>> 16) & 0x3fff} bytes)`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
