/** Waiting: epoll, eventfd, and waking threads of other processes by futex. */
import { Errno } from '../../lib/errno.ts';
import { declare, declareChecked, HostError, lastErrno } from './library.ts';

const epollCreate1 = declareChecked('int epoll_create1(int)');
const epollCtl = declareChecked('int epoll_ctl(int, int, int, void *)');
const epollWait = declare('int epoll_wait(int, void *, int, int)');
const eventfdCall = declareChecked('int eventfd(uint, int)');
const futexCall = declare('long syscall(long, int64, int, int, int64, int64, int)');

const EPOLL_CLOEXEC = 0o2000000;
const EFD_CLOEXEC_NONBLOCK = 0o2004000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLIN = 1;
const EPOLL_EVENT_BYTES = 12;
const MAX_EVENTS = 64;
const SYS_futex = 202;
const FUTEX_WAKE = 1;

/** The descriptors one thread waits for. */
export class Waiter {
  readonly #fd = epollCreate1(EPOLL_CLOEXEC);
  readonly #events = new Uint8Array(MAX_EVENTS * EPOLL_EVENT_BYTES);
  readonly #view = new DataView(this.#events.buffer);

  /** Readable or hung up. */
  add(fd: number): void {
    const event = new Uint8Array(EPOLL_EVENT_BYTES);
    const view = new DataView(event.buffer);
    view.setUint32(0, EPOLLIN, true);
    view.setInt32(4, fd, true);
    epollCtl(this.#fd, EPOLL_CTL_ADD, fd, event);
  }

  /** Before a descriptor is closed: what others share would still be watched, under a number that is somebody else's. */
  remove(fd: number): void {
    epollCtl(this.#fd, EPOLL_CTL_DEL, fd, null);
  }

  /** Descriptors with something to read; none after `timeoutMs` (-1 = never). */
  wait(timeoutMs: number): number[] {
    const count = epollWait(this.#fd, this.#events, MAX_EVENTS, timeoutMs);
    if (count === -1) {
      if (lastErrno() === Errno.EINTR) return [];
      throw new HostError('epoll_wait', lastErrno());
    }
    return Array.from({ length: count }, (_, index) => this.#view.getInt32(index * EPOLL_EVENT_BYTES + 4, true));
  }
}

export const createEventfd = (): number => eventfdCall(0, EFD_CLOEXEC_NONBLOCK);

/** Wakes the thread that sleeps on this word of shared memory. */
export function futexWake(address: number): void {
  futexCall(SYS_futex, address, FUTEX_WAKE, 1, 0, 0, 0);
}
