/** The device nodes of a machine: which path opens what, by the generation of the interface that it has. */
import { enclaveIoctls } from '../abi/sgx-uapi.ts';
import { draftEnclaveIoctls, draftIoctls } from '../abi/sgx-uapi/draft-2018.ts';
import { SGX_2018, type GenerationNode } from '../abi/sgx-uapi/generation.ts';
import { sgxGenerations, type SgxUapi } from '../abi/sgx-uapi/generations.ts';
import { proposalDeviceIoctls, proposalEnclaveIoctls } from '../abi/sgx-uapi/proposal-2018.ts';
import { rfcIoctls } from '../abi/sgx-uapi/rfc-2021.ts';
import { v17Ioctls } from '../abi/sgx-uapi/v17-2018.ts';
import { sgxDevices } from '../abi/sgx-uapi.ts';
import { Errno } from '../lib/errno.ts';
import { fail, why, type KernelResult } from '../lib/outcome.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Clock, ProcessPort } from '../kernel/ports.ts';
import type { EpcSection } from '../processor/cpuid.ts';
import type { Trace } from '../trace/events.ts';
import { Advice, type Tell } from './advice.ts';
import { SgxDevice, type SgxDeviceFile, type SgxSpaceFile } from './sgx/device.ts';
import { draftHandlers, proposalDeviceHandlers, proposalEnclaveHandlers, v17Handlers } from './sgx/ioctls.ts';
import { SgxEnclaveDevice, SgxEnclaveFile } from './sgx-enclave/device.ts';
import { handlers, rfcHandlers } from './sgx-enclave/ioctls.ts';
import { SgxProvisionDevice, type SgxProvisionFile } from './sgx-provision/device.ts';

/** What open gives, or CREATE; its life is the attachment's business, which says `release` in the end. */
export type OpenFile = SgxEnclaveFile | SgxProvisionFile | SgxDeviceFile | SgxSpaceFile;

type Device = SgxEnclaveDevice | SgxProvisionDevice | SgxDevice;

export interface DeviceTableOptions {
  readonly kernel: Kernel;
  readonly trace: Trace;
  readonly clock: Clock;
  readonly sgxUapi: SgxUapi;
  /** For SGX_GET_INFO. */
  readonly epcSections: readonly EpcSection[];
  /** Gets a sentence for a person whose program was built for another interface. */
  readonly tell: Tell;
}

export class DeviceTable {
  readonly advice: Advice;
  /** Nodes that can be opened. */
  readonly nodes: readonly GenerationNode[];
  readonly #devices: ReadonlyMap<string, Device>;

  constructor(options: DeviceTableOptions) {
    this.advice = new Advice(options.sgxUapi, options.tell);
    this.nodes = sgxGenerations[options.sgxUapi].nodes;
    const devices = devicesOf(options, this.advice);
    this.#devices = new Map(devices.map((device) => [device.node, device]));
  }

  /** To be looked at; undefined: not in this generation. */
  device(path: string): Device | undefined {
    return this.#devices.get(path);
  }

  /** ENOENT: no such node. */
  open(path: string, process: ProcessPort, flags: number): KernelResult<OpenFile> {
    const device = this.#devices.get(path);
    if (device !== undefined) return device.open(process, flags);
    const known = [...this.#devices.keys()].join(' or ');
    return fail(Errno.ENOENT, why('the device exists', known, path, this.advice.missingNode(path)));
  }

  /** The last reference to the file, descriptor or mapping, is gone. */
  release(file: OpenFile): void {
    if (file instanceof SgxEnclaveFile && file.createdBy !== undefined && !file.addressed) {
      this.advice.unusedEnclave(file.createdBy);
    }
    file.release();
  }
}

/** The parts list of each generation. */
function devicesOf({ kernel, trace, clock, sgxUapi, epcSections }: DeviceTableOptions, advice: Advice): Device[] {
  const common = { trace, clock, advice };
  // Drivers of 2018 took a mutex where today's give EBUSY.
  const in2018 = { ...common, waits: true };
  const token = sgxGenerations[sgxUapi].nodes.at(-1)!.path;
  const provision = new SgxProvisionDevice(token, common);
  switch (sgxUapi) {
    case 'mainline':
      return [
        new SgxEnclaveDevice(kernel, sgxDevices.enclave.path, { ...common, table: enclaveIoctls, handlers }),
        provision,
      ];
    case 'rfc-2021':
      return [
        new SgxEnclaveDevice(kernel, sgxDevices.enclave.path, { ...common, table: rfcIoctls, handlers: rfcHandlers }),
        provision,
      ];
    case 'v17-2018':
      return [
        new SgxEnclaveDevice(kernel, SGX_2018, { ...in2018, table: v17Ioctls, handlers: v17Handlers }),
        provision,
      ];
    case 'proposal-2018': {
      const device = {
        ...in2018,
        table: proposalDeviceIoctls,
        handlers: proposalDeviceHandlers(epcSections, kernel.processor.profile),
      };
      const enclaves = { ...in2018, table: proposalEnclaveIoctls, handlers: proposalEnclaveHandlers };
      return [SgxDevice.ofProposal(kernel, SGX_2018, device, enclaves), provision];
    }
    case 'draft-2018': {
      const device = { ...in2018, table: draftIoctls, handlers: draftHandlers };
      const enclaves = { ...in2018, table: draftEnclaveIoctls, handlers: {} };
      return [SgxDevice.ofDraft(kernel, SGX_2018, device, enclaves), provision];
    }
  }
}
