/**
 * What the models tell the world, through node:diagnostics_channel-like hooks. The models call `trace.emit` only when
 * `trace.on` is true, so that an untraced run pays one property read.
 */
import type { Why } from '../lib/outcome.ts';

export type TraceKind =
  | 'open'
  | 'ioctl'
  | 'mmap'
  | 'leaf'
  | 'fault'
  | 'aex'
  | 'enter'
  | 'exit'
  | 'process'
  | 'reclaim'
  | 'note';

export interface TraceEvent {
  readonly kind: TraceKind;
  readonly pid: number;
  readonly tid?: number;
  /** e.g. SGX_IOC_ENCLAVE_ADD_PAGES, mmap, EACCEPT, #PF. */
  readonly name: string;
  /** Decoded arguments, already readable: "offset=0x2000 length=0x1000 secinfo=REG|R|X measure". */
  readonly detail: string;
  /** "0", "EINVAL", "#GP", "SGX_NOT_TRACKED", "count=4096" ... */
  readonly result: string;
  readonly durationUs?: number;
  /** The check that refused, when something was refused. */
  readonly why?: Why;
}

export class Trace {
  /** True while somebody listens. */
  on = false;
  #listeners: ((event: TraceEvent) => void)[] = [];

  listen(listener: (event: TraceEvent) => void): void {
    this.#listeners.push(listener);
    this.on = true;
  }

  emit(event: TraceEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
