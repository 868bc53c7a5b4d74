/**
 * /dev/sgx where CREATE gives a descriptor (proposal-2018, draft-2018), and that descriptor.
 * Source: the mails that src/abi/sgx-uapi names; anon_inode_getfd in fs/anon_inodes.c for what such a descriptor is
 */
import { OpenAccess } from '../../abi/linux.ts';
import { SGX_DEVICE_MAJOR } from '../../abi/sgx-uapi.ts';
import { SGX_ENCLAVE_INODE } from '../../abi/sgx-uapi/generation.ts';
import { ok, type KernelResult } from '../../lib/outcome.ts';
import type { LinPage } from '../../lib/units.ts';
import type { EnclaveFile } from '../../kernel/enclave.ts';
import { EnclaveSpace } from '../../kernel/enclave-space.ts';
import { fileAccess, type FileAccess } from '../../kernel/file-access.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Mm } from '../../kernel/mm.ts';
import type { ProcessPort } from '../../kernel/ports.ts';
import { DEVICE_MODE, type DeviceStat } from '../device-stat.ts';
import { Dispatcher, type DispatchOptions, type IoctlSteps, type ResolveFd } from '../dispatch.ts';
import { SgxEnclaveFile } from '../sgx-enclave/device.ts';
import { metricsOf, type SgxMetrics } from './metrics.ts';

/** Model: misc devices get their minor when they register; this is ours. */
const MINOR = 124;

const stat: DeviceStat = { mode: DEVICE_MODE, major: SGX_DEVICE_MAJOR, minor: MINOR };

/** Where the enclaves of an open device come from. */
interface Maker {
  readonly kernel: Kernel;
  readonly dispatcher: Dispatcher<EnclaveFile>;
}

/** An open file of /dev/sgx, proposal-2018: it makes enclaves and cannot be mapped. */
export class SgxDeviceFile {
  readonly node: string;
  readonly id: number;
  readonly access: FileAccess;
  busy = false;
  readonly #maker: Maker;
  readonly #dispatcher: Dispatcher<SgxDeviceFile>;

  constructor(id: number, node: string, maker: Maker, dispatcher: Dispatcher<SgxDeviceFile>, access: FileAccess) {
    this.id = id;
    this.node = node;
    this.access = access;
    this.#maker = maker;
    this.#dispatcher = dispatcher;
  }

  newEnclave(): SgxEnclaveFile {
    const { kernel, dispatcher } = this.#maker;
    return new SgxEnclaveFile(kernel, dispatcher, fileAccess(OpenAccess.O_RDWR), { node: SGX_ENCLAVE_INODE });
  }

  ioctl(mm: Mm, command: number, argument: bigint, resolveFd: ResolveFd): IoctlSteps {
    return this.#dispatcher.run(this, mm, command, argument, resolveFd);
  }

  stat(): DeviceStat {
    return stat;
  }

  release(): void {}
}

/** An enclave of draft-2018: a handle, whose pages show in mappings of the device. */
export class SgxHandleFile extends SgxEnclaveFile {
  /** Where a page goes whose address is not told. */
  nextPage: LinPage | undefined;
}

/** An open file of /dev/sgx, draft-2018: every ioctl, and every mapping. */
export class SgxSpaceFile extends EnclaveSpace {
  busy = false;
  readonly #maker: Maker;
  readonly #dispatcher: Dispatcher<SgxSpaceFile>;

  constructor(maker: Maker, node: string, dispatcher: Dispatcher<SgxSpaceFile>, access: FileAccess) {
    super(maker.kernel, node, access);
    this.#maker = maker;
    this.#dispatcher = dispatcher;
  }

  newEnclave(): SgxHandleFile {
    const { kernel, dispatcher } = this.#maker;
    const access = fileAccess(OpenAccess.O_RDWR);
    return new SgxHandleFile(kernel, dispatcher, access, { node: SGX_ENCLAVE_INODE, space: this });
  }

  ioctl(mm: Mm, command: number, argument: bigint, resolveFd: ResolveFd): IoctlSteps {
    return this.#dispatcher.run(this, mm, command, argument, resolveFd);
  }

  stat(): DeviceStat {
    return stat;
  }
}

type Options<F> = Omit<DispatchOptions<F>, 'metrics'>;

export class SgxDevice {
  readonly node: string;
  readonly metrics: SgxMetrics = metricsOf();
  readonly #open: (access: FileAccess) => SgxDeviceFile | SgxSpaceFile;

  private constructor(
    node: string,
    makeOpen: (metrics: SgxMetrics) => (access: FileAccess) => SgxDeviceFile | SgxSpaceFile,
  ) {
    this.node = node;
    this.#open = makeOpen(this.metrics);
  }

  /** @param enclaves what descriptors of enclaves take */
  static ofProposal(
    kernel: Kernel,
    node: string,
    device: Options<SgxDeviceFile>,
    enclaves: Options<EnclaveFile>,
  ): SgxDevice {
    return new SgxDevice(node, (metrics) => {
      const maker = { kernel, dispatcher: new Dispatcher({ ...enclaves, metrics }) };
      const dispatcher = new Dispatcher({ ...device, metrics });
      // Far from the numbers of enclaves and of tokens.
      return (access) => new SgxDeviceFile(-(2 ** 30) - metrics.opens, node, maker, dispatcher, access);
    });
  }

  static ofDraft(
    kernel: Kernel,
    node: string,
    device: Options<SgxSpaceFile>,
    enclaves: Options<EnclaveFile>,
  ): SgxDevice {
    return new SgxDevice(node, (metrics) => {
      const maker = { kernel, dispatcher: new Dispatcher({ ...enclaves, metrics }) };
      const dispatcher = new Dispatcher({ ...device, metrics });
      return (access) => new SgxSpaceFile(maker, node, dispatcher, access);
    });
  }

  open(_process: ProcessPort, flags: number): KernelResult<SgxDeviceFile | SgxSpaceFile> {
    this.metrics.opens++;
    return ok(this.#open(fileAccess(flags)));
  }
}
