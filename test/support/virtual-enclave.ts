/** A small enclave in a virtual process, built through the device's own ioctls. */
import { MapFlags, MapType } from '../../src/abi/linux.ts';
import { Attributes, SecInfo, Secs, Tcs, Xfrm } from '../../src/abi/sgx-arch.ts';
import {
  EnclaveAddPages,
  EnclaveCreate,
  EnclaveInit,
  enclaveIoctls,
  EnclaveModifyTypes,
  EnclaveProvision,
  EnclaveRemovePages,
  EnclaveRestrictPermissions,
  sgxDevices,
} from '../../src/abi/sgx-uapi.ts';
import { signSigStruct, type SigStructBody } from '../../src/formats/sigstruct.ts';
import type { EnclaveFile } from '../../src/kernel/enclave.ts';
import { PAGE_SIZE_BYTES, pageOf, type LinPage } from '../../src/lib/units.ts';
import type { Layout, ValuesOf } from '../../src/lib/layout.ts';
import { signingKey } from '../model/processor/enclave.ts';
import type { VirtualProcess } from '../../src/virtual/process.ts';

export const BASE = 0x7f00_0000_0000;
export const ENCLAVE_SIZE_BYTES = 0x40_0000;
/** Where the pages of the usual enclave are. */
export const At = {
  TCS: BASE,
  SSA: BASE + 0x1000,
  CODE: BASE + 0x3000,
  DATA: BASE + 0x4000,
  DATA2: BASE + 0x5000,
  /** Nothing is added from here on. */
  HOLE: BASE + 0x10_0000,
} as const;

export const FIXED = MapType.MAP_SHARED | MapFlags.bit.MAP_FIXED;
export const RX_REG = 0x205;
export const RW_REG = 0x203;
export const PT_TCS = 0x100;
const { numbers } = enclaveIoctls;

export class VirtualEnclave {
  readonly process: VirtualProcess;
  readonly fd: number;
  readonly file: EnclaveFile;

  /** Opens the device, unless the process has the descriptor already. */
  constructor(process: VirtualProcess, fd = process.open(sgxDevices.enclave.path)) {
    this.process = process;
    this.fd = fd;
    this.file = process.enclave(this.fd);
  }

  /** One thread, one code page, two data pages, all mapped; ready to be entered. */
  static ready(process: VirtualProcess, secs: ValuesOf<typeof Secs> = {}): VirtualEnclave {
    const enclave = new VirtualEnclave(process);
    expectZero(enclave.create(secs));
    enclave.addUsualPages();
    expectZero(enclave.init());
    enclave.mapUsualPages();
    return enclave;
  }

  create(secs: ValuesOf<typeof Secs> = {}): number {
    const src = this.process.memory.put(
      Secs.encode({
        size: BigInt(ENCLAVE_SIZE_BYTES),
        baseAddr: BigInt(BASE),
        ssaFrameSize: 1,
        attributes: Attributes.mask.MODE64BIT,
        xfrm: Xfrm.mask.X87 | Xfrm.mask.SSE,
        ...secs,
      }),
    );
    return this.call('SGX_IOC_ENCLAVE_CREATE', EnclaveCreate, { src: BigInt(src) }).ret;
  }

  addUsualPages(): void {
    const tcs = Tcs.encode({ ossa: 0x1000n, nssa: 2, oentry: 0x3000n, fsLimit: 0xffff_ffff, gsLimit: 0xffff_ffff });
    expectZero(this.add(At.TCS, PT_TCS, tcs).ret);
    expectZero(this.add(At.SSA, RW_REG, new Uint8Array(2 * PAGE_SIZE_BYTES)).ret);
    expectZero(this.add(At.CODE, RX_REG, new Uint8Array(PAGE_SIZE_BYTES).fill(0xcc)).ret);
    expectZero(this.add(At.DATA, RW_REG, new Uint8Array(2 * PAGE_SIZE_BYTES).fill(0x11)).ret);
  }

  mapUsualPages(holeProt = 7): void {
    const { process, fd } = this;
    expectAddress(process.mmap(At.TCS, 0x3000, 3, FIXED, fd));
    expectAddress(process.mmap(At.CODE, 0x1000, 5, FIXED, fd));
    expectAddress(process.mmap(At.DATA, 0x2000, 3, FIXED, fd));
    expectAddress(process.mmap(At.HOLE, BASE + ENCLAVE_SIZE_BYTES - At.HOLE, holeProt, FIXED, fd));
  }

  /** Adds whole pages holding `bytes`. */
  add(address: number, secInfoFlags: number, bytes: Uint8Array, overrides: ValuesOf<typeof EnclaveAddPages> = {}) {
    const { memory } = this.process;
    const secInfo = memory.put(SecInfo.encode({ flags: BigInt(secInfoFlags) }));
    const src = memory.put(bytes);
    const result = this.call('SGX_IOC_ENCLAVE_ADD_PAGES', EnclaveAddPages, {
      src: BigInt(src),
      offset: BigInt(address - BASE),
      length: BigInt(bytes.length),
      secInfo: BigInt(secInfo),
      flags: 1n,
      ...overrides,
    });
    memory.unmap(src, bytes.length);
    return result;
  }

  /** A good SIGSTRUCT for what was built so far. */
  sign(body: SigStructBody = {}): Uint8Array {
    const { processor } = this.process.machine.machine;
    const secs = processor.secs(this.file.secs!);
    return signSigStruct(
      {
        attributes: secs.fields.attributes,
        attributeMask: ~Attributes.mask.DEBUG & 0xffff_ffff_ffff_ffffn,
        xfrm: secs.fields.xfrm,
        xfrmMask: 0xffff_ffff_ffff_ffffn,
        enclaveHash: secs.measurement?.current() ?? new Uint8Array(32),
        date: 0x20261120,
        ...body,
      },
      signingKey(),
    );
  }

  init(sigStruct: Uint8Array = this.sign()): number {
    const address = this.process.memory.put(sigStruct);
    return this.call('SGX_IOC_ENCLAVE_INIT', EnclaveInit, { sigStruct: BigInt(address) }).ret;
  }

  provision(fd: number): number {
    return this.call('SGX_IOC_ENCLAVE_PROVISION', EnclaveProvision, { fd: BigInt(fd) }).ret;
  }

  restrict(address: number, lengthBytes: number, permissions: number) {
    return this.call('SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS', EnclaveRestrictPermissions, {
      ...this.#range(address, lengthBytes),
      permissions: BigInt(permissions),
    });
  }

  modifyTypes(address: number, lengthBytes: number, pageType: number) {
    return this.call('SGX_IOC_ENCLAVE_MODIFY_TYPES', EnclaveModifyTypes, {
      ...this.#range(address, lengthBytes),
      pageType: BigInt(pageType),
    });
  }

  removePages(address: number, lengthBytes: number) {
    return this.call('SGX_IOC_ENCLAVE_REMOVE_PAGES', EnclaveRemovePages, this.#range(address, lengthBytes));
  }

  /** Any command with its struct; `ret` is 0 or -errno, the rest is the struct as it came back. */
  call<L extends Layout>(name: keyof typeof numbers, layout: L, values: ValuesOf<L>) {
    const { process } = this;
    const argument = process.memory.put(layout.encode(values));
    const ret = process.ioctl(this.fd, numbers[name], argument);
    const bytes = new Uint8Array(layout.sizeBytes);
    process.memory.read(argument, bytes);
    const out = layout.decode(bytes) as { readonly count?: bigint; readonly result?: bigint };
    return { ret, count: Number(out.count ?? 0n), result: Number(out.result ?? 0n) };
  }

  /** Writes a SECINFO into the enclave, at the start of its first data page, as enclave code would. */
  secInfoBytes(flags: number): Uint8Array {
    return SecInfo.encode({ flags: BigInt(flags) });
  }

  page(address: number): LinPage {
    return pageOf(address);
  }

  /** The EPCM entry as SECINFO.FLAGS; undefined when the page is not in EPC. */
  entry(address: number): number | undefined {
    const page = this.file.pages.residentPage(pageOf(address));
    return page === undefined ? undefined : this.process.machine.machine.processor.epcm.secInfoFlags(page);
  }

  #range(address: number, lengthBytes: number) {
    return { offset: BigInt(address - BASE), length: BigInt(lengthBytes) };
  }
}

function expectAddress(ret: number): void {
  if (ret < 0) throw new Error(`refused with ${ret}`);
}

export function expectZero(ret: number): void {
  if (ret !== 0) throw new Error(`refused with ${ret}`);
}
