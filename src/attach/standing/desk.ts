/**
 * Where commands come to a standing machine: a socket by which programs join, somebody asks how it is, or tells it to
 * end. Part of the machine's thread: it never waits for a command.
 */
import { constants } from 'node:os';
import { PROTOCOL_VERSION } from '../../abi/stub.ts';
import type { Host, Term } from '../host.ts';
import { close, isSpare } from '../linux/files.ts';
import { signalProcess } from '../linux/processes.ts';
import { accept, peerOf, receive, send, socketPair } from '../linux/sockets.ts';
import type { Standing } from '../protocol.ts';
import type { Gate, Session } from '../session.ts';
import type { Watcher } from '../watcher.ts';
import { AFTER_KILL_MS, line, Lines, parseRequest, type Answer, type Request, type Status } from './protocol.ts';

/** How long programs have to end when nobody says otherwise. */
export const DEFAULT_GRACE_MS = 5000;

interface Client {
  readonly fd: number;
  readonly pid: number;
  readonly lines: Lines;
  /** What it has started. */
  program: { readonly gate: Gate; readonly command: readonly string[] } | undefined;
}

export interface DeskOptions {
  readonly standing: Standing;
  readonly watcher: Watcher;
  /** A sentence for whoever looks after the machine. */
  readonly complain: (sentence: string) => void;
  /** Whether a signal has told the machine to end. */
  readonly toldToEnd: () => boolean;
}

const buffer = new Uint8Array(4096);

export class Desk implements Term {
  readonly #options: DeskOptions;
  readonly #clients = new Set<Client>();
  readonly #asked = new Set<Session>();
  #killAtMs = Number.POSITIVE_INFINITY;
  #host: Host | undefined;

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  /** From now on commands are answered. */
  open(host: Host): void {
    this.#host = host;
    const { standing, watcher } = this.#options;
    watcher.add(standing.listener, () => this.#acceptAll());
  }

  /** The machine was told to end, and everybody has gone or was given enough time. */
  isOver(host: Host): boolean {
    if (this.#killAtMs === Number.POSITIVE_INFINITY) {
      if (!this.#options.toldToEnd()) return false;
      this.#end(host, DEFAULT_GRACE_MS);
    }
    const now = performance.now();
    const late = now >= this.#killAtMs;
    let processes = 0;
    for (const session of host.connections) {
      processes++;
      if (late) signalProcess(session.pidfd, constants.signals.SIGKILL);
      else if (!this.#asked.has(session)) this.#ask(session);
    }
    if (processes === 0 && host.files.count === 0) return true;
    if (now < this.#killAtMs + AFTER_KILL_MS) return false;
    this.#options.complain(`ends although processes that it does not know hold device files: ${host.files.count}`);
    return true;
  }

  askAgainAtMs(): number {
    const now = performance.now();
    return now < this.#killAtMs ? this.#killAtMs : now + 50;
  }

  /** Programs are asked to end, and killed when they have not by then. Returns how many processes there are. */
  #end(host: Host, graceMs: number): number {
    this.#killAtMs = Math.min(this.#killAtMs, performance.now() + graceMs);
    for (const { program } of this.#clients)
      program?.gate.complain(`machine ${this.#options.standing.name} is being ended, and its programs with it`);
    const sessions = [...host.connections];
    for (const session of sessions) this.#ask(session);
    return sessions.length;
  }

  /** A stopped process would not hear it. */
  #ask(session: Session): void {
    this.#asked.add(session);
    signalProcess(session.pidfd, constants.signals.SIGTERM);
    signalProcess(session.pidfd, constants.signals.SIGCONT);
  }

  #acceptAll(): void {
    const { standing, watcher } = this.#options;
    for (let fd = accept(standing.listener); fd !== undefined; fd = accept(standing.listener)) {
      const { pid, uid } = peerOf(fd);
      const refusal = !isSpare(fd)
        ? `machine ${standing.name} has no descriptors left`
        : uid !== process.geteuid!()
          ? `machine ${standing.name} belongs to another user`
          : undefined;
      if (refusal !== undefined) {
        send(fd, line({ refused: refusal }));
        close(fd);
        continue;
      }
      const client = { fd, pid, lines: new Lines(), program: undefined };
      this.#clients.add(client);
      watcher.add(fd, () => this.#listenTo(client));
    }
  }

  #listenTo(client: Client): void {
    for (let got = receive(client.fd, buffer); got !== undefined; got = receive(client.fd, buffer)) {
      for (const fd of got.descriptors) close(fd);
      if (got.lengthBytes === 0) return this.#forget(client);
      const lines = client.lines.take(buffer.subarray(0, got.lengthBytes));
      if (lines === undefined) return this.#forget(client);
      for (const text of lines) {
        const request = parseRequest(text);
        if (request === undefined) this.#tell(client, { refused: 'this is no request' });
        else this.#handle(client, request);
        if (!this.#clients.has(client)) return;
      }
    }
  }

  #handle(client: Client, request: Request): void {
    const host = this.#host!;
    switch (request.ask) {
      case 'status':
        this.#tell(client, { status: this.#status(host) });
        break;
      case 'join':
        this.#join(host, client, request.protocol, request.command);
        break;
      case 'leave':
        client.program = undefined;
        break;
      case 'down':
        this.#tell(client, { ending: this.#end(host, request.graceMs) });
        break;
    }
  }

  #status(host: Host): Status {
    // What was let go of a moment ago is not in use.
    host.sweep();
    const { pages, freePages, backingPages, enclaves } = host.machine.kernel.usage();
    const { name, since } = this.#options.standing;
    return {
      name,
      pid: process.pid,
      since,
      cpu: host.machine.processor.profile.name,
      epcPages: pages,
      epcPagesInUse: pages - freePages,
      evictedPages: backingPages,
      processes: [...host.connections].length,
      enclaves,
      programs: [...this.#clients].flatMap(({ pid, program }) =>
        program === undefined ? [] : [{ pid, command: program.command }],
      ),
    };
  }

  #join(host: Host, client: Client, protocol: number, command: readonly string[]): void {
    const { name } = this.#options.standing;
    const refuse = (why: string): void => this.#tell(client, { refused: `machine ${name} ${why}` });
    if (this.#killAtMs !== Number.POSITIVE_INFINITY) return refuse('is being ended');
    if (protocol !== PROTOCOL_VERSION)
      return refuse(`runs another version of Vitrine; end it with \`vitrine machine down ${name}\` and start it again`);
    if (client.program !== undefined) return refuse('has this program already');
    const [ours, programs] = socketPair();
    if (!isSpare(programs)) {
      close(ours);
      close(programs);
      return refuse('has no descriptors left');
    }
    const gate: Gate = {
      fd: ours,
      complain: (sentence) => {
        this.#options.complain(sentence);
        this.#tell(client, { say: sentence });
      },
    };
    host.connections.open(gate);
    client.program = { gate, command };
    this.#tell(client, { joined: true }, programs);
    close(programs);
    const args = { command: command.join(' ') };
    if (host.trace.on) host.trace.emit({ kind: 'note', pid: client.pid, name: 'join', args, text: 'a program joins' });
  }

  /** A command that does not read what it is told is none: its program ends, as when it is killed. */
  #tell(client: Client, answer: Answer, descriptor?: number): void {
    if (this.#clients.has(client) && send(client.fd, line(answer), descriptor) !== 'sent') this.#forget(client);
  }

  #forget(client: Client): void {
    if (!this.#clients.delete(client)) return;
    this.#options.watcher.remove(client.fd);
    close(client.fd);
    if (client.program !== undefined) this.#host!.connections.shut(client.program.gate);
  }
}
