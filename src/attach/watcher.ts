/** The descriptors that the machine's thread waits for, each with what is to be done when it can be read. */
import { Waiter } from './linux/events.ts';

export class Watcher {
  readonly #waiter = new Waiter();
  readonly #onReadable = new Map<number, () => void>();

  /** @param onReadable also called when the other end has gone */
  add(fd: number, onReadable: () => void): void {
    this.#onReadable.set(fd, onReadable);
    this.#waiter.add(fd);
  }

  /** Before the descriptor is closed. */
  remove(fd: number): void {
    this.#onReadable.delete(fd);
    this.#waiter.remove(fd);
  }

  /** Does what is to be done, waiting up to `timeoutMs` for something (-1 = for ever). */
  poll(timeoutMs: number): void {
    for (const fd of this.#waiter.wait(timeoutMs)) this.#onReadable.get(fd)?.();
  }
}
