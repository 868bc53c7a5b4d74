/** What the ioctl tests start from. */
import { errnoName } from '../../../src/lib/errno.ts';
import type { Why } from '../../../src/lib/outcome.ts';
import { VirtualEnclave } from '../../support/virtual-enclave.ts';
import { VirtualMachine, type VirtualMachineOptions } from '../../../src/virtual/machine.ts';
import type { VirtualProcess } from '../../../src/virtual/process.ts';

/** Where nothing is mapped. */
export const NOWHERE = 0x6000_0000_0000;
export const PAGE = 0x1000;
const EPC_PAGES = 1024;

export interface Opened {
  readonly machine: VirtualMachine;
  readonly process: VirtualProcess;
  readonly enclave: VirtualEnclave;
}

/** A fresh file of /dev/sgx_enclave. */
export function opened(options: VirtualMachineOptions = {}): Opened {
  const machine = new VirtualMachine({ epcPages: EPC_PAGES, ...options });
  const process = machine.process();
  return { machine, process, enclave: new VirtualEnclave(process) };
}

export function created(options: VirtualMachineOptions = {}): Opened {
  const all = opened(options);
  all.enclave.create();
  return all;
}

/** Built, initialized and mapped. */
export function ready(options: VirtualMachineOptions = {}): Opened {
  const machine = new VirtualMachine({ epcPages: EPC_PAGES, ...options });
  const process = machine.process();
  return { machine, process, enclave: VirtualEnclave.ready(process) };
}

/** `0`, or `EINVAL: the check that refused`. */
export function answer({ process }: { readonly process: VirtualProcess }, ret: number): string {
  const why: Why | undefined = process.lastWhy;
  return ret < 0 ? `${errnoName(-ret)}: ${why?.check}` : `${ret}`;
}
