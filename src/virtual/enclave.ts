/** An enclave as a virtual process builds and keeps it: the ioctls of /dev/sgx_enclave with their structures made and read. */
import { MapFlags, MapType, Prot } from '../abi/linux.ts';
import { Attributes, PageType, SecInfo, SecInfoFlags, Secs, Tcs, Xfrm } from '../abi/sgx-arch.ts';
import { AddPagesFlags, enclaveIoctls, sgxDevices } from '../abi/sgx-uapi.ts';
import { sampleSigningKey } from '../formats/sample-key.ts';
import { signSigStruct, type SigningKey, type SigStructBody } from '../formats/sigstruct.ts';
import type { EnclaveFile } from '../kernel/enclave.ts';
import type { ValuesOf } from '../lib/layout.ts';
import { PAGE_SIZE_BYTES, pageOf } from '../lib/units.ts';
import type { VirtualProcess } from './process.ts';

/** What EADD is told of a page: permissions and type. */
const { R, W, X } = SecInfoFlags.bit;
const typeBits = (type: number): number => type << 8;
export const PageKind = {
  TCS: typeBits(PageType.TCS),
  R: typeBits(PageType.REG) | R,
  RW: typeBits(PageType.REG) | R | W,
  RX: typeBits(PageType.REG) | R | X,
  RWX: typeBits(PageType.REG) | R | W | X,
} as const;

export interface EnclaveOptions {
  /** Where ELRANGE begins: a multiple of its size. */
  readonly base?: number;
  /** A power of two. */
  readonly sizeBytes?: number;
  /** The descriptor, where the process has one already; else the device is opened. */
  readonly fd?: number;
}

/** What `Enclave.load` puts into an enclave, in this order of addresses. */
export interface EnclaveContents extends EnclaveOptions {
  /** TCSs, each followed by its SSA frames. */
  readonly threads?: number;
  readonly ssaFrames?: number;
  /** Pages of code, R|X. What they hold is not executed: code of virtual threads is TypeScript. */
  readonly codePages?: number;
  /** Pages of data, R|W, zero. */
  readonly dataPages?: number;
  /** Fields of the SECS that are to be otherwise. */
  readonly secs?: ValuesOf<typeof Secs>;
}

/** What the range ioctls give. */
export interface RangeResult {
  /** 0 or -errno. */
  readonly ret: number;
  /** Bytes that were done, also on error. */
  readonly count: number;
  /** The SGX code that stopped it. */
  readonly result: number;
}

export const DEFAULT_BASE = 0x7f00_0000_0000;
export const DEFAULT_SIZE_BYTES = 0x40_0000;
const SHARED_FIXED = MapType.MAP_SHARED | MapFlags.bit.MAP_FIXED;
const ALL_BITS = 0xffff_ffff_ffff_ffffn;
const { PROT_READ, PROT_WRITE, PROT_EXEC } = Prot.bit;
const { byName } = enclaveIoctls;

export class Enclave {
  readonly process: VirtualProcess;
  readonly fd: number;
  /** The kernel's side of it. */
  readonly file: EnclaveFile;
  readonly base: number;
  readonly sizeBytes: number;
  /** Addresses of the TCSs, the first page of code, the first of data, and the first behind, as `load` laid them out. */
  readonly tcs: number[] = [];
  code = 0;
  data = 0;
  room: number;

  constructor(process: VirtualProcess, options: EnclaveOptions = {}) {
    this.process = process;
    this.base = options.base ?? DEFAULT_BASE;
    this.sizeBytes = options.sizeBytes ?? DEFAULT_SIZE_BYTES;
    this.fd = options.fd ?? process.must(process.open(sgxDevices.enclave.path), 'open');
    this.file = process.enclave(this.fd);
    this.room = this.base;
  }

  /**
   * Builds, initializes and maps one: ready to be entered. Throws an Error that says what was refused, by which check.
   * Behind its pages all of ELRANGE is mapped for reading and writing, so that pages can be added as they are touched.
   */
  static load(process: VirtualProcess, contents: EnclaveContents = {}): Enclave {
    const { threads = 1, ssaFrames = 2, codePages = 1, dataPages = 2, secs = {}, ...options } = contents;
    const enclave = new Enclave(process, options);
    process.must(enclave.create(secs), 'SGX_IOC_ENCLAVE_CREATE');
    const zeros = (pages: number) => new Uint8Array(pages * PAGE_SIZE_BYTES);
    const append = (kind: number, bytes: Uint8Array): number => {
      const address = enclave.room;
      if (bytes.length === 0) return address;
      process.must(enclave.add(address, kind, bytes).ret, 'SGX_IOC_ENCLAVE_ADD_PAGES');
      enclave.room += bytes.length;
      return address;
    };
    const frameBytes = (secs.ssaFrameSize ?? 1) * PAGE_SIZE_BYTES;
    const codeOffset = threads * (PAGE_SIZE_BYTES + ssaFrames * frameBytes);
    for (let thread = 0; thread < threads; thread++) {
      const ossa = enclave.room + PAGE_SIZE_BYTES - enclave.base;
      enclave.tcs.push(append(PageKind.TCS, tcsPage({ ossa, nssa: ssaFrames, oentry: codeOffset })));
      append(PageKind.RW, zeros((ssaFrames * frameBytes) / PAGE_SIZE_BYTES));
    }
    enclave.code = append(PageKind.RX, zeros(codePages));
    enclave.data = append(PageKind.RW, zeros(dataPages));
    process.must(enclave.init(), 'SGX_IOC_ENCLAVE_INIT');
    enclave.mapAs(process);
    return enclave;
  }

  /** The same enclave for another process, which has the descriptor under this number. */
  in(process: VirtualProcess, fd = this.fd): Enclave {
    const other = new Enclave(process, { base: this.base, sizeBytes: this.sizeBytes, fd });
    other.tcs.push(...this.tcs);
    Object.assign(other, { code: this.code, data: this.data, room: this.room });
    return other;
  }

  /** Maps what `load` has made. */
  mapAs(process: VirtualProcess): void {
    const rw = PROT_READ | PROT_WRITE;
    const map = (start: number, end: number, prot: number) => {
      if (end > start) process.must(process.mmap(start, end - start, prot, SHARED_FIXED, this.fd), 'mmap');
    };
    map(this.base, this.code, rw);
    map(this.code, this.data, PROT_READ | PROT_EXEC);
    map(this.data, this.base + this.sizeBytes, rw);
  }

  /** SGX_IOC_ENCLAVE_CREATE: 0 or -errno. */
  create(secs: ValuesOf<typeof Secs> = {}): number {
    const src = this.process.memory.put(
      Secs.encode({
        size: this.sizeBytes,
        baseAddr: this.base,
        ssaFrameSize: 1,
        attributes: Attributes.mask.MODE64BIT,
        xfrm: Xfrm.mask.X87 | Xfrm.mask.SSE,
        ...secs,
      }),
    );
    const { ret } = this.process.call(this.fd, byName.SGX_IOC_ENCLAVE_CREATE, { src });
    this.process.memory.unmap(src, Secs.sizeBytes);
    return ret;
  }

  /**
   * SGX_IOC_ENCLAVE_ADD_PAGES of whole pages, measured.
   * @param kind SECINFO.FLAGS, as in `PageKind`
   */
  add(address: number, kind: number, bytes: Uint8Array, { measure = true } = {}): RangeResult {
    const { memory } = this.process;
    const secInfo = memory.put(SecInfo.encode({ flags: kind }));
    const src = memory.put(bytes);
    const flags = measure ? AddPagesFlags.mask.SGX_PAGE_MEASURE : 0n;
    const result = this.process.call(this.fd, byName.SGX_IOC_ENCLAVE_ADD_PAGES, {
      ...this.#range(address, bytes.length),
      src,
      secInfo,
      flags,
    });
    memory.unmap(src, bytes.length);
    memory.unmap(secInfo, SecInfo.sizeBytes);
    return rangeResult(result);
  }

  /** A good SIGSTRUCT for what was built so far, but for what `body` says. */
  sign(body: SigStructBody = {}, key: SigningKey = sampleSigningKey()): Uint8Array {
    const { processor } = this.process.machine.kernel;
    const { fields, measurement } = processor.secs(this.file.secs!);
    return signSigStruct(
      {
        attributes: fields.attributes,
        attributeMask: ALL_BITS & ~Attributes.mask.DEBUG,
        xfrm: fields.xfrm,
        xfrmMask: ALL_BITS,
        enclaveHash: measurement?.current() ?? new Uint8Array(32),
        date: 0x20261120,
        ...body,
      },
      key,
    );
  }

  /** SGX_IOC_ENCLAVE_INIT: 0 or -errno. */
  init(sigStruct: Uint8Array = this.sign()): number {
    const address = this.process.memory.put(sigStruct);
    const { ret } = this.process.call(this.fd, byName.SGX_IOC_ENCLAVE_INIT, { sigStruct: address });
    this.process.memory.unmap(address, sigStruct.length);
    return ret;
  }

  /** SGX_IOC_ENCLAVE_PROVISION with a descriptor of /dev/sgx_provision: 0 or -errno. */
  provision(fd: number): number {
    return this.process.call(this.fd, byName.SGX_IOC_ENCLAVE_PROVISION, { fd }).ret;
  }

  /** SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS to these bits of SECINFO.FLAGS. */
  restrict(address: number, lengthBytes: number, permissions: number): RangeResult {
    const range = this.#range(address, lengthBytes);
    return rangeResult(
      this.process.call(this.fd, byName.SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, { ...range, permissions }),
    );
  }

  /** SGX_IOC_ENCLAVE_MODIFY_TYPES to this `PageType`. */
  modifyTypes(address: number, lengthBytes: number, pageType: number): RangeResult {
    const range = this.#range(address, lengthBytes);
    return rangeResult(this.process.call(this.fd, byName.SGX_IOC_ENCLAVE_MODIFY_TYPES, { ...range, pageType }));
  }

  /** SGX_IOC_ENCLAVE_REMOVE_PAGES. */
  removePages(address: number, lengthBytes: number): RangeResult {
    return rangeResult(
      this.process.call(this.fd, byName.SGX_IOC_ENCLAVE_REMOVE_PAGES, this.#range(address, lengthBytes)),
    );
  }

  /** The page's EPCM entry in words, `R|W|PT=REG`; undefined when the page is not in EPC. */
  epcmEntry(address: number): string | undefined {
    const page = this.file.pages.residentPage(pageOf(address));
    return page === undefined
      ? undefined
      : SecInfoFlags.format(this.process.machine.kernel.processor.epcm.secInfoFlags(page));
  }

  #range(address: number, lengthBytes: number) {
    return { offset: BigInt.asUintN(64, BigInt(address - this.base)), length: lengthBytes };
  }
}

/** A TCS that is good for a 64-bit enclave, but for what `fields` says. */
export function tcsPage(fields: ValuesOf<typeof Tcs>): Uint8Array {
  const page = new Uint8Array(PAGE_SIZE_BYTES);
  page.set(Tcs.encode({ fsLimit: 0xffff_ffff, gsLimit: 0xffff_ffff, ...fields }));
  return page;
}

function rangeResult(out: { readonly ret: number; readonly count?: bigint; readonly result?: bigint }): RangeResult {
  return { ret: out.ret, count: Number(out.count ?? 0n), result: Number(out.result ?? 0n) };
}
