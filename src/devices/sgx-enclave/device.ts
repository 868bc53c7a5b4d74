/**
 * /dev/sgx_enclave: every open file is an enclave.
 * Source: arch/x86/kernel/cpu/sgx/driver.c
 */
import { SGX_DEVICE_MAJOR, sgxDevices } from '../../abi/sgx-uapi.ts';
import { ok, type KernelResult } from '../../lib/outcome.ts';
import { EnclaveFile } from '../../kernel/enclave.ts';
import { fileAccess, type FileAccess } from '../../kernel/file-access.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Mm } from '../../kernel/mm.ts';
import type { Clock, ProcessPort } from '../../kernel/ports.ts';
import type { Trace } from '../../trace/events.ts';
import { DEVICE_MODE, type DeviceStat } from '../device-stat.ts';
import { Dispatcher, type IoctlSteps, type ResolveFd } from '../dispatch.ts';
import { handlers, table } from './ioctls.ts';
import { SgxEnclaveMetrics } from './metrics.ts';

/** Model: misc devices get their minor when they register; these are ours. */
const MINOR = 125;

export class SgxEnclaveFile extends EnclaveFile {
  readonly #dispatcher: Dispatcher<EnclaveFile>;

  constructor(kernel: Kernel, dispatcher: Dispatcher<EnclaveFile>, access: FileAccess) {
    super(kernel, access);
    this.#dispatcher = dispatcher;
  }

  /** See `ioctls.ts` for the commands. */
  ioctl(mm: Mm, command: number, argument: bigint, resolveFd: ResolveFd): IoctlSteps {
    return this.#dispatcher.run(this, mm, command, argument, resolveFd);
  }

  stat(): DeviceStat {
    return { mode: DEVICE_MODE, major: SGX_DEVICE_MAJOR, minor: MINOR };
  }

  release(): void {
    this.kernel.releaseFile(this);
  }
}

export class SgxEnclaveDevice {
  readonly node: string = sgxDevices.enclave.path;
  readonly metrics: SgxEnclaveMetrics;
  readonly #kernel: Kernel;
  readonly #dispatcher: Dispatcher<EnclaveFile>;

  constructor(kernel: Kernel, trace: Trace, clock: Clock) {
    this.#kernel = kernel;
    this.metrics = new SgxEnclaveMetrics(kernel);
    this.#dispatcher = new Dispatcher({ table, handlers, trace, clock, metrics: this.metrics });
  }

  /** A fresh, empty enclave. */
  open(_process: ProcessPort, flags: number): KernelResult<SgxEnclaveFile> {
    this.metrics.opens++;
    return ok(new SgxEnclaveFile(this.#kernel, this.#dispatcher, fileAccess(flags)));
  }
}
