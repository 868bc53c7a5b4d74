/**
 * /dev/sgx_provision: a token. Who can open it may let an enclave have the provisioning key.
 * Source: sgx_provision_fops in arch/x86/kernel/cpu/sgx/main.c
 */
import { SGX_DEVICE_MAJOR, sgxDevices } from '../../abi/sgx-uapi.ts';
import { ok, type KernelResult } from '../../lib/outcome.ts';
import { fileAccess, type FileAccess } from '../../kernel/file-access.ts';
import type { Mm } from '../../kernel/mm.ts';
import type { Clock, ProcessPort } from '../../kernel/ports.ts';
import type { Trace } from '../../trace/events.ts';
import { DEVICE_MODE, type DeviceStat } from '../device-stat.ts';
import { Dispatcher, type IoctlSteps, type ResolveFd } from '../dispatch.ts';
import { handlers, table } from './ioctls.ts';
import { metricsOf, type SgxProvisionMetrics } from './metrics.ts';

/** Model: misc devices get their minor when they register; these are ours. */
const MINOR = 126;

export class SgxProvisionFile {
  readonly node: string = sgxDevices.provision.path;
  readonly id: number;
  readonly access: FileAccess;
  busy = false;
  readonly #dispatcher: Dispatcher<SgxProvisionFile>;

  constructor(id: number, dispatcher: Dispatcher<SgxProvisionFile>, access: FileAccess) {
    this.id = id;
    this.access = access;
    this.#dispatcher = dispatcher;
  }

  /** ENOTTY, always. */
  ioctl(mm: Mm, command: number, argument: bigint, resolveFd: ResolveFd): IoctlSteps {
    return this.#dispatcher.run(this, mm, command, argument, resolveFd);
  }

  stat(): DeviceStat {
    return { mode: DEVICE_MODE, major: SGX_DEVICE_MAJOR, minor: MINOR };
  }

  release(): void {}
}

export class SgxProvisionDevice {
  readonly node: string = sgxDevices.provision.path;
  readonly metrics: SgxProvisionMetrics = metricsOf();
  readonly #dispatcher: Dispatcher<SgxProvisionFile>;

  constructor(trace: Trace, clock: Clock) {
    this.#dispatcher = new Dispatcher({ table, handlers, trace, clock, metrics: this.metrics });
  }

  /** Any mode of access will do. */
  open(_process: ProcessPort, flags: number): KernelResult<SgxProvisionFile> {
    this.metrics.opens++;
    // Negative, so that it is never the id of an enclave.
    return ok(new SgxProvisionFile(-this.metrics.opens, this.#dispatcher, fileAccess(flags)));
  }
}
