/** Ordinary memory of a virtual process: pages in a map, with what the kernel model asks of them. */
import type { UserMemory } from '../../src/kernel/ports.ts';
import { PAGE_SIZE_BYTES, pageOf, type UserAddr } from '../../src/lib/units.ts';

interface MemoryPage {
  readonly bytes: Uint8Array;
  readonly mayExec: boolean;
  readable: boolean;
  writable: boolean;
}

export class VirtualMemory implements UserMemory {
  readonly #pages = new Map<number, MemoryPage>();
  #nextAddress = 0x1000_0000;

  /** Fresh zero pages somewhere; returns their address. */
  allocate(lengthBytes: number, { mayExec = true, gapPages = 1 } = {}): number {
    const address = this.#nextAddress;
    const pages = Math.ceil(lengthBytes / PAGE_SIZE_BYTES);
    this.map(address, lengthBytes, { mayExec });
    this.#nextAddress += (pages + gapPages) * PAGE_SIZE_BYTES;
    return address;
  }

  /** Fresh zero pages at an address, in place of whatever is there. */
  map(address: number, lengthBytes: number, { mayExec = true, readable = true, writable = true } = {}): void {
    for (let page = pageOf(address); page < pageOf(address + lengthBytes + PAGE_SIZE_BYTES - 1); page++) {
      this.#pages.set(page, { bytes: new Uint8Array(PAGE_SIZE_BYTES), mayExec, readable, writable });
    }
  }

  /** Fresh pages holding `bytes`; returns their address. */
  put(bytes: Uint8Array): number {
    const address = this.allocate(bytes.length);
    this.write(address as UserAddr, bytes);
    return address;
  }

  protect(address: number, rights: { readable?: boolean; writable?: boolean }): void {
    Object.assign(this.#pages.get(pageOf(address))!, rights);
  }

  unmap(address: number, lengthBytes: number): void {
    for (let at = 0; at < lengthBytes; at += PAGE_SIZE_BYTES) this.#pages.delete(pageOf(address + at));
  }

  /** find_vma and VM_MAYEXEC. */
  mayExec(address: number): boolean | undefined {
    const above = [...this.#pages.keys()].filter((page) => page >= pageOf(address));
    return above.length === 0 ? undefined : this.#pages.get(Math.min(...above))!.mayExec;
  }

  copy(): VirtualMemory {
    const copy = new VirtualMemory();
    for (const [page, entry] of this.#pages) copy.#pages.set(page, { ...entry, bytes: entry.bytes.slice() });
    copy.#nextAddress = this.#nextAddress;
    return copy;
  }

  read(address: UserAddr, into: Uint8Array): number {
    return this.#walk(address, into.length, (page, offset, done, length) => {
      if (!page.readable) return false;
      into.set(page.bytes.subarray(offset, offset + length), done);
      return true;
    });
  }

  write(address: UserAddr, bytes: Uint8Array): number {
    return this.#walk(address, bytes.length, (page, offset, done, length) => {
      if (!page.writable) return false;
      page.bytes.set(bytes.subarray(done, done + length), offset);
      return true;
    });
  }

  #walk(
    address: number,
    lengthBytes: number,
    visit: (page: MemoryPage, offset: number, done: number, length: number) => boolean,
  ): number {
    let done = 0;
    while (done < lengthBytes) {
      const page = this.#pages.get(pageOf(address + done));
      const offset = (address + done) % PAGE_SIZE_BYTES;
      const length = Math.min(lengthBytes - done, PAGE_SIZE_BYTES - offset);
      if (page === undefined || !visit(page, offset, done, length)) break;
      done += length;
    }
    return done;
  }
}
