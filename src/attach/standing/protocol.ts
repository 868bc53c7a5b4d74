/**
 * What commands and a standing machine say to each other: lines of JSON on a Unix socket. Whoever can connect is the
 * machine's own user, but may be a program with mistakes: the machine believes nothing of it.
 */
import { PROTOCOL_VERSION } from '../../abi/stub.ts';

export type Request =
  | { readonly ask: 'status' }
  /** The answer carries the gate. The program lives no longer than this connection, unless the command leaves. */
  | { readonly ask: 'join'; readonly protocol: number; readonly command: readonly string[] }
  /** The program has ended as it wanted; what it left running may go on. Without an answer. */
  | { readonly ask: 'leave' }
  /** The machine shall end. It has when the connection ends. */
  | { readonly ask: 'down'; readonly graceMs: number };

export interface Status {
  readonly name: string;
  readonly pid: number;
  /** ISO 8601. */
  readonly since: string;
  readonly cpu: string;
  readonly epcPages: number;
  readonly epcPagesInUse: number;
  /** Pages of enclaves that lie outside the EPC, encrypted. */
  readonly evictedPages: number;
  readonly processes: number;
  readonly enclaves: number;
  /** What was started by `vitrine run --join` and runs. */
  readonly programs: readonly { readonly pid: number; readonly command: readonly string[] }[];
}

export type Answer =
  | { readonly status: Status }
  | { readonly joined: true }
  /** How many processes have been asked to end. */
  | { readonly ending: number }
  | { readonly refused: string }
  /** Unasked: a sentence for the person who started the program. */
  | { readonly say: string };

/** How long a machine that ends waits for processes that it has killed, and for files that others hold. */
export const AFTER_KILL_MS = 2000;

/** Longer lines are not ours: a command has at most as much as exec takes, which is far more than anybody types. */
export const MAX_LINE_BYTES = 1 << 20;

export const joinRequest = (command: readonly string[]): Request => ({
  ask: 'join',
  protocol: PROTOCOL_VERSION,
  command,
});

export const line = (message: Request | Answer): Uint8Array => Buffer.from(`${JSON.stringify(message)}\n`);

/** undefined for what is no request. */
export function parseRequest(text: string): Request | undefined {
  const { ask, protocol, command, graceMs } = parseObject(text);
  switch (ask) {
    case 'status':
    case 'leave':
      return { ask };
    case 'join':
      return typeof protocol === 'number' && isStrings(command) ? { ask, protocol, command } : undefined;
    case 'down':
      return typeof graceMs === 'number' && graceMs >= 0 ? { ask, graceMs } : undefined;
    default:
      return undefined;
  }
}

const isStrings = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((each) => typeof each === 'string');

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/** The lines in a stream of pieces; what is left over waits for the next. */
export class Lines {
  readonly #decoder = new TextDecoder();
  #rest = '';

  /** undefined when a line is too long. */
  take(bytes: Uint8Array): string[] | undefined {
    const pieces = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split('\n');
    this.#rest = pieces.pop()!;
    return this.#rest.length > MAX_LINE_BYTES ? undefined : pieces;
  }
}
