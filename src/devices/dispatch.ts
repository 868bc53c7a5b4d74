/**
 * From a command number to a handler and back: table lookup, copying in and out, one at a time, slices, and the trace
 * line. Shared by all device nodes.
 */
import { SGX_ENCLAVE_INODE } from '../abi/sgx-uapi/generation.ts';
import { Errno } from '../lib/errno.ts';
import type { Ioctl, IoctlTable } from '../lib/ioctl.ts';
import type { Layout, StructOf, ValuesOf } from '../lib/layout.ts';
import { fail, ok, why, type Code, type Failure, type KernelResult, type Why } from '../lib/outcome.ts';
import type { PlainRecord } from '../lib/plain.ts';
import { toUserAddr, type UserAddr } from '../lib/units.ts';
import type { Mm } from '../kernel/mm.ts';
import type { Clock } from '../kernel/ports.ts';
import { outcomeOf, type Trace, type TraceResult } from '../trace/events.ts';
import type { Advice } from './advice.ts';
import type { DeviceMetrics } from './device-metrics.ts';
import type { OpenFile } from './device-table.ts';

/** What a descriptor number of the caller is. */
export type ResolveFd = (fd: number) => OpenFile | 'not-open' | 'other';

export interface IoctlOutcome {
  /** 0 or more, or -errno; -ERESTARTSYS (512) where the system call is to be run again. */
  readonly ret: number;
  /** The caller gets a descriptor of this file, close-on-exec; its number is the return value. */
  readonly descriptorOf?: OpenFile;
  readonly why?: Why;
}

/** A success whose value is a new descriptor. */
export class NewDescriptor {
  readonly file: OpenFile;

  constructor(file: OpenFile) {
    this.file = file;
  }
}

/** What a handler ends with: the value of a success is the return value of the ioctl, and so is an SGX code. */
export type IoctlResult = KernelResult<number | void | NewDescriptor> | Code;

/** Between slices of about a millisecond it yields, so that others are served. */
export type IoctlSteps = Generator<void, IoctlOutcome>;
export type IoctlHandler<F> = (call: IoctlCall<F>) => Generator<void, IoctlResult>;

/** One ioctl in progress. */
export class IoctlCall<F> {
  readonly file: F;
  readonly mm: Mm;
  readonly argument: bigint;
  readonly resolveFd: ResolveFd;
  readonly advice: Advice | undefined;
  readonly #traced: boolean;
  #args: PlainRecord | undefined;
  #structs: Record<string, PlainRecord> | undefined;

  constructor(file: F, mm: Mm, argument: bigint, resolveFd: ResolveFd, traced: boolean, advice?: Advice) {
    this.file = file;
    this.mm = mm;
    this.argument = argument;
    this.resolveFd = resolveFd;
    this.#traced = traced;
    this.advice = advice;
  }

  /** For the trace: the decoded argument, as returned if it was, and what it points to. Empty when nobody listens. */
  get decoded(): { args?: PlainRecord; structs?: Readonly<Record<string, PlainRecord>> } {
    return { ...(this.#args && { args: this.#args }), ...(this.#structs && { structs: this.#structs }) };
  }

  /** Adds to `decoded` a structure that the argument points to. */
  show(layout: Layout, bytes: Uint8Array): void {
    if (this.#traced) this.#structs = { ...this.#structs, [layout.name]: layout.plain(layout.decode(bytes)) };
  }

  readonly signalPending = (): boolean => this.mm.port.signalPending();

  /** The argument's struct. EFAULT. */
  copyIn<L extends Layout>(layout: L): KernelResult<StructOf<L>> {
    const bytes = this.read(this.argument, layout.sizeBytes, layout.name);
    if (bytes.kind !== 'ok') return bytes;
    const values = layout.decode(bytes.value);
    if (this.#traced) this.#args = layout.plain(values);
    return ok(values as StructOf<L>);
  }

  /** The argument's struct, written back. EFAULT. */
  copyOut<L extends Layout>(layout: L, values: ValuesOf<L>): Failure | undefined {
    const bytes = layout.encode(values);
    if (this.#traced) this.#args = layout.plain(layout.decode(bytes));
    const address = toUserAddr(this.argument);
    const done = address === undefined ? 0 : this.mm.port.memory.write(address, bytes);
    if (done === bytes.length) return undefined;
    return fail(Errno.EFAULT, why(`${layout.name} can be written back`, `${bytes.length} bytes`, `${done} bytes`));
  }

  /** Exactly `lengthBytes` of the caller's memory. EFAULT. */
  read(address: bigint, lengthBytes: number, what: string): KernelResult<Uint8Array> {
    const bytes = new Uint8Array(lengthBytes);
    const done = this.readSome(address, bytes);
    if (done === lengthBytes) return ok(bytes);
    return fail(
      Errno.EFAULT,
      why(`${what} can be read`, `${lengthBytes} bytes at 0x${address.toString(16)}`, `${done} bytes`),
    );
  }

  /** As much of the caller's memory as there is. Returns the number of bytes. */
  readSome(address: bigint, into: Uint8Array): number {
    const start: UserAddr | undefined = toUserAddr(address);
    return start === undefined ? 0 : this.mm.port.memory.read(start, into);
  }
}

export interface DispatchOptions<F> {
  readonly table: IoctlTable;
  readonly handlers: Readonly<Record<string, IoctlHandler<F>>>;
  readonly trace: Trace;
  readonly clock: Clock;
  readonly metrics: DeviceMetrics;
  /** A second ioctl on a file that is in one waits for it, as for a mutex; without, it is EBUSY. */
  readonly waits?: boolean;
  /** Says which other interface an unknown command is of. */
  readonly advice?: Advice;
}

export class Dispatcher<F extends { busy: boolean; readonly node: string }> {
  readonly #options: DispatchOptions<F>;

  constructor(options: DispatchOptions<F>) {
    this.#options = options;
  }

  /** EBUSY: an ioctl on this file is in progress, unless this one waits; even before ENOTTY, which is for unknown commands. */
  *run(file: F, mm: Mm, command: number, argument: bigint, resolveFd: ResolveFd): IoctlSteps {
    const { table, trace, clock, metrics } = this.#options;
    const startMs = trace.on ? clock() : 0;
    const { pid, tid } = mm.port;
    if (file.node === SGX_ENCLAVE_INODE) this.#options.advice?.knowsDescriptors(pid);
    const call = new IoctlCall(file, mm, argument, resolveFd, trace.on, this.#options.advice);
    const result = yield* this.#handle(table.find(command), call, command);
    const outcome = toIoctl(result);
    const name = table.describe(command);
    metrics.countIoctl(name, outcome.ret);
    if (trace.on) {
      trace.emit({
        kind: 'ioctl',
        pid,
        ...(tid !== undefined && { tid }),
        name,
        ...call.decoded,
        ...outcomeOfIoctl(result),
        durationUs: (clock() - startMs) * 1000,
      });
    }
    return outcome;
  }

  *#handle(entry: Ioctl | undefined, call: IoctlCall<F>, command: number): Generator<void, IoctlResult> {
    const { file } = call;
    const { advice } = this.#options;
    while (this.#options.waits === true && file.busy) yield;
    if (file.busy) {
      return fail(
        Errno.EBUSY,
        why('no other ioctl on this file is in progress', 'one at a time', 'another', 'try again'),
      );
    }
    const handler = entry && this.#options.handlers[entry.name];
    if (handler === undefined) {
      const found = `0x${command.toString(16)}`;
      return fail(
        Errno.ENOTTY,
        why(
          'the command is known',
          'a command of the table',
          found,
          advice?.unknownCommand(call.mm.port.pid, file.node, command),
        ),
      );
    }
    file.busy = true;
    try {
      return yield* handler(call);
    } finally {
      // Also when the caller is gone and the rest is never run.
      file.busy = false;
    }
  }
}

function toIoctl(result: IoctlResult): IoctlOutcome {
  if (result.kind === 'errno') return { ret: -result.errno, why: result.why };
  if (result.kind === 'code') return { ret: result.code, why: result.why };
  const { value } = result;
  return value instanceof NewDescriptor ? { ret: 0, descriptorOf: value.file } : { ret: value ?? 0 };
}

/** The number of a new descriptor is known only when the caller has it. */
function outcomeOfIoctl(result: IoctlResult): TraceResult {
  if (result.kind === 'ok' && result.value instanceof NewDescriptor) {
    return { outcome: 'ok', result: `a descriptor of ${result.value.file.node}` };
  }
  return outcomeOf(result);
}
