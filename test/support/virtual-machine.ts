/** A machine with virtual processes: everything of the model, nothing real. */
import { PAGE_SIZE_BYTES } from '../../src/lib/units.ts';
import { Machine } from '../../src/machine/machine.ts';
import { processorProfiles } from '../../src/machine/profiles.ts';
import type { DeviceTable, OpenFile } from '../../src/devices/device-table.ts';
import { EnclaveFile } from '../../src/kernel/enclave.ts';
import type { Kernel } from '../../src/kernel/kernel.ts';
import { VirtualThreads } from '../../src/processor/enclu/virtual-thread.ts';
import { MapContents } from '../../src/processor/testing/map-contents.ts';
import { seededEntropy, testFuses } from '../../src/processor/testing/processor.ts';
import { VirtualProcess } from './virtual-process.ts';

export interface VirtualMachineOptions {
  readonly epcPages?: number;
  readonly cpu?: string;
}

export class VirtualMachine {
  readonly machine: Machine;
  readonly contents = new MapContents();
  readonly threads = new VirtualThreads();
  readonly processes: VirtualProcess[] = [];
  readonly #descriptors = new Map<OpenFile, number>();
  #nextPid = 100;

  constructor({ epcPages = 1024, cpu = 'sapphire-rapids' }: VirtualMachineOptions = {}) {
    let now = 0;
    this.machine = new Machine({
      profile: processorProfiles[cpu]!,
      epc: [epcPages * PAGE_SIZE_BYTES],
      entropy: seededEntropy(),
      fuses: testFuses,
      clock: () => now++,
      contents: this.contents,
      threads: this.threads,
    });
  }

  get kernel(): Kernel {
    return this.machine.kernel;
  }

  get devices(): DeviceTable {
    return this.machine.devices;
  }

  /** EPC pages in use. */
  get usedPages(): number {
    const { pages, freePages } = this.kernel.usage();
    return pages - freePages;
  }

  process(): VirtualProcess {
    return this.addProcess((pid) => new VirtualProcess(this, pid));
  }

  addProcess(make: (pid: number) => VirtualProcess, parent?: VirtualProcess): VirtualProcess {
    const process = make(this.#nextPid++);
    process.mm = parent ? this.kernel.forkProcess(parent.mm, process) : this.kernel.addProcess(process);
    this.processes.push(process);
    return process;
  }

  /** One more descriptor. */
  hold(file: OpenFile): void {
    this.#descriptors.set(file, (this.#descriptors.get(file) ?? 0) + 1);
  }

  letGo(file: OpenFile): void {
    this.#descriptors.set(file, this.#descriptors.get(file)! - 1);
    this.releaseUnreferenced();
  }

  /** Files without descriptor and mapping are released. */
  releaseUnreferenced(): void {
    for (const [file, count] of this.#descriptors) {
      if (count > 0 || (file instanceof EnclaveFile && file.mms.size > 0)) continue;
      this.#descriptors.delete(file);
      this.devices.release(file);
    }
  }
}
