/** What a program is made on: virtual processes that have run it so far, which know what there is to choose from. */
import { PageType, Tcs } from '../../src/abi/sgx-arch.ts';
import { enclaveIoctls } from '../../src/abi/sgx-uapi.ts';
import { signSigStruct, type SigStructBody } from '../../src/formats/sigstruct.ts';
import { EnclaveFile } from '../../src/kernel/enclave.ts';
import { typeOf } from '../../src/kernel/page-table.ts';
import type { Layout, ValuesOf } from '../../src/lib/layout.ts';
import { addressOf, pageOf } from '../../src/lib/units.ts';
import type { VirtualProcess } from '../../src/virtual/process.ts';
import { At, defineCase, hex, Memory, PAGE, step, type Step } from '../cases/language.ts';
import { VirtualRun, type RunOptions } from '../cases/virtual.ts';
import { signingKey } from '../model/processor/enclave.ts';

const { numbers } = enclaveIoctls;
/** Two pages for each of three TCSs. */
const SSA_PAGES = 6;
/** Not enough for every program. */
export const SMALL_EPC_PAGES = 1024;
const FIRST_FD = 100;
const LAST_FD = 115;
/** What `fork` gives in real processes, too. */
const MAX_PROCESSES = 8;

export interface Place {
  readonly file: EnclaveFile;
  readonly address: number;
}

export class World {
  readonly run: VirtualRun;
  readonly steps: Step[] = [];
  /** Whether a TCS is for the vDSO function: it has its frame on the stack that an interrupted enclave comes back to. */
  readonly byVdso = new Map<number, boolean>();
  /** TCSs with a frame whose registers were lost with their thread. */
  readonly lost = new Set<number>();

  /** Without keys a page reads otherwise from outside while it is evicted, and which are depends on earlier programs. */
  readonly showsEviction: boolean;

  constructor(options: RunOptions) {
    this.run = new VirtualRun(options);
    this.showsEviction = options.hasKeys === false && options.epcPages <= SMALL_EPC_PAGES;
    for (const one of defineCase('').steps) this.do(one.run);
  }

  /** Runs a step, which thereby is the next one of the program. */
  do(run: string, source?: string): string {
    const gives = this.run.step(run);
    this.steps.push({ ...step(run, gives), ...(source !== undefined && { source }) });
    return gives;
  }

  words(address: number, ...values: readonly (number | bigint)[]): void {
    this.do(`words ${hex(address)} ${values.map(hex).join(' ')}`);
  }

  put(address: number, bytes: Uint8Array, source?: string): void {
    this.do(`put ${hex(address)} ${Buffer.from(bytes).toString('hex')}`, source);
  }

  /** An ioctl with its struct at the usual place; then what came back in it. */
  ioctl<L extends Layout>(fd: number, name: keyof typeof numbers, layout: L, values: ValuesOf<L>): string {
    const bytes = layout.encode(values);
    this.words(Memory.ARGUMENT, ...new BigUint64Array(bytes.slice().buffer));
    const gives = this.call(fd, name);
    for (const field of ['result', 'count']) {
      if (field in layout.fields) this.do(`peek ${hex(Memory.ARGUMENT + layout.offsetOf(field))}`);
    }
    return gives;
  }

  call(fd: number, name: keyof typeof numbers, argument: number = Memory.ARGUMENT): string {
    return this.do(`ioctl ${fd} ${hex(numbers[name])} ${hex(argument)}`);
  }

  /** A fault is looked at as closely as can be. */
  mayFault(run: string): string {
    const gives = this.do(run);
    if (gives.startsWith('SIG') || gives.startsWith('exception')) this.do('fault');
    return gives;
  }

  get process(): VirtualProcess {
    return this.run.process;
  }

  get canFork(): boolean {
    return this.run.forked < MAX_PROCESSES;
  }

  /** Descriptors of enclaves in this process. */
  enclaveFds(): number[] {
    return this.process.descriptors().filter((fd) => this.process.file(fd) instanceof EnclaveFile);
  }

  freeFd(): number {
    const used = new Set(this.process.descriptors());
    for (let fd = FIRST_FD; fd < LAST_FD; fd++) if (!used.has(fd)) return fd;
    return LAST_FD;
  }

  /** Enclaves that this process has open or mapped. */
  enclaves(): EnclaveFile[] {
    const open = this.enclaveFds().map((fd) => this.process.enclave(fd));
    return [...new Set([...open, ...this.process.mm.enclaves()])].filter(({ created }) => created);
  }

  /** Pages of an enclave, of one type or any. */
  pages(file: EnclaveFile, type?: PageType): number[] {
    const found: number[] = [];
    file.pages.visit(0, Infinity, (page, flags) => {
      if (type === undefined || typeOf(flags) === type) found.push(addressOf(page));
    });
    return found;
  }

  /** TCSs of enclaves mapped here. */
  tcses(): Place[] {
    return [...this.process.mm.enclaves()].flatMap((file) =>
      file.created ? this.pages(file, PageType.TCS).map((address) => ({ file, address })) : [],
    );
  }

  /**
   * Whether a thread that is inside needs such a page to leave: hardware interrupts it when that is taken away, here
   * it goes on.
   */
  isInUse(file: EnclaveFile, start: number, pages: number): boolean {
    if (!this.spinsInside(file)) return false;
    const tcses = this.pages(file, PageType.TCS);
    return Array.from({ length: pages }, (_, index) => start + index * PAGE).some(
      (page) => this.isSaveArea(file, page) || tcses.includes(page),
    );
  }

  /** Whether some process has a second thread in the enclave. */
  spinsInside(file: EnclaveFile): boolean {
    return this.run.living.some((number) => {
      const tcs = this.run.spinsIn(number);
      return tcs !== undefined && file.created && file.isInElrange(tcs);
    });
  }

  /** Whether the TCS can be entered, as far as its frames go; not said of one that was evicted. */
  hasFreeFrame({ file, address }: Place): boolean {
    const { contents } = this.run.machine;
    if (file.secs === undefined || !contents.has(file.secs, pageOf(address))) return false;
    const bytes = new Uint8Array(Tcs.sizeBytes);
    contents.read(file.secs, pageOf(address), 0, bytes);
    const { cssa, nssa } = Tcs.decode(bytes);
    return cssa < nssa;
  }

  /** A SIGSTRUCT for what was built so far. */
  sign(file: EnclaveFile, body: SigStructBody = {}): { readonly bytes: Uint8Array; readonly source: string } {
    const { processor } = this.run.machine.machine;
    const { fields, measurement } = processor.secs(file.secs!);
    const all: SigStructBody = {
      attributes: fields.attributes,
      xfrm: fields.xfrm,
      miscSelect: fields.miscSelect,
      enclaveHash: measurement?.current() ?? new Uint8Array(32),
      ...body,
    };
    return { bytes: signed(all), source: `put(Memory.SIGSTRUCT, sign(${textOf(all)}))` };
  }

  /** Whether an SSA frame of its enclave lies there, whose bytes are registers. */
  isSaveArea(file: EnclaveFile, address: number): boolean {
    const page = pageOf(address - file.base);
    return page >= pageOf(At.SSA) && page < pageOf(At.SSA) + SSA_PAGES;
  }
}

/** Signing takes longer than everything else. */
const signatures = new Map<string, Uint8Array>();

function signed(body: SigStructBody): Uint8Array {
  const key = textOf(body);
  let bytes = signatures.get(key);
  if (bytes === undefined) {
    bytes = signSigStruct(
      { attributeMask: 0xffff_ffff_ffff_fffdn, xfrmMask: 0xffff_ffff_ffff_ffffn, date: 0x20261120, ...body },
      signingKey(),
    );
    signatures.set(key, bytes);
  }
  return bytes;
}

/** As TypeScript. */
function textOf(body: SigStructBody): string {
  const fields = Object.entries(body).map(([name, value]) => {
    if (value instanceof Uint8Array) return `${name}: Buffer.from('${Buffer.from(value).toString('hex')}', 'hex')`;
    return `${name}: ${typeof value === 'bigint' ? `${hex(value)}n` : String(value)}`;
  });
  return `{ ${fields.join(', ')} }`;
}
