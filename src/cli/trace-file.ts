/**
 * `--trace FILE.jsonl`: the trace as data, one JSON object a line. The first says what made it. docs/trace.md has the
 * fields, generated from here and from src/trace/events.ts.
 *
 * Runs in the machine's thread. Lines are kept until there are many, nothing is to be done, or the trace ends: the file
 * is whole up to the last moment of rest however the program ends, and a busy machine writes rarely.
 */
import { openSync, writeFileSync, writeSync } from 'node:fs';
import type { MachineDescription } from '../machine/description.ts';
import type { Trace, TraceEvent } from '../trace/events.ts';

/** Raised when a field changes its name or meaning, or goes; new fields and new values do not raise it. */
export const TRACE_FORMAT = 1;

export interface TraceHeader {
  /** The version of Vitrine. */
  readonly vitrine: string;
  readonly format: typeof TRACE_FORMAT;
  /** ISO 8601; `timeUs` of the events counts from about here. */
  readonly startedAt: string;
  readonly machine: MachineDescription;
  /** The program and its arguments; empty for a machine that programs join. */
  readonly command: readonly string[];
}

/** An event, and when it was over. */
export interface TraceLine extends TraceEvent {
  readonly timeUs: number;
}

export const headerFields: Readonly<Record<keyof TraceHeader, string>> = {
  vitrine: 'the version that wrote it',
  format: 'the version of this format: 1',
  startedAt: 'when, ISO 8601',
  machine:
    '`cpu`: the profile; `features`: what it has otherwise; `epc`: bytes of each section; `inject`: what was injected',
  command: 'the program and its arguments; empty for a machine that programs join',
};

/** What each field of an event line means. */
export const lineFields: Readonly<Record<keyof TraceLine, string>> = {
  timeUs: 'microseconds since the trace began, when the event was over',
  kind: 'what it is about, see below',
  pid: 'process; 0 for the kernel itself',
  tid: 'thread, where one did it',
  name: 'the ioctl, system call, leaf or exception: `SGX_IOC_ENCLAVE_INIT`, `mmap`, `EACCEPT`, `#PF`',
  args: 'decoded arguments by name; of an ioctl the fields of its argument, as written back',
  structs: 'the structures that arguments point to: `SECS`, `SECINFO`',
  text: 'a sentence for a person, in notes',
  outcome: 'which kind of outcome it was, see below',
  result: '`0`, `EINVAL`, `SGX_PAGE_ATTRIBUTES_MISMATCH`, `#PF`, `SIGBUS`, `mended`',
  fault: 'of exceptions: `vector` (number), `errorCode`, `address`',
  durationUs: 'how long it took, in microseconds',
  why: 'of refusals: `check` that refused, what it `expected`, what it `found`, and `advice`, where there is any',
};

/** Written out early, rather than kept, from so many characters on. */
const KEPT_CHARACTERS = 64 * 1024;

/** Makes the file, in the place of one that is there. Throws what node:fs throws. */
export function startTraceFile(path: string, header: TraceHeader): void {
  writeFileSync(path, `${JSON.stringify(header)}\n`);
}

/** Appends to a file that `startTraceFile` made. */
export function listen(trace: Trace, { path }: { readonly path: string }): void {
  const fd = openSync(path, 'a');
  const startMs = performance.now();
  let kept = '';
  const flush = (): void => {
    if (kept === '') return;
    const bytes = Buffer.from(kept);
    kept = '';
    try {
      for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
    } catch (error) {
      // A full disk must not end the program: the trace has a gap, and the user knows.
      writeSync(2, `vitrine: ${path}: ${(error as Error).message}\n`);
    }
  };
  trace.listen({
    event: (event) => {
      kept += traceLine(event, (performance.now() - startMs) * 1000);
      if (kept.length >= KEPT_CHARACTERS) flush();
    },
    flush,
  });
}

/** Exported for tests. Durations to the nanosecond: more digits would be noise. */
export function traceLine(event: TraceEvent, timeUs: number): string {
  const { durationUs } = event;
  const line: TraceLine = {
    timeUs: rounded(timeUs),
    ...event,
    ...(durationUs !== undefined && { durationUs: rounded(durationUs) }),
  };
  return `${JSON.stringify(line)}\n`;
}

const rounded = (us: number): number => Math.round(us * 1000) / 1000;
