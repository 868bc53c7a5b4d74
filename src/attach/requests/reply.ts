/** What a handler gets and gives. */
import { Verdict } from '../../abi/stub.ts';
import type { Mm } from '../../kernel/mm.ts';
import type { Fault, KernelResult } from '../../lib/outcome.ts';
import type { TraceEvent } from '../../trace/events.ts';
import type { Host } from '../host.ts';
import type { Mailbox } from '../session-area.ts';
import type { Session } from '../session.ts';

export interface Caller {
  readonly host: Host;
  readonly session: Session;
  readonly mm: Mm;
  readonly box: Mailbox;
}

export interface Reply {
  readonly ret: number;
  readonly out?: readonly (number | bigint)[];
  /** Sent to the stub before the answer. */
  readonly descriptor?: { readonly fd: number; readonly closeAfter: boolean };
}

/** A generator's request takes long: between its slices others are served. */
export type Handler = (caller: Caller) => Reply | Generator<void, Reply>;

export const DONE: Reply = { ret: 0 };

export const refused = (errno: number): Reply => ({ ret: -errno });

export const replyOf = (result: KernelResult<unknown>): Reply =>
  result.kind === 'errno' ? refused(result.errno) : DONE;

export const faulted = (fault: Fault): Reply => ({
  ret: fault.bus === true ? Verdict.BUS : Verdict.FAULT,
  out: [fault.vector, fault.errorCode, fault.address],
});

/** Publishes what a thread did, if anybody listens; `event` is only made then. */
export function trace(caller: Caller, event: () => Omit<TraceEvent, 'pid' | 'tid'>): void {
  const { host, session, box } = caller;
  if (host.trace.on) host.trace.emit({ pid: session.pid, tid: box.tid, ...event() });
}

export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
