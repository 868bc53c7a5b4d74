/** The commands' side of a standing machine: asking it something, and joining it. */
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Attachment } from '../launch.ts';
import { inheritedDescriptors } from '../inherited.ts';
import { close } from '../linux/files.ts';
import { receive, send } from '../linux/sockets.ts';
import { NameError } from './errors.ts';
import { connectToMachine, unresponsive } from './place.ts';
import { AFTER_KILL_MS, joinRequest, line, Lines, type Answer, type Request, type Status } from './protocol.ts';

/** How long a machine may take to answer: it does so between requests of programs. */
const PATIENCE_MS = 5000;
const LOOK_EVERY_MS = 2;

interface Answered {
  readonly answer: Answer;
  readonly descriptors: readonly number[];
}

/** Sends a request and waits for the answer. Throws a NameError when the machine refuses, or says nothing. */
async function ask(socket: number, name: string, request: Request, patienceMs = PATIENCE_MS): Promise<Answered> {
  const silent = (): NameError => new NameError(unresponsive(name));
  if (send(socket, line(request)) !== 'sent') throw silent();
  const giveUpAt = performance.now() + patienceMs;
  const buffer = new Uint8Array(4096);
  const lines = new Lines();
  const descriptors: number[] = [];
  while (performance.now() < giveUpAt) {
    const got = receive(socket, buffer);
    if (got === undefined) {
      await sleep(LOOK_EVERY_MS);
      continue;
    }
    if (got.lengthBytes === 0) throw new NameError(`machine ${name} has ended`);
    descriptors.push(...got.descriptors);
    const text = lines.take(buffer.subarray(0, got.lengthBytes))?.[0];
    if (text === undefined) continue;
    const answer = JSON.parse(text) as Answer;
    if ('refused' in answer) throw new NameError(answer.refused);
    return { answer, descriptors };
  }
  throw silent();
}

/** Throws a NameError or a StateError. */
export async function statusOf(name: string, patienceMs?: number): Promise<Status> {
  const socket = connectToMachine(name);
  try {
    const { answer } = await ask(socket, name, { ask: 'status' }, patienceMs);
    if ('status' in answer) return answer.status;
    throw new NameError(unresponsive(name));
  } finally {
    close(socket);
  }
}

/**
 * Ends a machine and waits until it has. Throws a NameError or a StateError.
 * @param onEnding told how many processes were asked to end
 */
export async function endMachine(name: string, graceMs: number, onEnding: (processes: number) => void): Promise<void> {
  const fd = connectToMachine(name);
  const { answer } = await ask(fd, name, { ask: 'down', graceMs });
  if ('ending' in answer) onEnding(answer.ending);
  // The connection ends with the machine's process.
  const socket = new Socket({ fd }).resume();
  const gone = new Promise<true>((resolve) => {
    socket.once('close', () => resolve(true)).on('error', () => {});
  });
  if (await Promise.race([gone, sleep(graceMs + AFTER_KILL_MS + PATIENCE_MS, false)])) return;
  throw new NameError(unresponsive(name));
}

/** A place in a standing machine for one program. */
export class Joined implements Attachment {
  readonly inherited: Attachment['inherited'];
  readonly ready: Promise<number>;
  readonly ended: Promise<void>;
  readonly #socket: Socket;
  readonly #gate: number;

  private constructor(inherited: Attachment['inherited'], fd: number, gate: number, say: (sentence: string) => void) {
    this.inherited = inherited;
    this.#gate = gate;
    this.ready = Promise.resolve(gate);
    this.#socket = new Socket({ fd });
    const lines = new Lines();
    this.#socket.on('data', (bytes) => {
      for (const text of lines.take(bytes) ?? []) {
        const answer = JSON.parse(text) as Answer;
        if ('say' in answer) say(answer.say);
      }
    });
    this.ended = new Promise((resolve) => {
      // Left, or abandoned: the machine may be gone, or stopped.
      this.#socket.once('finish', resolve).once('close', resolve);
    });
    this.#socket.on('error', () => {});
  }

  /**
   * Throws a NameError or a StateError.
   * @param say gets what the machine has to tell the person who started the program
   */
  static async join(name: string, command: readonly string[], say: (sentence: string) => void): Promise<Joined> {
    // Before there is anything of our own.
    const inherited = inheritedDescriptors();
    const fd = connectToMachine(name);
    const { answer, descriptors } = await ask(fd, name, joinRequest(command));
    if (!('joined' in answer) || descriptors.length !== 1) throw new NameError(unresponsive(name));
    return new Joined(inherited, fd, descriptors[0]!, say);
  }

  /** The program has the gate now; ours would tell the machine that it lives. */
  started(): void {
    close(this.#gate);
  }

  mainEnded(): void {
    this.#socket.end(line({ ask: 'leave' }));
  }
}
