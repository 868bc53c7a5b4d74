/** Events as lines for people: what was done and what came of it; under a refusal the check that refused. */
import picocolors from 'picocolors';
import { plainText } from '../lib/plain.ts';
import type { TraceEvent } from './events.ts';

export interface TextOptions {
  readonly colour: boolean;
}

const TID_COLUMNS = 7;

/** Gives the text of one event, its newlines included. */
export function formatter({ colour }: TextOptions): (event: TraceEvent) => string {
  const { bold, cyan, dim, green, red, yellow } = picocolors.createColors(colour);
  return (event) => {
    const { pid, tid, name, result, durationUs, why } = event;
    const paint = why === undefined ? green : red;
    const words = [dim(String(tid ?? pid).padStart(TID_COLUMNS)), '', bold(name), ...details(event)];
    if (result !== undefined) words.push('=', paint(resultText(result, event)));
    if (durationUs !== undefined) words.push('', dim(duration(durationUs)));
    const line = `${words.join(' ')}\n`;
    if (why === undefined) return line;
    const indent = ' '.repeat(TID_COLUMNS + 2);
    const because = `${indent}${yellow('refused:')} ${why.check}; expected ${why.expected}, found ${cyan(why.found)}\n`;
    return why.advice === undefined ? line + because : `${line}${because}${indent}${yellow('advice:')} ${why.advice}\n`;
  };
}

/** The sentence of a note; else the arguments, and after each structure's name what is in it. */
function details({ text, args, structs }: TraceEvent): string[] {
  if (text !== undefined) return [text];
  const inStructs = Object.entries(structs ?? {}).map(([name, values]) => `${name}: ${plainText(values)}`);
  return [args === undefined ? '' : plainText(args), ...inStructs].filter((part) => part !== '');
}

/** `#PF(0x8007)`: of page faults the error code says which. */
function resultText(result: string, { fault }: TraceEvent): string {
  return result === '#PF' && fault !== undefined ? `#PF(${fault.errorCode})` : result;
}

/** `8.4 us`, `340 us`, `12.3 ms`, `1.20 s`. */
function duration(us: number): string {
  if (us < 10) return `${us.toFixed(1)} us`;
  if (us < 1000) return `${Math.round(us)} us`;
  return us < 1e6 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1e6).toFixed(2)} s`;
}
