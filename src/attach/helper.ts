/**
 * The machine's second thread: it hashes what is measured and writes contents of pages, while the machine's own goes on
 * to the next pages.
 *
 * Spec: docs/adr/0004-measurement-in-a-thread.md.
 */
import { Worker } from 'node:worker_threads';
import type { Sha256 } from '../processor/ports.ts';
import { PAGE_SIZE_BYTES } from '../lib/units.ts';
import { localSha256 } from '../processor/measurement.ts';
import { BUFFERS, HelperRing } from './helper-ring.ts';
import { OwnWriter, type PageWriter } from './page-writer.ts';

/** Writes by the thread while it has little else to do. */
class SharedWriter implements PageWriter {
  readonly #ring: HelperRing;
  readonly #own = new OwnWriter();
  /** The last write from each buffer. */
  readonly #lastWrites = Array.from({ length: BUFFERS }, () => 0);
  #current = 0;
  #last = 0;

  constructor(ring: HelperRing) {
    this.#ring = ring;
  }

  lend(pages: number): Uint8Array {
    if (!this.#ring.isServed) return this.#own.lend(pages);
    this.#current = (this.#current + 1) % BUFFERS;
    this.#ring.waitForWrite(this.#lastWrites[this.#current]!);
    return this.#ring.buffer(this.#current).subarray(0, pages * PAGE_SIZE_BYTES);
  }

  write(fd: number, bytes: Uint8Array, position: number): void {
    if (bytes.buffer !== this.#ring.memory || this.#ring.isBusy) this.#own.write(fd, bytes, position);
    else this.#lastWrites[this.#current] = this.#last = this.#ring.write(fd, bytes, position);
  }

  settle(): void {
    this.#ring.waitForWrite(this.#last);
  }
}

/** A hash by the thread, laid out where the thread reads it. */
class SharedSha256 implements Sha256 {
  readonly #ring: HelperRing;
  readonly #number: number;
  #held: Uint8Array | undefined;

  constructor(ring: HelperRing, number: number) {
    this.#ring = ring;
    this.#number = number;
  }

  room(): Uint8Array | undefined {
    return (this.#held ??= this.#ring.hold());
  }

  update(bytes: Uint8Array): void {
    if (bytes.buffer === this.#held?.buffer) this.#held = undefined;
    this.#ring.update(this.#number, bytes);
  }

  digest(): Uint8Array {
    return this.#ring.digest(this.#number);
  }

  end(): void {
    if (this.#held !== undefined) this.#ring.letGo(this.#held);
    this.#held = undefined;
    this.#ring.end(this.#number);
  }
}

/** The thread for the machine: what comes before it is up is done in the caller's. */
export class Helper {
  readonly #ring = new HelperRing();
  readonly writer: PageWriter = new SharedWriter(this.#ring);
  #nextHash = 1;

  constructor() {
    const worker = new Worker(new URL(`helper.worker${import.meta.url.slice(-3)}`, import.meta.url), {
      workerData: this.#ring.memory,
    });
    worker.unref();
  }

  readonly createSha256 = (): Sha256 => {
    if (!this.#ring.isServed) return localSha256();
    return new SharedSha256(this.#ring, this.#nextHash++);
  };
}
