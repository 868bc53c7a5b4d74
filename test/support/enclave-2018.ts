/** An enclave in a virtual process, built through an interface of 2018; the calls are the same for all three. */
import { Attributes, SecInfo, Secs, Tcs, Xfrm } from '../../src/abi/sgx-arch.ts';
import { EnclaveCreate, EnclaveInit } from '../../src/abi/sgx-uapi.ts';
import { DraftAddPage, DraftInit, DraftSetAttribute, draftIoctls } from '../../src/abi/sgx-uapi/draft-2018.ts';
import { EnclaveAddPage, EnclaveSetAttribute } from '../../src/abi/sgx-uapi/drivers-2018.ts';
import { SGX_2018 } from '../../src/abi/sgx-uapi/generation.ts';
import { proposalDeviceIoctls, proposalEnclaveIoctls } from '../../src/abi/sgx-uapi/proposal-2018.ts';
import { v17Ioctls } from '../../src/abi/sgx-uapi/v17-2018.ts';
import { signSigStruct, type SigStructBody } from '../../src/formats/sigstruct.ts';
import { errnoName } from '../../src/lib/errno.ts';
import type { Layout, ValuesOf } from '../../src/lib/layout.ts';
import type { EnclaveFile } from '../../src/kernel/enclave.ts';
import { Measurement } from '../../src/processor/measurement.ts';
import { VirtualMachine, type VirtualMachineOptions } from '../../src/virtual/machine.ts';
import type { VirtualProcess } from '../../src/virtual/process.ts';
import { signingKey } from '../model/processor/enclave.ts';

export type Uapi2018 = 'v17-2018' | 'proposal-2018' | 'draft-2018';
export const uapis2018: readonly Uapi2018[] = ['v17-2018', 'proposal-2018', 'draft-2018'];

export const BASE = 0x7f00_0000_0000;
export const SIZE = 0x1_0000;
export const PAGE = 0x1000;
export const At = {
  TCS: BASE,
  SSA: BASE + 0x1000,
  CODE: BASE + 0x3000,
  DATA: BASE + 0x4000,
  HOLE: BASE + 0x8000,
} as const;
export const RW = 0x203;
export const RX = 0x205;
export const TCS = 0x100;
export const FIXED = 0x11;

export const usualSecs = {
  size: BigInt(SIZE),
  baseAddr: BigInt(BASE),
  ssaFrameSize: 1,
  attributes: Attributes.mask.MODE64BIT,
  xfrm: Xfrm.mask.X87 | Xfrm.mask.SSE,
};
export const usualTcs = { ossa: 0x1000n, nssa: 2, oentry: 0x3000n, fsLimit: 0xfff, gsLimit: 0xfff };

export interface Adding {
  readonly addr?: number;
  readonly kind?: number;
  readonly bytes?: Uint8Array;
  readonly mrMask?: number;
  /** Addresses, instead of those of `kind` and `bytes`. */
  readonly src?: number;
  readonly secInfo?: number;
}

export class Enclave2018 {
  readonly uapi: Uapi2018;
  readonly machine: VirtualMachine;
  readonly process: VirtualProcess;
  /** Of /dev/sgx. */
  readonly deviceFd: number;
  /** What CREATE gave; under v17-2018 the device's. */
  fd: number;
  readonly measurement = new Measurement();

  constructor(uapi: Uapi2018, options: VirtualMachineOptions = {}, process?: VirtualProcess) {
    this.uapi = uapi;
    this.machine =
      process?.machine ??
      new VirtualMachine({ sgxUapi: uapi, ...(options.epc === undefined && { epcPages: 256 }), ...options });
    this.process = process ?? this.machine.process();
    this.deviceFd = this.process.open(SGX_2018);
    this.fd = this.deviceFd;
  }

  /** Built, initialized and mapped RWX. */
  static ready(uapi: Uapi2018): Enclave2018 {
    const all = new Enclave2018(uapi);
    const results = [all.create(), ...all.addUsualPages(), all.init(), all.map()];
    if (results.some((ret) => ret < 0)) throw new Error(`refused: ${results.join(' ')}`);
    return all;
  }

  get file(): EnclaveFile {
    return this.process.enclave(this.fd);
  }

  /** `0`, or `EINVAL: the check that refused`. */
  answer(ret: number): string {
    return ret < 0 ? `${errnoName(-ret)}: ${this.process.lastWhy?.check}` : `${ret}`;
  }

  /** 0 or -errno. */
  create(secs: ValuesOf<typeof Secs> = {}): number {
    const all = { ...usualSecs, ...secs };
    const src = BigInt(this.process.memory.put(Secs.encode(all)));
    const number =
      this.uapi === 'proposal-2018'
        ? proposalDeviceIoctls.numbers.SGX_ENCLAVE_CREATE
        : v17Ioctls.numbers.SGX_IOC_ENCLAVE_CREATE;
    const ret = this.call(this.deviceFd, number, EnclaveCreate, { src });
    if (ret < 0) return ret;
    this.measurement.create(all.ssaFrameSize, Number(all.size));
    if (this.uapi === 'v17-2018') return ret;
    this.fd = ret;
    return 0;
  }

  add({ addr = At.DATA, kind = RW, bytes = new Uint8Array(PAGE), mrMask = 0xffff, ...given }: Adding = {}): number {
    const { memory } = this.process;
    const page = {
      addr: BigInt(addr),
      src: BigInt(given.src ?? memory.put(bytes)),
      secInfo: BigInt(given.secInfo ?? memory.put(SecInfo.encode({ flags: BigInt(kind) }))),
      mrMask,
    };
    const ret =
      this.uapi === 'draft-2018'
        ? this.draft('SGX_IOC_ENCLAVE_ADD_PAGE', DraftAddPage, { enclaveFd: BigInt(this.fd), ...page })
        : this.call(this.fd, this.#number('ADD_PAGE'), EnclaveAddPage, page);
    if (ret === 0) this.#measure(addr, kind, bytes, mrMask);
    return ret;
  }

  #measure(addr: number, kind: number, bytes: Uint8Array, mrMask: number): void {
    this.measurement.add(addr - BASE, kind);
    for (let chunk = 0; chunk < 16; chunk++) {
      const at = chunk * 256;
      if ((mrMask & (1 << chunk)) !== 0) this.measurement.extend(addr - BASE + at, bytes.subarray(at, at + 256));
    }
  }

  addUsualPages(): number[] {
    return [
      this.add({ addr: At.TCS, kind: TCS, bytes: this.tcs() }),
      this.add({ addr: At.SSA }),
      this.add({ addr: At.SSA + PAGE }),
      this.add({ addr: At.CODE, kind: RX, bytes: new Uint8Array(PAGE).fill(0xcc) }),
      this.add({ addr: At.DATA, bytes: new Uint8Array(PAGE).fill(0x11) }),
    ];
  }

  tcs(values: ValuesOf<typeof Tcs> = {}): Uint8Array {
    return Tcs.encode({ ...usualTcs, ...values });
  }

  /** A good SIGSTRUCT for what was added, as the test itself measured it. */
  sign(body: SigStructBody = {}): Uint8Array {
    const all = 0xffff_ffff_ffff_ffffn;
    return signSigStruct(
      {
        attributes: usualSecs.attributes,
        attributeMask: all,
        xfrm: usualSecs.xfrm,
        xfrmMask: all,
        enclaveHash: this.measurement.current(),
        date: 0x20181219,
        ...body,
      },
      signingKey(),
    );
  }

  init(sigStruct: Uint8Array = this.sign()): number {
    return this.initAt(this.process.memory.put(sigStruct));
  }

  initAt(address: number): number {
    const sigStruct = BigInt(address);
    return this.uapi === 'draft-2018'
      ? this.draft('SGX_IOC_ENCLAVE_INIT', DraftInit, { enclaveFd: BigInt(this.fd), sigStruct })
      : this.call(this.fd, this.#number('INIT'), EnclaveInit, { sigStruct });
  }

  setAttribute(attributeFd: number): number {
    return this.uapi === 'draft-2018'
      ? this.draft('SGX_IOC_ENCLAVE_SET_ATTRIBUTE', DraftSetAttribute, {
          enclaveFd: BigInt(this.fd),
          attributeFd: BigInt(attributeFd),
        })
      : this.call(this.fd, this.#number('SET_ATTRIBUTE'), EnclaveSetAttribute, { attributeFd: BigInt(attributeFd) });
  }

  /** What is mapped is the enclave's descriptor, under draft-2018 the device's. */
  get mappedFd(): number {
    return this.uapi === 'draft-2018' ? this.deviceFd : this.fd;
  }

  map(prot = 7, flags = FIXED): number {
    return this.process.mmap(BASE, SIZE, prot, flags, this.mappedFd);
  }

  draft<L extends Layout>(name: keyof typeof draftIoctls.numbers, layout: L, values: ValuesOf<L>): number {
    return this.call(this.deviceFd, draftIoctls.numbers[name], layout, values);
  }

  call<L extends Layout>(fd: number, number: number, layout: L, values: ValuesOf<L>): number {
    return this.process.ioctl(fd, number, this.process.memory.put(layout.encode(values)));
  }

  /** By the enclave's descriptor: v17-2018 and proposal-2018 have the same. */
  #number(name: 'ADD_PAGE' | 'INIT' | 'SET_ATTRIBUTE'): number {
    return this.uapi === 'v17-2018'
      ? v17Ioctls.numbers[`SGX_IOC_ENCLAVE_${name}`]
      : proposalEnclaveIoctls.numbers[`SGX_ENCLAVE_${name}`];
  }
}
