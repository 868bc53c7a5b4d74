/**
 * Where evicted pages are kept: sealed bytes, PCMD and version slot. One store for the machine, in slabs.
 * Model: Linux has a shmem file per enclave; ours is the host's memory, whose order nobody can see.
 */
import { PAGE_SIZE_BYTES } from '../lib/units.ts';

const PCMD_BYTES = 128;
const RECORD_BYTES = PAGE_SIZE_BYTES + PCMD_BYTES;
const SLAB_PAGES = 256;

export interface BackedPage {
  /** 4096 bytes. */
  readonly sealed: Uint8Array;
  /** 128 bytes. */
  readonly pcmd: Uint8Array;
  /** VaSlot.id in the enclave's version arrays. */
  readonly vaSlotId: number;
}

interface Slab {
  readonly bytes: Uint8Array;
  readonly vaSlotIds: Uint32Array;
  used: number;
}

export class Backing {
  readonly #slabs: (Slab | undefined)[] = [];
  readonly #free: number[] = [];
  #used = 0;

  get pages(): number {
    return this.#used;
  }

  /** Copies the page in; returns its handle. */
  store({ sealed, pcmd, vaSlotId }: BackedPage): number {
    if (this.#free.length === 0) this.#addSlab();
    const handle = this.#free.pop()!;
    const index = Math.floor(handle / SLAB_PAGES);
    const slab = (this.#slabs[index] ??= newSlab());
    const at = (handle % SLAB_PAGES) * RECORD_BYTES;
    slab.bytes.set(sealed, at);
    slab.bytes.set(pcmd, at + PAGE_SIZE_BYTES);
    slab.vaSlotIds[handle % SLAB_PAGES] = vaSlotId;
    slab.used++;
    this.#used++;
    return handle;
  }

  /** Windows on the stored bytes, good until the handle is freed. */
  read(handle: number): BackedPage {
    const slab = this.#slabs[Math.floor(handle / SLAB_PAGES)]!;
    const at = (handle % SLAB_PAGES) * RECORD_BYTES;
    return {
      sealed: slab.bytes.subarray(at, at + PAGE_SIZE_BYTES),
      pcmd: slab.bytes.subarray(at + PAGE_SIZE_BYTES, at + RECORD_BYTES),
      vaSlotId: slab.vaSlotIds[handle % SLAB_PAGES]!,
    };
  }

  free(handle: number): void {
    const index = Math.floor(handle / SLAB_PAGES);
    const slab = this.#slabs[index]!;
    slab.used--;
    this.#used--;
    this.#free.push(handle);
    if (slab.used === 0) this.#slabs[index] = undefined;
  }

  #addSlab(): void {
    const first = this.#slabs.length * SLAB_PAGES;
    this.#slabs.push(undefined);
    for (let i = SLAB_PAGES - 1; i >= 0; i--) this.#free.push(first + i);
  }
}

function newSlab(): Slab {
  return { bytes: new Uint8Array(SLAB_PAGES * RECORD_BYTES), vaSlotIds: new Uint32Array(SLAB_PAGES), used: 0 };
}
