/** The enclave that most model tests build: one thread, one page of code, two of data, in a virtual process. */
import { MapFlags, MapType } from '../../src/abi/linux.ts';
import { SecInfo, type Secs } from '../../src/abi/sgx-arch.ts';
import type { ValuesOf } from '../../src/lib/layout.ts';
import { PAGE_SIZE_BYTES, pageOf, type LinPage } from '../../src/lib/units.ts';
import { DEFAULT_BASE, DEFAULT_SIZE_BYTES, Enclave, PageKind, tcsPage } from '../../src/virtual/enclave.ts';
import type { VirtualProcess } from '../../src/virtual/process.ts';

export const BASE = DEFAULT_BASE;
export const ENCLAVE_SIZE_BYTES = DEFAULT_SIZE_BYTES;
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
export const RX_REG = PageKind.RX;
export const RW_REG = PageKind.RW;
export const PT_TCS = PageKind.TCS;

export class VirtualEnclave extends Enclave {
  /** Opens the device, unless the process has the descriptor already. */
  constructor(process: VirtualProcess, fd?: number) {
    super(process, fd === undefined ? {} : { fd });
  }

  /** Built, initialized and mapped; ready to be entered. */
  static ready(process: VirtualProcess, secs: ValuesOf<typeof Secs> = {}): VirtualEnclave {
    const enclave = new VirtualEnclave(process);
    expectZero(enclave.create(secs));
    enclave.addUsualPages();
    expectZero(enclave.init());
    enclave.mapUsualPages();
    return enclave;
  }

  addUsualPages(): void {
    expectZero(this.add(At.TCS, PT_TCS, tcsPage({ ossa: 0x1000, nssa: 2, oentry: 0x3000 })).ret);
    expectZero(this.add(At.SSA, RW_REG, new Uint8Array(2 * PAGE_SIZE_BYTES)).ret);
    expectZero(this.add(At.CODE, RX_REG, new Uint8Array(PAGE_SIZE_BYTES).fill(0xcc)).ret);
    expectZero(this.add(At.DATA, RW_REG, new Uint8Array(2 * PAGE_SIZE_BYTES).fill(0x11)).ret);
  }

  mapUsualPages(holeProt = 7): void {
    const map = (address: number, lengthBytes: number, prot: number) =>
      this.process.must(this.process.mmap(address, lengthBytes, prot, FIXED, this.fd), 'mmap');
    map(At.TCS, 0x3000, 3);
    map(At.CODE, 0x1000, 5);
    map(At.DATA, 0x2000, 3);
    map(At.HOLE, BASE + ENCLAVE_SIZE_BYTES - At.HOLE, holeProt);
  }

  /** What EACCEPT and EMODPE want at RBX. */
  secInfoBytes(flags: number): Uint8Array {
    return SecInfo.encode({ flags });
  }

  page(address: number): LinPage {
    return pageOf(address);
  }

  /** The EPCM entry as SECINFO.FLAGS; undefined when the page is not in EPC. */
  entry(address: number): number | undefined {
    const page = this.file.pages.residentPage(pageOf(address));
    return page === undefined ? undefined : this.process.machine.kernel.processor.epcm.secInfoFlags(page);
  }
}

export function expectZero(ret: number): void {
  if (ret !== 0) throw new Error(`refused with ${ret}`);
}
