/** The device nodes of a machine: which path opens what. */
import { Errno } from '../lib/errno.ts';
import { fail, why, type KernelResult } from '../lib/outcome.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Clock, ProcessPort } from '../kernel/ports.ts';
import type { Trace } from '../trace/events.ts';
import { SgxEnclaveDevice, type SgxEnclaveFile } from './sgx-enclave/device.ts';
import { SgxProvisionDevice, type SgxProvisionFile } from './sgx-provision/device.ts';

/** What open gives; its life is the attachment's business, which says `release` in the end. */
export type OpenFile = SgxEnclaveFile | SgxProvisionFile;

export class DeviceTable {
  readonly sgxEnclave: SgxEnclaveDevice;
  readonly sgxProvision: SgxProvisionDevice;

  constructor(kernel: Kernel, trace: Trace, clock: Clock) {
    this.sgxEnclave = new SgxEnclaveDevice(kernel, trace, clock);
    this.sgxProvision = new SgxProvisionDevice(trace, clock);
  }

  /** ENOENT: no such node. */
  open(path: string, process: ProcessPort, flags: number): KernelResult<OpenFile> {
    if (path === this.sgxEnclave.node) return this.sgxEnclave.open(process, flags);
    if (path === this.sgxProvision.node) return this.sgxProvision.open(process, flags);
    return fail(Errno.ENOENT, why('the device exists', `${this.sgxEnclave.node} or ${this.sgxProvision.node}`, path));
  }

  /** The last reference to the file, descriptor or mapping, is gone. */
  release(file: OpenFile): void {
    file.release();
  }
}
