/** The machine's thread, seen from the command's. Started as early as possible, because it takes the longest. */
import { writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { inheritedDescriptors } from './inherited.ts';
import type { Attachment } from './launch.ts';
import { MAIN_ENDED, type MachineOrder, type MachineReady, type MachineThreadData } from './protocol.ts';

export class MachineThread implements Attachment {
  /** What we had before this thread opened anything of its own. */
  readonly inherited = inheritedDescriptors();
  readonly ready: Promise<number>;
  readonly ended: Promise<void>;
  readonly #worker: Worker;
  readonly #control = new SharedArrayBuffer(4);
  #wakeUp: number | undefined;

  constructor() {
    const workerData: MachineThreadData = { control: this.#control };
    // `.ts` in a clone, `.js` in a package.
    this.#worker = new Worker(new URL(`machine.worker${import.meta.url.slice(-3)}`, import.meta.url), {
      workerData,
      // Most descriptors there come from system calls that Node does not know of.
      trackUnmanagedFds: false,
    });
    // A command line that is refused ends the process without waiting for it.
    this.#worker.unref();
    this.ended = new Promise((resolve, reject) => {
      this.#worker.once('exit', () => resolve());
      this.#worker.once('error', reject);
    });
    this.ready = new Promise<number>((resolve, reject) => {
      this.#worker.once('message', ({ gate, wakeUp }: MachineReady) => {
        this.#wakeUp = wakeUp;
        resolve(gate);
      });
      this.ended.catch(reject);
    });
    // Whoever launches looks at it; a command line that is refused does not.
    this.ready.catch(() => {});
  }

  /**
   * Comes before the end of a process that launches nothing after all: Node aborts, with a stack trace, when it ends
   * while a thread of it loads a native module.
   */
  async settle(): Promise<void> {
    this.#worker.ref();
    await this.ready.catch(() => {});
    this.#worker.unref();
  }

  /** Makes it this machine. */
  order(order: MachineOrder): void {
    this.#worker.ref();
    this.#worker.postMessage(order);
  }

  /** Our copy of the gate stays: the machine ends when it is told to, not with the last process that has it. */
  started(): void {}

  /** The machine stays only for those who still hold a device; a standing one ends, and its programs with it. */
  mainEnded(): void {
    Atomics.store(new Int32Array(this.#control), MAIN_ENDED, 1);
    if (this.#wakeUp !== undefined) writeSync(this.#wakeUp, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]));
  }
}
