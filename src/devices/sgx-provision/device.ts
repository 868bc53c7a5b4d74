/**
 * /dev/sgx_provision, and the file of securityfs that it was in 2018: a token. Who can open it may let an enclave have the provisioning key.
 * Source: sgx_provision_fops in arch/x86/kernel/cpu/sgx/main.c
 */
import { SGX_DEVICE_MAJOR } from '../../abi/sgx-uapi.ts';
import { ok, type KernelResult } from '../../lib/outcome.ts';
import { fileAccess, type FileAccess } from '../../kernel/file-access.ts';
import type { Mm } from '../../kernel/mm.ts';
import type { ProcessPort } from '../../kernel/ports.ts';
import { DEVICE_MODE, type DeviceStat } from '../device-stat.ts';
import { Dispatcher, type DispatchOptions, type IoctlSteps, type ResolveFd } from '../dispatch.ts';
import { handlers, table } from './ioctls.ts';
import { metricsOf, type SgxProvisionMetrics } from './metrics.ts';

/** Model: misc devices get their minor when they register; these are ours. */
const MINOR = 126;

export class SgxProvisionFile {
  readonly node: string;
  readonly id: number;
  readonly access: FileAccess;
  busy = false;
  readonly #dispatcher: Dispatcher<SgxProvisionFile>;

  constructor(id: number, node: string, dispatcher: Dispatcher<SgxProvisionFile>, access: FileAccess) {
    this.id = id;
    this.node = node;
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
  readonly node: string;
  readonly metrics: SgxProvisionMetrics = metricsOf();
  readonly #dispatcher: Dispatcher<SgxProvisionFile>;

  constructor(node: string, options: Omit<DispatchOptions<SgxProvisionFile>, 'table' | 'handlers' | 'metrics'>) {
    this.node = node;
    this.#dispatcher = new Dispatcher({ ...options, table, handlers, metrics: this.metrics });
  }

  /** Any mode of access will do. */
  open(_process: ProcessPort, flags: number): KernelResult<SgxProvisionFile> {
    this.metrics.opens++;
    // Negative, so that it is never the id of an enclave.
    return ok(new SgxProvisionFile(-this.metrics.opens, this.node, this.#dispatcher, fileAccess(flags)));
  }
}
