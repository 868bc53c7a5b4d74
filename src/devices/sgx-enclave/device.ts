/**
 * /dev/sgx_enclave, and /dev/sgx of v17-2018: every open file is an enclave.
 * Source: arch/x86/kernel/cpu/sgx/driver.c
 */
import { SGX_DEVICE_MAJOR } from '../../abi/sgx-uapi.ts';
import { ok, type KernelResult } from '../../lib/outcome.ts';
import { EnclaveFile, type EnclaveFileOptions } from '../../kernel/enclave.ts';
import { fileAccess, type FileAccess } from '../../kernel/file-access.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Mm } from '../../kernel/mm.ts';
import type { ProcessPort } from '../../kernel/ports.ts';
import { DEVICE_MODE, type DeviceStat } from '../device-stat.ts';
import { Dispatcher, type DispatchOptions, type IoctlSteps, type ResolveFd } from '../dispatch.ts';
import { SgxEnclaveMetrics } from './metrics.ts';

/** Model: misc devices get their minor when they register; these are ours. */
const MINOR = 125;

export class SgxEnclaveFile extends EnclaveFile {
  readonly #dispatcher: Dispatcher<EnclaveFile>;
  /** Some ioctl has been about it, its CREATE not counted where that is one of another file. */
  addressed = false;
  /** The process that CREATE gave it to, where it gives a descriptor. */
  createdBy: number | undefined;

  constructor(kernel: Kernel, dispatcher: Dispatcher<EnclaveFile>, access: FileAccess, options: EnclaveFileOptions) {
    super(kernel, access, options);
    this.#dispatcher = dispatcher;
  }

  /** The commands of its generation; `ioctls.ts` has mainline's. */
  ioctl(mm: Mm, command: number, argument: bigint, resolveFd: ResolveFd): IoctlSteps {
    this.addressed = true;
    return this.#dispatcher.run(this, mm, command, argument, resolveFd);
  }

  stat(): DeviceStat {
    return { mode: DEVICE_MODE, major: SGX_DEVICE_MAJOR, minor: MINOR };
  }

  release(): void {
    this.kernel.releaseFile(this);
  }
}

/** What the device's table is, and who listens. */
export type EnclaveDeviceOptions = Omit<DispatchOptions<EnclaveFile>, 'metrics'>;

export class SgxEnclaveDevice {
  readonly node: string;
  readonly metrics: SgxEnclaveMetrics;
  readonly #kernel: Kernel;
  readonly #dispatcher: Dispatcher<EnclaveFile>;

  constructor(kernel: Kernel, node: string, options: EnclaveDeviceOptions) {
    this.#kernel = kernel;
    this.node = node;
    this.metrics = new SgxEnclaveMetrics(kernel);
    this.#dispatcher = new Dispatcher({ ...options, metrics: this.metrics });
  }

  /** A fresh, empty enclave. */
  open(_process: ProcessPort, flags: number): KernelResult<SgxEnclaveFile> {
    this.metrics.opens++;
    return ok(new SgxEnclaveFile(this.#kernel, this.#dispatcher, fileAccess(flags), { node: this.node }));
  }
}
