/**
 * A machine, put together: processor, kernel, device nodes. Who runs it supplies the contents, randomness, secrets and
 * a clock.
 */
import { PAGE_SIZE_BYTES } from '../lib/units.ts';
import { cpuid, cpuidOverrides, type CpuidOverride, type CpuidRegisters, type EpcSection } from '../processor/cpuid.ts';
import type { Entropy, EpcContents, Fuses, Sha256, ThreadTracker } from '../processor/ports.ts';
import { Processor } from '../processor/processor.ts';
import { HeldContents } from '../kernel/held-contents.ts';
import { Injections } from '../kernel/injections.ts';
import { Kernel } from '../kernel/kernel.ts';
import type { Clock } from '../kernel/ports.ts';
import { DEFAULT_SGX_UAPI, sgxGenerations, type SgxUapi } from '../abi/sgx-uapi/generations.ts';
import type { Tell } from '../devices/advice.ts';
import { DeviceTable } from '../devices/device-table.ts';
import { Trace } from '../trace/events.ts';
import { epcSections } from './description.ts';
import { neverUsed, parseInjection } from './injection.ts';
import type { ProcessorProfile } from './profiles.ts';

export interface MachineOptions {
  readonly profile: ProcessorProfile;
  /** Bytes of each EPC section, whole pages. */
  readonly epc: readonly number[];
  readonly entropy: Entropy;
  readonly fuses: Fuses;
  readonly clock: Clock;
  /** Contents of EPC pages; a function where they need the machine to know which enclave an SECS is of. */
  readonly contents: EpcContents | ((machine: Machine) => EpcContents);
  readonly trace?: Trace;
  /** Which generation of the SGX interface programs see; mainline's when left out. */
  readonly sgxUapi?: SgxUapi;
  /** Gets sentences for a person, such as that a program was built for another interface. */
  readonly tell?: Tell;
  /**
   * Threads inside enclaves. Left out with real ones: what tracking is for, that nobody uses an old right, is then the
   * work of HeldContents and of the stubs.
   */
  readonly threads?: ThreadTracker;
  /** Where measurements are computed; in the model's thread, when left out. */
  readonly sha256?: () => Sha256;
  /** Outcomes to come instead of what would be, as in `--inject`: docs/inject.md. Nonsense throws a DescriptionError. */
  readonly inject?: readonly string[];
}

const NO_REGISTERS: CpuidRegisters = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
const noThreads: ThreadTracker = { enteredBefore: () => 0, inside: () => 0 };

export class Machine {
  readonly trace: Trace;
  readonly processor: Processor;
  readonly kernel: Kernel;
  readonly devices: DeviceTable;
  readonly epcSections: readonly EpcSection[];

  constructor(options: MachineOptions) {
    const { profile, epc, entropy, fuses, clock, threads = noThreads } = options;
    const { sgxUapi = DEFAULT_SGX_UAPI, inject = [] } = options;
    this.trace = options.trace ?? new Trace();
    this.epcSections = epcSections(epc);
    const contents = new HeldContents(
      typeof options.contents === 'function' ? options.contents(this) : options.contents,
    );
    this.processor = new Processor({
      profile,
      epcPages: epc.reduce((sum, sizeBytes) => sum + sizeBytes, 0) / PAGE_SIZE_BYTES,
      contents,
      entropy,
      fuses,
      threads,
      ...(options.sha256 && { sha256: options.sha256 }),
    });
    const { rules } = sgxGenerations[sgxUapi];
    const injections = inject.length > 0 ? new Injections(inject.map(parseInjection), this.trace) : undefined;
    this.kernel = new Kernel({ processor: this.processor, contents, trace: this.trace, rules, injections });
    this.devices = new DeviceTable({
      kernel: this.kernel,
      trace: this.trace,
      clock,
      sgxUapi,
      epcSections: this.epcSections,
      tell: options.tell ?? (() => {}),
    });
  }

  /** What CPUID says here, on top of what the host's says (`native`; nothing when left out). */
  cpuid(leaf: number, subleaf: number, native: CpuidRegisters = NO_REGISTERS): CpuidRegisters {
    return cpuid(this.processor.profile, this.epcSections, leaf, subleaf, native);
  }

  /** A sentence for each injection that has done nothing so far. */
  unusedInjections(): string[] {
    return this.kernel.injections?.unused().map(({ rule, met }) => neverUsed(rule, met)) ?? [];
  }

  /** The leaves in which it differs from the host's. */
  cpuidOverrides(): readonly CpuidOverride[] {
    return cpuidOverrides(this.processor.profile, this.epcSections);
  }
}
