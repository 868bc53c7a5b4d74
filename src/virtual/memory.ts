/** Ordinary memory of a virtual process: pages in a map, with what the kernel model asks of them. */
import { Prot } from '../abi/linux.ts';
import type { UserMemory } from '../kernel/ports.ts';
import { addressOf, linPage, PAGE_SIZE_BYTES, pageOf, userAddr } from '../lib/units.ts';

interface MemoryPage {
  readonly bytes: Uint8Array;
  /** VM_MAYEXEC. */
  readonly mayExec: boolean;
  prot: number;
}

const { PROT_READ, PROT_WRITE, PROT_EXEC } = Prot.bit;
const READABLE = PROT_READ | PROT_WRITE | PROT_EXEC;

export class VirtualMemory implements UserMemory {
  readonly #pages = new Map<number, MemoryPage>();
  #nextAddress = 0x1000_0000;

  /** Fresh zero pages somewhere, with an unmapped one behind; returns their address. */
  allocate(lengthBytes: number, { mayExec = true } = {}): number {
    const address = this.#nextAddress;
    this.map(address, lengthBytes, { mayExec });
    this.#nextAddress = addressOf(endOf(address, lengthBytes)) + PAGE_SIZE_BYTES;
    return address;
  }

  /** Fresh pages holding `bytes`; returns their address. */
  put(bytes: Uint8Array): number {
    const address = this.allocate(bytes.length);
    this.write(address, bytes);
    return address;
  }

  /** Fresh zero pages at an address, in place of whatever is there. */
  map(address: number, lengthBytes: number, { mayExec = true, prot = PROT_READ | PROT_WRITE } = {}): void {
    for (let page = pageOf(address); page < endOf(address, lengthBytes); page = linPage(page + 1)) {
      this.#pages.set(page, { bytes: new Uint8Array(PAGE_SIZE_BYTES), mayExec, prot });
    }
  }

  unmap(address: number, lengthBytes: number): void {
    if (this.#pages.size === 0) return;
    for (let page = pageOf(address); page < endOf(address, lengthBytes); page = linPage(page + 1))
      this.#pages.delete(page);
  }

  overlaps(address: number, lengthBytes: number): boolean {
    for (let page = pageOf(address); page < endOf(address, lengthBytes); page = linPage(page + 1)) {
      if (this.#pages.has(page)) return true;
    }
    return false;
  }

  /** Up to the first page that is not there; whether there was none. */
  protect(address: number, lengthBytes: number, prot: number): boolean {
    for (let page = pageOf(address); page < endOf(address, lengthBytes); page = linPage(page + 1)) {
      const entry = this.#pages.get(page);
      if (entry === undefined) return false;
      entry.prot = prot;
    }
    return true;
  }

  /** mremap, fresh pages where it grows; false when the old range has a hole. */
  move(address: number, oldBytes: number, to: number, newBytes: number): boolean {
    const moved: MemoryPage[] = [];
    for (let page = pageOf(address); page < endOf(address, oldBytes); page = linPage(page + 1)) {
      const entry = this.#pages.get(page);
      if (entry === undefined) return false;
      moved.push(entry);
    }
    this.unmap(address, oldBytes);
    const [first] = moved;
    this.map(to, newBytes, first);
    for (const [i, entry] of moved.slice(0, endOf(to, newBytes) - pageOf(to)).entries())
      this.#pages.set(pageOf(to) + i, entry);
    return true;
  }

  /** find_vma and VM_MAYEXEC. */
  mayExec(address: number): boolean | undefined {
    const wanted = pageOf(address);
    const exact = this.#pages.get(wanted);
    if (exact !== undefined) return exact.mayExec;
    let next = Infinity;
    for (const page of this.#pages.keys()) if (page > wanted && page < next) next = page;
    return this.#pages.get(next)?.mayExec;
  }

  /** The protection of a page; undefined when none is mapped. */
  protOf(address: number): number | undefined {
    return this.#pages.get(pageOf(address))?.prot;
  }

  copy(): VirtualMemory {
    const copy = new VirtualMemory();
    for (const [page, entry] of this.#pages) copy.#pages.set(page, { ...entry, bytes: entry.bytes.slice() });
    copy.#nextAddress = this.#nextAddress;
    return copy;
  }

  read(address: number, into: Uint8Array): number {
    return this.#walk(address, into.length, READABLE, (page, offset, done, length) => {
      into.set(page.bytes.subarray(offset, offset + length), done);
    });
  }

  write(address: number, bytes: Uint8Array): number {
    return this.#walk(address, bytes.length, PROT_WRITE, (page, offset, done, length) => {
      page.bytes.set(bytes.subarray(done, done + length), offset);
    });
  }

  #walk(
    address: number,
    lengthBytes: number,
    needed: number,
    visit: (page: MemoryPage, offset: number, done: number, length: number) => void,
  ): number {
    let done = 0;
    while (done < lengthBytes) {
      const page = this.#pages.get(pageOf(address + done));
      const offset = (address + done) % PAGE_SIZE_BYTES;
      const length = Math.min(lengthBytes - done, PAGE_SIZE_BYTES - offset);
      if (page === undefined || (page.prot & needed) === 0) break;
      visit(page, offset, done, length);
      done += length;
    }
    return done;
  }
}

const endOf = (address: number, lengthBytes: number) => pageOf(userAddr(address + lengthBytes + PAGE_SIZE_BYTES - 1));
