/**
 * Ioctls made from the tables of the interface's generation: every field of every structure gets a value that fits its
 * name. So a new generation, ioctl or field is tested as soon as it is declared.
 */
import { Attributes, PageType, SecInfo, Secs, Xfrm } from '../../src/abi/sgx-arch.ts';
import { sampleSigningKey } from '../../src/formats/sample-key.ts';
import { signSigStruct } from '../../src/formats/sigstruct.ts';
import type { EnclaveFile } from '../../src/kernel/enclave.ts';
import { toHex } from '../../src/lib/bytes.ts';
import { Errno, type ErrnoName } from '../../src/lib/errno.ts';
import type { Ioctl } from '../../src/lib/ioctl.ts';
import { PAGE_SIZE_BYTES } from '../../src/lib/units.ts';
import { PageKind, tcsPage } from '../../src/virtual/enclave.ts';
import type { VirtualProcess } from '../../src/virtual/process.ts';

/** ELRANGEs are this large, and at one of these places; operations choose from their pages. */
export const PAGES = 32;
export const BASES = [0x7f00_0000_0000, 0x7f00_0002_0000, 0x7f10_0000_0000] as const;
export const SIZE_BYTES = PAGES * PAGE_SIZE_BYTES;

/** What an ioctl's structure is filled from. Small numbers: each is taken modulo what there is to choose from. */
export interface Choice {
  readonly base: number;
  readonly page: number;
  readonly pages: number;
  readonly kind: number;
  readonly fd: number;
  /** Of the descriptor that is in the structure. */
  readonly other: number;
  /** 0: all is as it should be; else one thing is not. */
  readonly twist: number;
}

const kinds = [PageKind.RW, PageKind.RW, PageKind.RX, PageKind.TCS, PageKind.R, PageKind.RWX, 0x0300, 0x0202] as const;
const ALL_BITS = 0xffff_ffff_ffff_ffffn;

/** Memory of a process that ioctls read: made once, written for each call. */
export class Arguments {
  readonly #process: VirtualProcess;
  readonly #argument: number;
  readonly #small: number;
  readonly #contents: number;

  constructor(process: VirtualProcess) {
    this.#process = process;
    this.#argument = process.memory.allocate(PAGE_SIZE_BYTES);
    this.#small = process.memory.allocate(PAGE_SIZE_BYTES);
    this.#contents = process.memory.allocate(SIZE_BYTES);
  }

  /** The argument's address, and what is in it. */
  make(ioctl: Ioctl, choice: Choice, enclave: EnclaveFile | undefined): { address: number; values: Values } {
    if (ioctl.arg === undefined) return { address: this.#argument, values: {} };
    const values: Values = {};
    for (const { name, kind } of ioctl.arg.fields) {
      if (kind === 'reserved') continue;
      const value = this.#value(name, ioctl.name, choice, enclave);
      if (value !== undefined) values[name] = value;
    }
    this.#process.memory.write(this.#argument, ioctl.arg.encode(values));
    return { address: choice.twist === 9 ? 0x6000_0000 : this.#argument, values };
  }

  /** The structure as it came back. */
  result(ioctl: Ioctl): Values {
    const bytes = new Uint8Array(ioctl.arg!.sizeBytes);
    this.#process.memory.read(this.#argument, bytes);
    return ioctl.arg!.decode(bytes) as Values;
  }

  #value(field: string, ioctl: string, choice: Choice, enclave: EnclaveFile | undefined): number | bigint | undefined {
    const { page, pages, kind, other, twist } = choice;
    const base = enclave?.created === true ? enclave.base : BASES[choice.base % BASES.length]!;
    const offset = (page % PAGES) * PAGE_SIZE_BYTES;
    switch (field) {
      case 'src':
        return ioctl.endsWith('CREATE') ? this.#secs(choice) : this.#contentsFor(choice) + (twist === 1 ? 16 : 0);
      case 'offset':
        return offset + (twist === 2 ? 8 : 0);
      case 'addr':
        return base + offset + (twist === 2 ? 8 : 0);
      case 'length':
        return twist === 3 ? (page % 3) * 0x801 : pages * PAGE_SIZE_BYTES;
      case 'secInfo':
        this.#process.memory.write(this.#small, SecInfo.encode({ flags: kinds[kind % kinds.length]! }));
        return this.#small;
      case 'sigStruct':
        this.#process.memory.write(this.#small + 0x200, sigStructFor(enclave, twist));
        return this.#small + 0x200;
      case 'flags':
        return kind % 4 === 3 ? 0 : 1;
      case 'mrMask':
        return kind % 4 === 3 ? 0 : 0xffff;
      case 'permissions':
      case 'prot':
        return twist === 4 ? kind : ([1, 1, 3, 5, 7, 0] as const)[kind % 6]!;
      case 'pageType':
      case 'type':
        return ([PageType.TRIM, PageType.TCS, PageType.TRIM, PageType.REG] as const)[kind % 4]!;
      case 'fd':
      case 'enclaveFd':
        return this.#descriptor(other, twist);
      // Another one than `enclaveFd`.
      case 'attributeFd':
        return this.#descriptor(other + 1 + kind, twist);
      default:
        return undefined;
    }
  }

  #descriptor(nth: number, twist: number): number {
    const all = this.#process.descriptors();
    return all.length === 0 || twist === 5 ? 77 : all[nth % all.length]!;
  }

  #secs({ base, kind, twist }: Choice): number {
    const bytes = Secs.encode({
      size: twist === 6 ? SIZE_BYTES + PAGE_SIZE_BYTES : SIZE_BYTES,
      baseAddr: BASES[base % BASES.length]! + (twist === 7 ? PAGE_SIZE_BYTES : 0),
      ssaFrameSize: twist === 8 ? 0 : 1,
      attributes:
        Attributes.mask.MODE64BIT |
        (kind % 3 === 1 ? Attributes.mask.DEBUG : 0n) |
        (kind % 5 === 4 ? Attributes.mask.PROVISIONKEY : 0n),
      xfrm: Xfrm.mask.X87 | Xfrm.mask.SSE,
      miscSelect: kind % 2,
    });
    this.#process.memory.write(this.#contents, bytes);
    return this.#contents;
  }

  /** A TCS where one is added, with its frames on the two pages behind; else zeros. */
  #contentsFor({ kind, page }: Choice): number {
    const isTcs = kinds[kind % kinds.length] === PageKind.TCS;
    const ossa = (((page % PAGES) + 1) % PAGES) * PAGE_SIZE_BYTES;
    const bytes = isTcs ? tcsPage({ ossa, nssa: 2, oentry: 6 * PAGE_SIZE_BYTES }) : new Uint8Array(PAGE_SIZE_BYTES);
    this.#process.memory.write(this.#contents, bytes);
    return this.#contents;
  }
}

export type Values = Record<string, number | bigint>;

const WRONG_HASH = 1;
const WRONG_SIGNATURE = 2;

/** Signing takes 2 ms, and the same enclaves are built again and again. */
const signed = new Map<string, Uint8Array>();

function sigStructFor(enclave: EnclaveFile | undefined, twist: number): Uint8Array {
  const secs = enclave?.secs === undefined ? undefined : enclave.kernel.processor.secs(enclave.secs);
  const enclaveHash = secs?.measurement?.current() ?? new Uint8Array(32);
  const attributes = secs?.fields.attributes ?? Attributes.mask.MODE64BIT;
  const key = `${toHex(enclaveHash)} ${attributes} ${twist}`;
  let sigStruct = signed.get(key);
  if (sigStruct !== undefined) return sigStruct;
  sigStruct = signSigStruct(
    {
      attributes,
      attributeMask: ALL_BITS & ~Attributes.mask.DEBUG,
      xfrm: secs?.fields.xfrm ?? 3n,
      xfrmMask: ALL_BITS,
      enclaveHash: twist === WRONG_HASH ? new Uint8Array(32) : enclaveHash,
      date: 0x20261120,
    },
    sampleSigningKey(),
  );
  if (twist === WRONG_SIGNATURE) sigStruct[600]! ^= 1;
  signed.set(key, sigStruct);
  return sigStruct;
}

const errnoNames = new Map<number, string>(Object.entries(Errno).map(([name, number]) => [number, name]));

/** Throws when the driver gives what its table does not say. */
export function checkErrno(ret: number, errors: readonly ErrnoName[], what: string): void {
  const name = errnoNames.get(-ret) ?? `${ret}`;
  if (ret < 0 && !(errors as readonly string[]).includes(name)) throw new Error(`${what} gave ${name}`);
}
