/**
 * Serves targets: finds their requests in the shared areas and lets the model answer. One thread owns all of it and
 * never waits for a target.
 *
 * The host does not busy-wait: after a short while without requests it says in every session that it sleeps, and
 * waits in epoll; a stub that sees this rings its socket.
 */
import { Op } from '../abi/stub.ts';
import type { OpenFile } from '../devices/device-table.ts';
import { EnclaveFile } from '../kernel/enclave.ts';
import { EnclaveSpace } from '../kernel/enclave-space.ts';
import type { Machine } from '../machine/machine.ts';
import type { Trace } from '../trace/events.ts';
import { Connections } from './connections.ts';
import type { MemfdContents } from './contents.ts';
import { leaveForDeadThreads } from './dead-threads.ts';
import type { DeviceFile, DeviceFiles } from './device-files.ts';
import { close } from './linux/files.ts';
import { send } from './linux/sockets.ts';
import { adopt } from './requests/processes.ts';
import { DONE, type Reply } from './requests/reply.ts';
import { appliesRuns, handlers } from './requests/table.ts';
import type { Mailbox, SessionFacts } from './session-area.ts';
import type { Session } from './session.ts';
import { TargetPort } from './target-port.ts';
import type { Watcher } from './watcher.ts';

/** How long to look for further requests before sleeping: going to sleep and being woken costs about as much. */
const LINGER_MS = 0.08;
/** How long requests may keep the host from looking at its sockets. */
const SOCKETS_EVERY_MS = 1;
/**
 * When to look for files that nobody holds any more: soon after somebody let go of one, now and then, and before
 * sleeping, since a close cannot be seen, but that often at most.
 */
const SWEEP_SOON_MS = 10;
const SWEEP_MS = 1000;

interface LongRequest {
  readonly session: Session;
  readonly box: Mailbox;
  readonly steps: Generator<void, Reply>;
}

/** How long a machine lives. */
export interface Term {
  /** Asked between requests. */
  readonly isOver: (host: Host) => boolean;
  /** When `isOver` must be asked although nothing happens, by performance.now(). */
  readonly askAgainAtMs: () => number;
}

export interface HostOptions {
  readonly machine: Machine;
  readonly files: DeviceFiles<OpenFile>;
  readonly contents: MemfdContents;
  readonly trace: Trace;
  readonly facts: SessionFacts;
  /** What wakes the host: sessions, and whatever else its owner adds. */
  readonly watcher: Watcher;
  /** Until when the host shall serve. */
  readonly term: Term;
  /** A sentence for the user. */
  readonly complain: (sentence: string) => void;
}

export class Host {
  readonly machine: Machine;
  readonly trace: Trace;
  readonly files: DeviceFiles<OpenFile>;
  readonly complain: (sentence: string) => void;
  readonly connections: Connections;
  readonly #contents: MemfdContents;
  readonly #term: Term;
  readonly #watcher: Watcher;
  #long: LongRequest[] = [];
  #sweepAt = Number.POSITIVE_INFINITY;
  #lastSweep = 0;
  /** The last sweep left an enclave to threads that have still to leave it. */
  #left = false;

  constructor(options: HostOptions) {
    this.machine = options.machine;
    this.trace = options.trace;
    this.files = options.files;
    this.complain = options.complain;
    this.#contents = options.contents;
    this.#term = options.term;
    this.#watcher = options.watcher;
    this.connections = new Connections({
      ...options,
      onStart: (session) => this.#onStart(session),
      onEnd: (session) => this.#onEnd(session),
    });
    this.machine.kernel.onGeneration = (enclave) => this.#raiseGeneration(enclave);
    this.machine.kernel.onShortage = () => this.sweep();
  }

  /** Serves until its term is over. */
  run(): void {
    let lastWork = performance.now();
    let lastSockets = lastWork;
    while (!this.#term.isOver(this)) {
      const worked = this.#serveRequests() || this.#long.length > 0;
      this.#serveLongRequests();
      const now = performance.now();
      if (worked) lastWork = now;
      if (now >= this.#sweepAt) {
        // The last file may just have gone: that ends the loop, not only this round.
        this.sweep();
        continue;
      }
      if (!worked && now - lastWork > LINGER_MS) {
        this.#sleep();
        lastWork = lastSockets = performance.now();
      } else if (now - lastSockets > SOCKETS_EVERY_MS) {
        lastSockets = now;
        this.#watcher.poll(0);
      }
    }
    // Who has just ended may have left something to be said.
    this.#watcher.poll(0);
    this.connections.sayGoodbye();
    this.#reportUsage();
  }

  sessionOf(pid: number): Session | undefined {
    return this.connections.find(pid);
  }

  /** Whether a thread that may be inside an enclave still is, by the process that it is of. */
  isAlive(tid: number): boolean {
    for (const session of this.connections) if (session.hasLiving(tid)) return true;
    return false;
  }

  /**
   * Tells the model which processes have no thread left that came into the enclave before rights in it were last cut.
   * A thread that comes in later has applied what its process had to apply.
   */
  acknowledge(enclave: EnclaveFile): void {
    if (enclave.mms.size < 2) return;
    for (const session of this.connections) {
      if (session.mm !== undefined && enclave.mms.has(session.mm) && !session.hasStaleThread(enclave)) {
        session.mm.acknowledge(enclave, enclave.generation);
      }
    }
  }

  /** Gives back every device file that nobody holds any more; a call in progress holds its file. */
  sweep(): void {
    for (let gone = this.#takeGone(); gone.length > 0; gone = this.#takeGone()) {
      for (const deviceFile of gone) {
        const { file } = deviceFile;
        if (file instanceof EnclaveFile) for (const session of this.connections) session.forgetEnclave(file.id);
        this.machine.devices.release(file);
        this.#contents.flush();
        this.files.dispose(deviceFile);
      }
    }
    this.#lastSweep = performance.now();
    const again = this.#left ? SWEEP_SOON_MS : SWEEP_MS;
    this.#sweepAt = this.files.count === 0 ? Number.POSITIVE_INFINITY : this.#lastSweep + again;
  }

  /** A device that enclaves lie behind outlives them, and an enclave the threads that are still inside. */
  #takeGone(): DeviceFile<OpenFile>[] {
    this.#left = false;
    return this.files.takeUnreferenced(
      (file) => file.busy || (file instanceof EnclaveSpace && file.enclaves.size > 0),
      (file) => {
        const mayGo = !(file instanceof EnclaveFile) || file.abandon();
        this.#left ||= !mayGo;
        return mayGo;
      },
    );
  }

  /** Somebody is about to let go of something. */
  sweepSoon(): void {
    this.#sweepAt = Math.min(this.#sweepAt, performance.now() + SWEEP_SOON_MS);
  }

  /** The last line of a trace: what nobody gave back, which is nothing where the machine waited for everybody. */
  #reportUsage(): void {
    const { pages, freePages, backingPages, enclaves } = this.machine.kernel.usage();
    const args = { pages: pages - freePages, evictedPages: backingPages, enclaves };
    const text = `EPC in use: ${args.pages} pages, evicted: ${backingPages} pages, enclaves: ${enclaves}`;
    if (this.trace.on) this.trace.emit({ kind: 'note', pid: process.pid, name: 'end', args, text });
    else if (this.files.count === 0 && (args.pages > 0 || enclaves > 0))
      this.complain(`at the end ${text}; this is a bug of vitrine`);
  }

  /** Entries that were checked before are stale in every process. */
  #raiseGeneration(enclave: EnclaveFile): void {
    this.#contents.flush();
    for (const session of this.connections) session.raiseGeneration(enclave);
  }

  #serveRequests(): boolean {
    let worked = false;
    for (const session of this.connections) {
      if (session.area?.hasRequests !== true) continue;
      worked = true;
      for (const box of session.area.takeRequests()) {
        this.#serve(session, box);
        if (session.ended) break;
      }
    }
    return worked;
  }

  #serve(session: Session, box: Mailbox): void {
    const { op } = box;
    const { mm, port } = session;
    port!.caller = box;
    port!.map.forget();
    if (mm === undefined) {
      // Another thread of a fork child may be faster than the one that introduces it.
      if (op !== Op.ADOPT) session.early.push(box);
      else this.#adopt(session, box);
      return;
    }
    const handler = handlers.get(op);
    if (handler === undefined)
      return this.connections.expel(session, `asked for operation ${op}, which does not exist`);
    const reply = handler({ host: this, session, mm, box });
    if ('next' in reply) this.#long.push({ session, box, steps: reply });
    else this.#reply(session, box, reply);
  }

  #adopt(session: Session, box: Mailbox): void {
    const reply = adopt(this, session, box);
    if (session.mm === undefined) return this.connections.expel(session, 'inherited mappings that are not there');
    this.#reply(session, box, reply);
    for (const early of session.early.splice(0)) if (!session.ended) this.#serve(session, early);
  }

  /** One slice of each long request. */
  #serveLongRequests(): void {
    if (this.#long.length === 0) return;
    for (const request of this.#long.splice(0)) {
      const { session, box, steps } = request;
      if (session.ended) {
        steps.return(DONE);
        continue;
      }
      session.port!.caller = box;
      const step = steps.next();
      if (step.done === true) this.#reply(session, box, step.value);
      else this.#long.push(request);
    }
  }

  #reply(session: Session, box: Mailbox, { ret, out, descriptor }: Reply): void {
    this.#contents.flush();
    if (appliesRuns(box.op, ret)) session.putRuns(box);
    if (descriptor !== undefined) {
      const sent = send(session.socket, new Uint8Array(Uint32Array.of(box.index).buffer), descriptor.fd);
      if (descriptor.closeAfter) close(descriptor.fd);
      if (sent === 'full') return this.connections.expel(session, 'does not read its messages');
      if (sent === 'gone') return this.connections.drop(session);
    }
    box.answer(ret, out ?? [], descriptor === undefined ? 0 : 1);
  }

  /** After exec a process has no enclaves; after fork it says which (ADOPT). */
  #onStart(session: Session): void {
    session.port = new TargetPort(session, () => this.#contents.flush());
    if (session.parentPid === 0) session.mm = this.machine.kernel.addProcess(session.port);
  }

  #onEnd(session: Session): void {
    const { pid, opened, missedNode } = session;
    if (!opened && missedNode !== undefined)
      this.machine.devices.advice.tellMissingNode(pid, missedNode, session.gate.complain);
    const abandoned = this.#long.filter((request) => request.session === session);
    this.#long = this.#long.filter((request) => request.session !== session);
    for (const { steps } of abandoned) steps.return(DONE);
    if (session.mm !== undefined) {
      leaveForDeadThreads(this.machine.kernel, session);
      this.machine.kernel.exitProcess(session.mm);
    }
    this.#contents.flush();
    this.sweepSoon();
  }

  #sleep(): void {
    // The last file may just have gone, as above.
    if (performance.now() - this.#lastSweep > SWEEP_SOON_MS) return this.sweep();
    this.trace.flush();
    for (const { area } of this.connections) if (area !== undefined) area.hostSleeping = true;
    const asked = [...this.connections].some(({ area }) => area?.hasRequests);
    const wakeAt = Math.min(this.#sweepAt, this.#term.askAgainAtMs());
    const timeoutMs = Number.isFinite(wakeAt) ? Math.max(1, Math.ceil(wakeAt - performance.now())) : -1;
    this.#watcher.poll(asked ? 0 : timeoutMs);
    for (const { area } of this.connections) if (area !== undefined) area.hostSleeping = false;
  }
}
