/**
 * A machine with virtual processes: everything of the model, nothing real. The same options and the same calls give the
 * same answers, always: randomness and fuses come from a seed, and the clock is a counter.
 */
import { PAGE_SIZE_BYTES } from '../lib/units.ts';
import {
  DEFAULT_CPU,
  DEFAULT_EPC,
  parseEpc,
  parseSgxUapi,
  processorOf,
  type ProcessorFeatures,
} from '../machine/description.ts';
import { fusesOf, newIdentity } from '../machine/identity.ts';
import { Machine } from '../machine/machine.ts';
import type { DeviceTable, OpenFile } from '../devices/device-table.ts';
import type { SgxUapi } from '../abi/sgx-uapi/generations.ts';
import { EnclaveFile } from '../kernel/enclave.ts';
import { EnclaveSpace } from '../kernel/enclave-space.ts';
import type { Kernel, KernelUsage } from '../kernel/kernel.ts';
import { VirtualThreads } from '../processor/enclu/virtual-thread.ts';
import { MapContents } from '../processor/map-contents.ts';
import { seededEntropy } from '../processor/seeded-entropy.ts';
import type { TraceEvent } from '../trace/events.ts';
import { Continuations } from './continuations.ts';
import { VirtualProcess } from './process.ts';

/** As in machine files; see docs/machines.md. */
export interface VirtualMachineOptions {
  /** A processor profile: `skylake`, `icelake`, `sapphire-rapids`, ... */
  readonly cpu?: string;
  /** What that processor has otherwise. */
  readonly features?: ProcessorFeatures;
  /** The EPC, or its sections: `64M`, `64M,32M`. */
  readonly epc?: string;
  /** Instead of `epc`: so many pages, which may be fewer than any real machine has. */
  readonly epcPages?: number;
  /** The generation of the SGX interface: `mainline`, `proposal-2018`, ...; docs/generations.md. */
  readonly sgxUapi?: SgxUapi;
  /** Of the randomness and of the machine's secrets: another seed is another machine. */
  readonly seed?: number;
  /** Outcomes to come instead of what would be: docs/inject.md. */
  readonly inject?: readonly string[];
}

export class VirtualMachine {
  /** The model behind it, open to be looked at: processor, kernel, devices. */
  readonly machine: Machine;
  readonly contents = new MapContents();
  readonly threads = new VirtualThreads();
  /** Code that an AEX has interrupted, by TCS and SSA frame. */
  readonly continuations = new Continuations();
  /** Those that have not ended. */
  readonly processes = new Set<VirtualProcess>();
  readonly #references = new Map<OpenFile, number>();
  #nextPid = 100;

  /** Throws a DescriptionError for a machine that cannot be. */
  constructor(options: VirtualMachineOptions = {}) {
    const { cpu = DEFAULT_CPU, features = {}, epc = DEFAULT_EPC, epcPages, seed = 1, sgxUapi, inject = [] } = options;
    const entropy = seededEntropy(seed);
    const fuses = fusesOf(newIdentity(entropy));
    let now = 0;
    this.machine = new Machine({
      profile: processorOf({ cpu, features }),
      epc: epcPages === undefined ? parseEpc(epc) : [epcPages * PAGE_SIZE_BYTES],
      entropy,
      fuses,
      clock: () => now++,
      contents: this.contents,
      threads: this.threads,
      ...(sgxUapi !== undefined && { sgxUapi: parseSgxUapi(sgxUapi) }),
      inject,
    });
  }

  get kernel(): Kernel {
    return this.machine.kernel;
  }

  get devices(): DeviceTable {
    return this.machine.devices;
  }

  /** Where EPC goes, in pages. */
  usage(): KernelUsage {
    return this.kernel.usage();
  }

  /** EPC pages in use. */
  get usedPages(): number {
    const { pages, freePages } = this.usage();
    return pages - freePages;
  }

  /** Tells of every ioctl, mapping, leaf and eviction from now on; docs/trace.md says what events hold. */
  onEvent(listener: (event: TraceEvent) => void): void {
    this.machine.trace.listen({ event: ({ durationUs: _ofACounter, ...event }) => listener(event) });
  }

  /** A new process, which has nothing to do with the others. */
  process(): VirtualProcess {
    return this.#add((pid) => new VirtualProcess(this, pid));
  }

  /** For VirtualProcess: its child. */
  addChild(parent: VirtualProcess, make: (pid: number) => VirtualProcess): VirtualProcess {
    return this.#add(make, parent);
  }

  #add(make: (pid: number) => VirtualProcess, parent?: VirtualProcess): VirtualProcess {
    const process = make(this.#nextPid++);
    process.mm = parent ? this.kernel.forkProcess(parent.mm, process) : this.kernel.addProcess(process);
    this.processes.add(process);
    return process;
  }

  /** For VirtualProcess: the first thread has its process's number. */
  newTid(process: VirtualProcess): number {
    return process.threads.length === 0 ? process.pid : this.#nextPid++;
  }

  /** One more descriptor refers to the file. */
  hold(file: OpenFile): void {
    this.#references.set(file, (this.#references.get(file) ?? 0) + 1);
  }

  /** One descriptor fewer. */
  letGo(file: OpenFile): void {
    this.#references.set(file, this.#references.get(file)! - 1);
    this.releaseUnreferenced();
  }

  /** As unmapping its last page does to every processor that is inside. */
  #interruptThreads(file: EnclaveFile): void {
    for (const { threads } of this.processes) {
      for (const thread of threads) if (thread.enclaveId === file.id) thread.interrupt();
    }
  }

  /** Files without descriptor and mapping are released. */
  releaseUnreferenced(): void {
    for (;;) {
      const [gone] = [...this.#references].find(([file, count]) => count === 0 && mayGo(file)) ?? [];
      if (gone === undefined) return;
      this.#references.delete(gone);
      if (gone instanceof EnclaveFile) this.#interruptThreads(gone);
      this.devices.release(gone);
    }
  }
}

/** No mapping, no enclave behind it and no thread inside is left. */
function mayGo(file: OpenFile): boolean {
  if (file instanceof EnclaveSpace) return file.mms.size === 0 && file.enclaves.size === 0;
  if (!(file instanceof EnclaveFile)) return true;
  return file.space === undefined ? file.mms.size === 0 : file.abandon();
}
