/** Decoded values as plain data, such as JSON can hold, and as the text of a line. */
import { formatInteger } from './fields.ts';

export type Plain = string | number | readonly Plain[] | PlainRecord;
export interface PlainRecord {
  readonly [name: string]: Plain;
}

/** Longer runs of hexadecimal digits (32 bytes) are cut in text. */
const FULLY_SHOWN_DIGITS = 64;
const CUT_DIGITS = 16;

/** `size=0x10000 flags=R|W|PT=REG inner={low=-3} list=[1, 0xff]`. */
export function plainText(record: PlainRecord): string {
  return Object.entries(record)
    .map(([name, value]) => `${name}=${valueText(value)}`)
    .join(' ');
}

function valueText(value: Plain): string {
  if (typeof value === 'number') return formatInteger(value);
  if (typeof value === 'string') return cut(value);
  if (isList(value)) return `[${value.map(valueText).join(', ')}]`;
  return `{${plainText(value)}}`;
}

/** Array.isArray does not narrow readonly arrays. */
function isList(value: readonly Plain[] | PlainRecord): value is readonly Plain[] {
  return Array.isArray(value);
}

function cut(text: string): string {
  if (text.length <= FULLY_SHOWN_DIGITS || !/^[0-9a-f]+$/.test(text)) return text;
  return `${text.slice(0, CUT_DIGITS)}...(${text.length / 2} bytes)`;
}
