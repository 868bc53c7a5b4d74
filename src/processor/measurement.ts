/**
 * MRENCLAVE while it grows: SHA-256 over the 64-byte blocks that ECREATE, EADD and EEXTEND add.
 * Spec: SDM "MRENCLAVE" and the operation sections of the three leaves.
 */
import { createHash } from 'node:crypto';

import { PAGE_SIZE_BYTES } from '../lib/units.ts';

export const EEXTEND_CHUNK_BYTES = 256;
const BLOCK_BYTES = 64;
const BLOCK_WORDS = BLOCK_BYTES / 4;
const CHUNK_WORDS = EEXTEND_CHUNK_BYTES / 4;
const CHUNKS_PER_PAGE = PAGE_SIZE_BYTES / EEXTEND_CHUNK_BYTES;
const EXTENDED_PAGE_WORDS = CHUNKS_PER_PAGE * (BLOCK_WORDS + CHUNK_WORDS);
/** Bytes hashed for a page that is added and measured in full. */
export const MEASURED_PAGE_BYTES = BLOCK_BYTES + EXTENDED_PAGE_WORDS * 4;
// One call into the hash per so many pages: a call costs as much as half a kilobyte of hashing, and this still fits L2.
const STAGED_WORDS = (8 * MEASURED_PAGE_BYTES) / 4;

const TAG_ECREATE = tag('ECREATE');
const TAG_EADD = tag('EADD');
const TAG_EEXTEND = tag('EEXTEND');

export class Measurement {
  readonly #hash = createHash('sha256');
  readonly #words = new Uint32Array(STAGED_WORDS);
  readonly #bytes = new Uint8Array(this.#words.buffer);
  #used = 0; // words

  /** "ECREATE", SSAFRAMESIZE in pages, SIZE in bytes. */
  create(ssaFrameSizePages: number, sizeBytes: number): void {
    const at = this.#block(TAG_ECREATE);
    this.#words[at + 2] = ssaFrameSizePages;
    this.#words[at + 3] = sizeBytes;
    this.#words[at + 4] = sizeBytes / 2 ** 32;
  }

  /** "EADD", the page's offset from the enclave base, the first 48 bytes of SECINFO (all but the flags are zero). */
  add(offset: number, secInfoFlags: number): void {
    const at = this.#block(TAG_EADD);
    this.#words[at + 2] = offset;
    this.#words[at + 3] = offset / 2 ** 32;
    this.#words[at + 4] = secInfoFlags;
  }

  /** "EEXTEND", the chunk's offset from the enclave base, then its 256 bytes. */
  extend(offset: number, chunk: Uint8Array): void {
    this.#reserve(BLOCK_WORDS + CHUNK_WORDS);
    this.#extendHeader(offset);
    this.#bytes.set(chunk, this.#used * 4);
    this.#used += CHUNK_WORDS;
  }

  /** Sixteen `extend`s in order. */
  extendPage(offset: number, page: Uint8Array): void {
    this.#reserve(EXTENDED_PAGE_WORDS);
    if (page.byteOffset % 4 !== 0) {
      for (let at = 0; at < PAGE_SIZE_BYTES; at += EEXTEND_CHUNK_BYTES) {
        this.extend(offset + at, page.subarray(at, at + EEXTEND_CHUNK_BYTES));
      }
      return;
    }
    // A loop over words beats sixteen calls of `set`, each of which needs a subarray.
    const source = new Uint32Array(page.buffer, page.byteOffset, PAGE_SIZE_BYTES / 4);
    const words = this.#words;
    for (let from = 0; from < source.length; from += CHUNK_WORDS) {
      this.#extendHeader(offset + from * 4);
      const to = this.#used;
      for (let i = 0; i < CHUNK_WORDS; i++) words[to + i] = source[from + i]!;
      this.#used = to + CHUNK_WORDS;
    }
  }

  /** The digest of everything so far, 32 bytes; the measurement can go on afterwards. About 3 us. */
  current(): Uint8Array {
    this.#flush();
    return this.#hash.copy().digest();
  }

  #extendHeader(offset: number): void {
    const at = this.#block(TAG_EEXTEND);
    this.#words[at + 2] = offset;
    this.#words[at + 3] = offset / 2 ** 32;
  }

  /** Starts a block of zeros with a tag; returns where it is. */
  #block(words: readonly [number, number]): number {
    this.#reserve(BLOCK_WORDS);
    const at = this.#used;
    this.#words[at] = words[0];
    this.#words[at + 1] = words[1];
    for (let i = 2; i < BLOCK_WORDS; i++) this.#words[at + i] = 0;
    this.#used = at + BLOCK_WORDS;
    return at;
  }

  #reserve(words: number): void {
    if (this.#used + words > STAGED_WORDS) this.#flush();
  }

  #flush(): void {
    this.#hash.update(this.#bytes.subarray(0, this.#used * 4));
    this.#used = 0;
  }
}

/** The first eight bytes of a block as two words. */
function tag(name: string): readonly [number, number] {
  const bytes = Buffer.alloc(8);
  bytes.write(name, 'latin1');
  return [bytes.readUInt32LE(0), bytes.readUInt32LE(4)];
}
