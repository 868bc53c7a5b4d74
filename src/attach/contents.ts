/**
 * EPC contents in memfds, one per enclave, the offset being the linear address. What is absent is a hole: a touch of
 * it in a target comes to us. Writes and drops of consecutive pages are collected into one system call each, and
 * `flush` makes them visible: before an answer, before a thread is kicked, before anything else is done here.
 *
 * Spec: docs/design.md, "Who owns what".
 */
import { STUB_DEVICE_FILE_BYTES } from '../abi/stub.ts';
import type { EpcContents } from '../processor/ports.ts';
import { PAGE_SIZE_BYTES, type EpcIndex, type LinPage } from '../lib/units.ts';
import { createPipe, pread, punchHole, pwrite, read, spliceToPipe } from './linux/files.ts';
import { expectWhole, OwnWriter, type PageWriter } from './page-writer.ts';

const STAGE_PAGES = 256;
const zeroPage = new Uint8Array(PAGE_SIZE_BYTES);

type Pending = 'nothing' | 'writes' | 'drops';

export class MemfdContents implements EpcContents {
  readonly #fdOf: (secs: EpcIndex) => number;
  readonly #pipe = createPipe();
  readonly #stage = new Uint8Array(STAGE_PAGES * PAGE_SIZE_BYTES);
  readonly #writer: PageWriter;
  #lent: Uint8Array = new Uint8Array(0);
  /** What has been asked for and not yet done: consecutive pages of one file. */
  #pending: Pending = 'nothing';
  /** Where the bytes to write are, from `#sourceOffset`: in #stage, or where the caller got them from `lend`. */
  #source: Uint8Array = this.#stage;
  #sourceOffset = 0;
  #fd = -1;
  #firstPage = 0;
  #endPage = 0;

  /** @param fdOf the content memfd of the enclave with this SECS */
  constructor(fdOf: (secs: EpcIndex) => number, writer: PageWriter = new OwnWriter()) {
    this.#fdOf = fdOf;
    this.#writer = writer;
  }

  lend(pages: number): Uint8Array {
    this.#carryOut();
    return (this.#lent = this.#writer.lend(pages));
  }

  fill(secs: EpcIndex, page: LinPage, bytes: Uint8Array): void {
    const fd = this.#fdOf(secs);
    const lent = bytes.buffer === this.#lent.buffer;
    const lentAt = bytes.byteOffset - this.#lent.byteOffset;
    const source = lent ? this.#lent : this.#stage;
    let at = this.#sourceOffset + (page - this.#firstPage) * PAGE_SIZE_BYTES;
    const fits = source === this.#source && (lent ? at === lentAt : at < source.length);
    if (!fits || !this.#continues('writes', fd, page)) {
      this.#carryOut();
      this.#start('writes', fd, page);
      this.#source = source;
      this.#sourceOffset = at = lent ? lentAt : 0;
    }
    if (!lent) source.set(bytes, at);
    this.#endPage = page + 1;
  }

  fillZero(secs: EpcIndex, page: LinPage): void {
    this.fill(secs, page, zeroPage);
  }

  read(secs: EpcIndex, page: LinPage, offset: number, into: Uint8Array): void {
    const fd = this.#fdOf(secs);
    if (this.#pending === 'writes' && fd === this.#fd && page >= this.#firstPage && page < this.#endPage) {
      const start = this.#sourceOffset + (page - this.#firstPage) * PAGE_SIZE_BYTES + offset;
      into.set(this.#source.subarray(start, start + into.length));
      return;
    }
    this.flush();
    expectWhole('pread', pread(fd, into, page * PAGE_SIZE_BYTES + offset), into.length);
  }

  write(secs: EpcIndex, page: LinPage, offset: number, bytes: Uint8Array): void {
    this.flush();
    expectWhole('pwrite', pwrite(this.#fdOf(secs), bytes, page * PAGE_SIZE_BYTES + offset), bytes.length);
  }

  /**
   * The page itself moves into the pipe, then every mapping loses it, then the pipe is read: what is read includes
   * every write up to that loss, in all processes, with no help of theirs.
   */
  take(secs: EpcIndex, page: LinPage): Uint8Array {
    this.flush();
    const fd = this.#fdOf(secs);
    const position = page * PAGE_SIZE_BYTES;
    const bytes = new Uint8Array(PAGE_SIZE_BYTES);
    expectWhole('splice', spliceToPipe(fd, position, this.#pipe.writeFd, PAGE_SIZE_BYTES), PAGE_SIZE_BYTES);
    punchHole(fd, position, PAGE_SIZE_BYTES);
    expectWhole('read', read(this.#pipe.readFd, bytes), PAGE_SIZE_BYTES);
    return bytes;
  }

  drop(secs: EpcIndex, page: LinPage): void {
    const fd = this.#fdOf(secs);
    if (!this.#continues('drops', fd, page)) {
      this.flush();
      this.#start('drops', fd, page);
    }
    this.#endPage = page + 1;
  }

  dropAll(secs: EpcIndex): void {
    this.flush();
    punchHole(this.#fdOf(secs), 0, STUB_DEVICE_FILE_BYTES);
  }

  /** Does what is pending, and waits until it is done. */
  flush(): void {
    this.#carryOut();
    this.#writer.settle();
  }

  #carryOut(): void {
    const pending = this.#pending;
    if (pending === 'nothing') return;
    this.#pending = 'nothing';
    const position = this.#firstPage * PAGE_SIZE_BYTES;
    const lengthBytes = (this.#endPage - this.#firstPage) * PAGE_SIZE_BYTES;
    if (pending === 'drops') punchHole(this.#fd, position, lengthBytes);
    else this.#write(position, lengthBytes);
  }

  #write(position: number, lengthBytes: number): void {
    const bytes = this.#source.subarray(this.#sourceOffset, this.#sourceOffset + lengthBytes);
    this.#writer.write(this.#fd, bytes, position);
  }

  #continues(kind: Pending, fd: number, page: LinPage): boolean {
    return this.#pending === kind && this.#fd === fd && this.#endPage === page;
  }

  #start(kind: Pending, fd: number, page: LinPage): void {
    this.#pending = kind;
    this.#fd = fd;
    this.#firstPage = page;
  }
}
