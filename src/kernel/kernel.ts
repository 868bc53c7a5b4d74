/**
 * Linux's side of SGX: enclaves, address spaces, and the EPC they share. It knows neither real processes nor system
 * calls; `ports.ts` says what it needs of whoever runs it.
 */
import { InvariantError } from '../lib/outcome.ts';
import type { EpcIndex } from '../lib/units.ts';
import type { Processor } from '../processor/processor.ts';
import type { Trace } from '../trace/events.ts';
import { Backing } from './backing.ts';
import type { SgxRules } from '../abi/sgx-uapi/generation.ts';
import { mainlineGeneration } from '../abi/sgx-uapi/generations.ts';
import type { EnclaveFile } from './enclave.ts';
import type { EnclaveSpace } from './enclave-space.ts';
import { Epc, type EpcUsage } from './epc.ts';
import type { HeldContents } from './held-contents.ts';
import type { Mappable } from './may-map.ts';
import type { Injections } from './injections.ts';
import { Mm, type VmaRecord } from './mm.ts';
import type { ProcessPort } from './ports.ts';
import { Reclaimer } from './reclaimer.ts';

export interface KernelOptions {
  readonly processor: Processor;
  /** The contents that the processor was given. */
  readonly contents: HeldContents;
  readonly trace: Trace;
  /** Which driver it is. */
  readonly rules?: SgxRules;
  readonly injections?: Injections | undefined;
}

/** Where EPC goes, in pages. */
export interface KernelUsage extends EpcUsage {
  readonly backingPages: number;
  readonly enclaves: number;
}

export class Kernel {
  readonly processor: Processor;
  readonly contents: HeldContents;
  readonly epc: Epc;
  readonly rules: SgxRules;
  readonly backing = new Backing();
  readonly reclaimer: Reclaimer;
  /** Outcomes on request; undefined while nobody asked for any. */
  readonly injections: Injections | undefined;
  /** Called when rights in an enclave were cut, before any thread is kicked. */
  onGeneration: (enclave: EnclaveFile, generation: number) => void = () => {};
  /** Called when no EPC page is free and none can be evicted: files that nobody holds any more may be released. */
  onShortage: () => void = () => {};
  readonly #enclaves = new Map<number, EnclaveFile>();
  readonly #spaces = new Map<number, EnclaveSpace>();
  readonly #bySecs = new Map<EpcIndex, EnclaveFile>();
  #nextEnclaveId = 1;

  constructor({ processor, contents, trace, rules = mainlineGeneration.rules, injections }: KernelOptions) {
    this.processor = processor;
    this.contents = contents;
    this.rules = rules;
    this.injections = injections;
    this.epc = new Epc(processor.epcm.pages);
    this.reclaimer = new Reclaimer(this, trace);
  }

  usage(): KernelUsage {
    return { ...this.epc.usage(), backingPages: this.backing.pages, enclaves: this.#enclaves.size };
  }

  addProcess(port: ProcessPort): Mm {
    return new Mm(this, port);
  }

  /**
   * @param parent undefined when it has ended since the fork
   * @param vmas the child's own mappings as of the fork; without them the parent's of now
   */
  forkProcess(parent: Mm | undefined, port: ProcessPort, vmas: readonly VmaRecord[] = parent?.vmas() ?? []): Mm {
    const child = new Mm(this, port);
    child.inherit(vmas);
    return child;
  }

  /** Its mappings go; its descriptors are the business of whoever runs it. */
  exitProcess(mm: Mm): void {
    mm.exit();
  }

  enclave(id: number): EnclaveFile | undefined {
    return this.#enclaves.get(id);
  }

  /** What a mapping is of. */
  mappable(id: number): Mappable | undefined {
    return this.#enclaves.get(id) ?? this.#spaces.get(id);
  }

  enclaves(): readonly EnclaveFile[] {
    return [...this.#enclaves.values()];
  }

  /** The enclave whose SECS is in this EPC page. */
  enclaveOfSecs(secs: EpcIndex): EnclaveFile | undefined {
    return this.#bySecs.get(secs);
  }

  /** The last descriptor and the last mapping are gone. */
  releaseFile(file: EnclaveFile): void {
    if (!this.#enclaves.delete(file.id)) throw new InvariantError(`enclave ${file.id} is released twice`);
    file.destroy();
  }

  /** For EnclaveFile: registers it and names it. */
  addEnclave(file: EnclaveFile): number {
    const id = this.#nextEnclaveId++;
    this.#enclaves.set(id, file);
    return id;
  }

  /** For EnclaveSpace, as for enclaves. */
  addSpace(space: EnclaveSpace): number {
    const id = this.#nextEnclaveId++;
    this.#spaces.set(id, space);
    return id;
  }

  forgetSpace(space: EnclaveSpace): void {
    this.#spaces.delete(space.id);
  }

  rememberSecs(secs: EpcIndex, enclave: EnclaveFile): void {
    this.#bySecs.set(secs, enclave);
  }

  forgetSecs(secs: EpcIndex): void {
    this.#bySecs.delete(secs);
  }
}
