/**
 * Who is connected. A process image sends us one end of a pair of sockets by the gate, a socket that all processes
 * of the program inherit, says Hello on the other and gets its shared area; it is gone when its process ends
 * (pidfd), when its socket closes, or when a new image of the same process says Hello: after fork a child may still
 * hold its parent's socket, so no single one of the three is enough.
 */
import { Hello, PROTOCOL_MAGIC, PROTOCOL_VERSION } from '../abi/stub.ts';
import { close, isSpare } from './linux/files.ts';
import { HostError } from './linux/library.ts';
import { openPidfd } from './linux/processes.ts';
import { askForSenders, peerOf, receive, send } from './linux/sockets.ts';
import { SessionArea, type SessionFacts } from './session-area.ts';
import { isExiting, readOrEmpty } from './memory-map.ts';
import { Session, type Gate } from './session.ts';
import type { Watcher } from './watcher.ts';

export interface ConnectionsOptions {
  readonly watcher: Watcher;
  readonly facts: SessionFacts;
  /** A session has got its area. */
  readonly onStart: (session: Session) => void;
  /** A session is over; what it held must be let go before this returns. */
  readonly onEnd: (session: Session) => void;
}

const message = new Uint8Array(64);

export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #watcher: Watcher;
  readonly #gates = new Set<Gate>();
  readonly #sessions = new Map<number, Session>();

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    this.#watcher = options.watcher;
  }

  /** Lets a program in. Its gate is ours from now on, until nobody has the other end any more. */
  open(gate: Gate): void {
    this.#gates.add(gate);
    askForSenders(gate.fd);
    this.#watcher.add(gate.fd, () => this.#admitAll(gate));
  }

  /** Ends a program with all its processes: for them it is as if the machine had gone. */
  shut(gate: Gate): void {
    if (!this.#gates.delete(gate)) return;
    this.#watcher.remove(gate.fd);
    // First, because whoever sees its own connection end looks here whether that is in good order.
    close(gate.fd);
    for (const session of this.#sessions.values()) if (session.gate === gate) this.#end(session);
  }

  /** Sessions past Hello. */
  [Symbol.iterator](): Iterator<Session> {
    return this.#sessions.values();
  }

  find(pid: number): Session | undefined {
    return this.#sessions.get(pid);
  }

  /** Ends a process that breaks the protocol: a program that overwrote its stub, or one that is not ours. */
  expel(session: Session, reason: string): void {
    // On its way out it keeps no rules: its memory goes first, its descriptors next.
    if (isExiting(readOrEmpty(`/proc/${session.pid}/stat`))) return this.#end(session);
    session.gate.complain(`process ${session.pid} ${reason}; it is killed`);
    try {
      process.kill(session.pid, 'SIGKILL');
    } catch {
      // Gone already, or another user's: in either case it is no longer served.
    }
    this.#end(session);
  }

  /** The end in good order: without this message in its gate, a program dies with us. */
  sayGoodbye(): void {
    for (const { fd } of this.#gates) send(fd, message.subarray(0, 4));
  }

  /**
   * What comes without a descriptor is one that we had no number left for: its process sees its end closed, and gives
   * its program ENFILE.
   */
  #admitAll(gate: Gate): void {
    for (let got = receive(gate.fd, message); got !== undefined; got = receive(gate.fd, message)) {
      // The program's last process has gone.
      if (got.lengthBytes === 0) return this.shut(gate);
      for (const socket of got.descriptors) {
        const peer = tryPeer(socket, got.senderPid);
        if (peer === undefined) close(socket);
        else this.#admit(new Session(peer.pid, socket, peer.pidfd, gate));
      }
    }
  }

  /** Ends a session before its end has been seen: nobody can be answered any more. */
  drop(session: Session): void {
    this.#end(session);
  }

  #admit(session: Session): void {
    this.#watcher.add(session.socket, () => this.#drain(session));
    this.#watcher.add(session.pidfd, () => this.#end(session));
  }

  /** Takes the messages that have come from a process; a descriptor in one is its userfaultfd. */
  #drain(session: Session): void {
    for (let got = receive(session.socket, message); got !== undefined; got = receive(session.socket, message)) {
      for (const fd of got.descriptors) {
        if (session.uffd >= 0) close(session.uffd);
        session.uffd = fd;
      }
      if (got.lengthBytes === 0) return this.#end(session);
      if (session.area === undefined && !this.#onHello(session, got.lengthBytes)) return;
    }
  }

  /** False when the session is over. */
  #onHello(session: Session, lengthBytes: number): boolean {
    if (lengthBytes !== Hello.sizeBytes) {
      this.expel(session, `introduced itself with ${lengthBytes} bytes instead of ${Hello.sizeBytes}`);
      return false;
    }
    const hello = Hello.decode(message);
    if (hello.magic !== PROTOCOL_MAGIC || hello.version !== PROTOCOL_VERSION) {
      this.expel(session, `speaks protocol ${hello.version}, this is ${PROTOCOL_VERSION}: rebuild the stub`);
      return false;
    }
    if (!this.#gates.has(session.gate)) {
      this.#end(session);
      return false;
    }
    session.parentPid = hello.parentPid;
    session.inPidNamespace = hello.pid !== session.pid;
    const previous = this.#sessions.get(session.pid);
    if (previous !== undefined) this.#end(previous);
    this.#sessions.set(session.pid, session);
    const area = new SessionArea(this.#options.facts);
    session.area = area;
    this.#options.onStart(session);
    const sent = send(session.socket, message.subarray(0, 4), area.fd) === 'sent';
    area.closeFd();
    if (!sent) this.#end(session);
    return sent;
  }

  #end(session: Session): void {
    if (session.ended) return;
    session.ended = true;
    for (const fd of [session.socket, session.pidfd]) this.#watcher.remove(fd);
    if (this.#sessions.get(session.pid) === session) this.#sessions.delete(session.pid);
    this.#options.onEnd(session);
    session.dispose();
  }
}

/**
 * Undefined when the process is gone or not visible from here, when no number is left, or when this is no socket that
 * its sender made: whoever passes on somebody else's must not speak for them.
 */
function tryPeer(socket: number, senderPid: number): { pid: number; pidfd: number } | undefined {
  try {
    const { pid } = peerOf(socket);
    if (pid !== senderPid) return undefined;
    const pidfd = openPidfd(pid);
    if (isSpare(pidfd)) return { pid, pidfd };
    close(pidfd);
    return undefined;
  } catch (error) {
    if (error instanceof HostError) return undefined;
    throw error;
  }
}
