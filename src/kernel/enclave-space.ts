/**
 * An open device file whose mappings are of no enclave (draft-2018): which one an address is of shows when it is
 * touched. Enclaves that the device created are found by ELRANGE; a mapping keeps the space, and no enclave.
 */
import type { LinPage } from '../lib/units.ts';
import { pageOf } from '../lib/units.ts';
import type { EnclaveFile } from './enclave.ts';
import type { FileAccess } from './file-access.ts';
import type { Kernel } from './kernel.ts';
import type { Mm } from './mm.ts';

export class EnclaveSpace {
  readonly node: string;
  readonly kernel: Kernel;
  readonly access: FileAccess;
  /** From the numbers of enclaves. */
  readonly id: number;
  /** Address spaces that map it; those of its enclaves, too. */
  readonly mms = new Set<Mm>();
  readonly #enclaves = new Set<EnclaveFile>();

  constructor(kernel: Kernel, node: string, access: FileAccess) {
    this.kernel = kernel;
    this.node = node;
    this.access = access;
    this.id = kernel.addSpace(this);
  }

  /** Enclaves that are alive, those included that threads have still to leave. */
  get enclaves(): ReadonlySet<EnclaveFile> {
    return this.#enclaves;
  }

  enclaveAt(page: LinPage): EnclaveFile | undefined {
    return this.enclavesIn(page, page + 1)[0];
  }

  enclavesIn(startPage: number, endPage: number): readonly EnclaveFile[] {
    return [...this.#enclaves].filter(
      ({ base, sizeBytes, abandoned }) => !abandoned && pageOf(base) < endPage && pageOf(base + sizeBytes) > startPage,
    );
  }

  /** Makes an end of abandoned enclaves there; false while a thread is still inside one. */
  clear(startPage: number, endPage: number): boolean {
    const ending = [...this.#enclaves].filter(
      ({ base, sizeBytes, abandoned }) => abandoned && pageOf(base) < endPage && pageOf(base + sizeBytes) > startPage,
    );
    for (const enclave of ending) if (enclave.abandon()) enclave.destroy();
    return ending.every((enclave) => !this.#enclaves.has(enclave));
  }

  /** For EnclaveFile. */
  add(enclave: EnclaveFile): void {
    this.#enclaves.add(enclave);
  }

  /** For EnclaveFile: its pages are gone. */
  remove(enclave: EnclaveFile): void {
    this.#enclaves.delete(enclave);
  }

  /** The last descriptor and the last mapping are gone, and so are all enclaves. */
  release(): void {
    for (const mm of this.mms) mm.forgetFile(this);
    this.kernel.forgetSpace(this);
  }
}
