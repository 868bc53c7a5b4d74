/** What /dev/sgx_enclave counts, beside opens and ioctls: where EPC is. */
import type { Kernel, KernelUsage } from '../../kernel/kernel.ts';
import { DeviceMetrics } from '../device-metrics.ts';

export class SgxEnclaveMetrics extends DeviceMetrics {
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    super();
    this.#kernel = kernel;
  }

  get usage(): KernelUsage {
    return this.#kernel.usage();
  }
}
