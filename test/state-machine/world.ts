/** A machine with a few processes, and what the test knows of it that the machine does not: who wrote what. */
import { KeyRequest, PageType, SecInfo, SecInfoFlags } from '../../src/abi/sgx-arch.ts';
import { EnclaveFile } from '../../src/kernel/enclave.ts';
import { isEvicted, typeOf } from '../../src/kernel/page-table.ts';
import { Errno } from '../../src/lib/errno.ts';
import type { Ioctl } from '../../src/lib/ioctl.ts';
import { addressOf, epcIndex, linPage, PAGE_SIZE_BYTES, pageOf } from '../../src/lib/units.ts';
import {
  eaccept,
  eacceptcopy,
  edeccssa,
  egetkey,
  emodpe,
  ereport,
  exec,
  pause,
  read,
  write,
  type Code,
} from '../../src/virtual/code.ts';
import { tcsPage } from '../../src/virtual/enclave.ts';
import { VirtualMachine } from '../../src/virtual/machine.ts';
import type { VirtualProcess } from '../../src/virtual/process.ts';
import type { VirtualThreadRunner } from '../../src/virtual/thread.ts';
import { Arguments, BASES, checkErrno, PAGES, type Choice, type Values } from './calls.ts';
import { ioctlsOf, isMappable, type Uapi } from './interface.ts';
import { checkMachine, checkRights, checkThreads } from './invariants.ts';

export interface WorldOptions {
  readonly uapi: Uapi;
  readonly cpu: string;
  readonly epcPages: number;
}

/** What one instruction of random enclave code is made of. */
export interface Doing {
  readonly what: 'read' | 'write' | 'exec' | 'accept' | 'extend' | 'copy' | 'key' | 'report' | 'dec' | 'tcs' | 'pause';
  readonly page: number;
  readonly value: number;
}

/** An ioctl between two of its slices. */
interface InProgress {
  readonly process: VirtualProcess;
  /** One slice more; whether it was the last. */
  readonly next: () => boolean;
}

const MAX_PROCESSES = 4;
const MAX_THREADS = 4;
/** Pages of the enclave that `build` makes: two TCSs with two frames each, code, data. */
const DATA_PAGE = 7;
/** Where in a page the test keeps a byte, and where in the data page operands and results of leaves are. */
const BYTE_OFFSET = 16;
const SECINFO_OFFSET = 0x40;
const { R, W, X, PENDING, MODIFIED, PR } = SecInfoFlags.bit;
const REG = PageType.REG << 8;
const accepted = [
  REG | R | W | PENDING,
  REG | R | PR,
  REG | R | W | PR,
  (PageType.TRIM << 8) | MODIFIED,
  (PageType.TCS << 8) | MODIFIED,
  REG | R | W | X,
  0x700,
] as const;

export class World {
  readonly machine: VirtualMachine;
  readonly uapi: Uapi;
  readonly processes: VirtualProcess[] = [];
  readonly #arguments = new Map<VirtualProcess, Arguments>();
  /** Ioctls in progress. */
  readonly #steps: InProgress[] = [];
  /** By enclave: the byte that enclave code last wrote to a page; absent where the test does not know. */
  readonly #written = new Map<EnclaveFile, Map<number, number>>();
  steps = 0;

  constructor({ uapi, cpu, epcPages }: WorldOptions) {
    this.uapi = uapi;
    this.machine = new VirtualMachine({ sgxUapi: uapi, cpu, epcPages });
    this.spawn();
    this.build(0, 0);
    this.fork(0);
  }

  spawn(): void {
    if (this.processes.length < MAX_PROCESSES) this.#adopt(this.machine.process());
  }

  fork(index: number): void {
    if (this.processes.length < MAX_PROCESSES) this.#adopt(this.process(index).fork());
  }

  #adopt(process: VirtualProcess): void {
    this.processes.push(process);
    this.#arguments.set(process, new Arguments(process));
  }

  /** There is always one. */
  process(index: number): VirtualProcess {
    return this.processes[index % this.processes.length]!;
  }

  exit(index: number): void {
    const process = this.process(index);
    this.#abandon(process);
    process.exit();
    this.processes.splice(this.processes.indexOf(process), 1);
    this.#arguments.delete(process);
    if (this.processes.length === 0) this.spawn();
  }

  exec(index: number): void {
    const process = this.process(index);
    this.#abandon(process);
    process.exec();
    this.#arguments.set(process, new Arguments(process));
  }

  /** Its ioctls in progress are never gone on with. */
  #abandon(process: VirtualProcess): void {
    for (const step of this.#steps.filter((one) => one.process === process)) this.#finish(step);
  }

  #finish(step: InProgress): void {
    while (!step.next());
    this.#steps.splice(this.#steps.indexOf(step), 1);
  }

  descriptor(process: VirtualProcess, index: number): number {
    const all = process.descriptors();
    return all.length === 0 ? 77 : all[index % all.length]!;
  }

  open(index: number, path: number): void {
    const process = this.process(index);
    if (process.descriptors().length > 8) return;
    const paths = [
      '/dev/sgx_enclave',
      '/dev/sgx',
      '/dev/sgx_provision',
      '/sys/kernel/security/sgx/provision',
      '/nowhere',
    ];
    process.open(paths[path % paths.length]!);
  }

  /** One of the ioctls that the descriptor takes. */
  ioctl(index: number, nth: number, choice: Choice): void {
    const process = this.process(index);
    const fd = this.descriptor(process, choice.fd);
    const file = process.file(fd);
    const all = file === undefined ? [] : ioctlsOf(this.uapi, file.node);
    if (file === undefined || all.length === 0) {
      const ret = process.ioctl(fd, nth * 0x1357_9bdf, 0x6000_0000);
      checkErrno(ret, ['EBADF', 'ENOTTY', 'EBUSY'], 'an unknown ioctl');
      return;
    }
    this.call(process, fd, all[nth % all.length]!, choice);
  }

  /** Runs it, or leaves it in the middle (`choice.twist` 10). */
  call(process: VirtualProcess, fd: number, ioctl: Ioctl, choice: Choice): number {
    const args = this.#arguments.get(process)!;
    const enclave = this.#enclaveFor(process, fd, choice);
    const { address, values } = args.make(ioctl, choice, enclave);
    let asked = 0;
    process.pendingSignals = () => choice.twist === 11 && ++asked > choice.pages;
    const steps = process.ioctlSteps(fd, ioctl.number, address);
    let ret = 0;
    const next = (): boolean => {
      const { done, value } = steps.next();
      if (done === true) ret = value.ret;
      return done === true;
    };
    if (choice.twist === 10 && this.#steps.length < 2) {
      if (!next()) this.#steps.push({ process, next });
    } else {
      while (!next());
    }
    process.pendingSignals = () => false;
    checkErrno(ret, [...ioctl.errors, 'EBUSY', 'EFAULT'], ioctl.name);
    const isRange = 'count' in values || ioctl.arg?.fields.some(({ name }) => name === 'count');
    if (isRange && choice.twist < 9) this.#checkRange(ioctl, values, args.result(ioctl), ret, enclave);
    return ret;
  }

  /** The enclave that a call on the descriptor is about: its own, or the one that the structure names. */
  #enclaveFor(process: VirtualProcess, fd: number, choice: Choice): EnclaveFile | undefined {
    const file = process.file(fd);
    if (file instanceof EnclaveFile) return file;
    const all = process.descriptors();
    const named = process.file(all[choice.other % all.length]!);
    return named instanceof EnclaveFile ? named : undefined;
  }

  /** `count` and `result` agree with the return value and with what was done. */
  #checkRange(ioctl: Ioctl, given: Values, out: Values, ret: number, enclave: EnclaveFile | undefined): void {
    const count = Number(out['count']);
    const result = Number(out['result'] ?? 0n);
    const length = Number(given['length']);
    const says = `${ioctl.name}: ret ${ret}, count ${count} of ${length}, result ${result}`;
    const wrong = (why: string): never => {
      throw new Error(`${says}: ${why}`);
    };
    if (count % PAGE_SIZE_BYTES !== 0 || count > length) wrong('that is no number of its pages');
    if (ret === 0 && count !== length) wrong('a success leaves nothing out');
    if (ret < 0 && count === length && length > 0) wrong('a failure has a page that failed');
    if (result !== 0 && ret !== -Errno.EFAULT) wrong('an SGX code is EFAULT');
    if (enclave === undefined || count === 0) return;
    const first = pageOf(enclave.base + Number(given['offset']));
    for (let page = first; page < first + count / PAGE_SIZE_BYTES; page = linPage(page + 1)) {
      const undone = whatIsUndone(ioctl.name, given, enclave, page);
      if (undone !== undefined) wrong(`page ${page - first} ${undone}`);
      if (ioctl.name.includes('REMOVE')) this.#written.get(enclave)?.delete(page);
    }
  }

  /** One slice of an ioctl in progress, or all of it. */
  goOn(index: number, toTheEnd: boolean): void {
    const step = this.#steps[index % Math.max(1, this.#steps.length)];
    if (step === undefined) return;
    if (toTheEnd) this.#finish(step);
    else if (step.next()) this.#steps.splice(this.#steps.indexOf(step), 1);
  }

  /** A whole enclave: created, filled, initialized and mapped, by whatever calls this generation has. */
  build(index: number, base: number): void {
    const process = this.process(index);
    if (process.descriptors().length > 6) return;
    const device = process.open(this.uapi.endsWith('2018') ? '/dev/sgx' : '/dev/sgx_enclave');
    const at = (page: number, kind: number, pages = 1): Choice => ({
      base,
      page,
      kind,
      pages,
      fd: 0,
      other: 0,
      twist: 0,
    });
    const find = (fd: number, part: string): Ioctl | undefined =>
      ioctlsOf(this.uapi, process.file(fd)?.node ?? '').find(({ name }) => name.includes(part));
    const create = find(device, 'CREATE')!;
    const made = this.call(process, device, create, at(0, 0));
    if (made < 0) return;
    const enclaveFd = made > 0 ? made : device;
    const taking = find(device, 'ADD_PAGE') === undefined ? enclaveFd : device;
    const positions = process.descriptors();
    const other = positions.indexOf(enclaveFd);
    const add = find(taking, 'ADD_PAGE')!;
    const whole = add.name.endsWith('S');
    const put = (page: number, kind: number, pages: number) => {
      if (whole) return void this.call(process, taking, add, { ...at(page, kind, pages), other });
      for (let i = 0; i < pages; i++) this.call(process, taking, add, { ...at(page + i, kind), other });
    };
    // Kinds of calls.ts: 3 is a TCS, 2 is R|X, 0 is R|W.
    put(0, 3, 1);
    put(1, 0, 2);
    put(3, 3, 1);
    put(4, 0, 2);
    put(6, 2, 1);
    put(DATA_PAGE, 0, 5);
    this.call(process, taking, find(taking, 'INIT')!, { ...at(0, 0), other });
    const mappable = isMappable(this.uapi, process.file(enclaveFd)!.node) ? enclaveFd : device;
    this.map(process, mappable, base);
  }

  /** As a loader maps what `build` has made: the page of code R|X, the rest R|W. */
  map(process: VirtualProcess, fd: number, base: number): void {
    const start = BASES[base % BASES.length]!;
    const parts = [
      [0, 6, 3],
      [6, 7, 5],
      [7, PAGES, 3],
    ] as const;
    for (const [from, to, prot] of parts) {
      process.mmap(start + from * PAGE_SIZE_BYTES, (to - from) * PAGE_SIZE_BYTES, prot, 0x11, fd);
    }
  }

  /** Trims a page, has the enclave accept that, and removes it: as far as each goes. */
  trim(index: number, where: Choice): void {
    this.#change(index, { ...where, pages: 1, kind: 0 }, /MODIFY_TYPE|MODT/);
    this.#runToTheEnd(index, where, [{ what: 'accept', page: where.page, value: 1 }]);
    this.#change(index, { ...where, pages: 1 }, /REMOVE/);
  }

  /** Adds three pages from within, makes the first a TCS whose frames are the others, and enters through it. */
  grow(index: number, where: Choice): void {
    const { page } = where;
    const added = [page, page + 1, page + 2].map((each) => ({ what: 'accept', page: each, value: 1 }) as const);
    this.#runToTheEnd(index, where, [...added, { what: 'tcs', page, value: 1 }]);
    this.#change(index, { ...where, pages: 1, kind: 1 }, /MODIFY_TYPE|MODT/);
    this.#runToTheEnd(index, where, [{ what: 'accept', page, value: 1 }]);
    this.enter(index, where, [{ what: 'pause', page: 0, value: 0 }]);
  }

  #change(index: number, where: Choice, name: RegExp): void {
    const process = this.process(index);
    const fd = this.descriptor(process, where.fd);
    const ioctl = ioctlsOf(this.uapi, process.file(fd)?.node ?? '').find((each) => name.test(each.name));
    if (ioctl !== undefined) this.call(process, fd, ioctl, { ...where, twist: 0 });
  }

  /** Through the first TCS that `build` makes. */
  #runToTheEnd(index: number, where: Choice, doings: readonly Doing[]): void {
    const process = this.process(index);
    const tcs = BASES[where.base % BASES.length]!;
    const file = process.mm.enclaveAt(pageOf(tcs));
    if (file === undefined) return;
    const thread = process.thread();
    thread.entry = pause;
    thread.run(tcs, () => this.#code(file, doings));
    process.threads.splice(process.threads.indexOf(thread), 1);
    thread.end();
  }

  thread(process: VirtualProcess, index: number): VirtualThreadRunner {
    return process.threads.length < MAX_THREADS ? process.thread() : process.threads[index % process.threads.length]!;
  }

  /** EENTER through a page of an enclave; the code goes on step by step. */
  enter(index: number, choice: Choice, doings: readonly Doing[]): void {
    const process = this.process(index);
    const tcs = BASES[choice.base % BASES.length]! + (choice.page % PAGES) * PAGE_SIZE_BYTES;
    const thread = this.thread(process, choice.fd);
    thread.entry ??= pause;
    const file = process.mm.enclaveAt(pageOf(tcs));
    if (file !== undefined) thread.enter(tcs, () => this.#code(file, doings));
  }

  *#code(file: EnclaveFile, doings: readonly Doing[]): Code<void> {
    for (const doing of doings) yield* this.#do(file, doing);
  }

  *#do(file: EnclaveFile, { what, page: number, value }: Doing): Code<void> {
    const page = file.base + (number % PAGES) * PAGE_SIZE_BYTES;
    const data = file.base + DATA_PAGE * PAGE_SIZE_BYTES;
    const secInfo = data + SECINFO_OFFSET;
    const known = this.#knownOf(file);
    switch (what) {
      case 'read': {
        const [found] = yield* read(page + BYTE_OFFSET, 1);
        const expected = known.get(pageOf(page));
        if (expected !== undefined && file.isInElrange(page) && found !== expected)
          throw new Error(`page ${number % PAGES} has ${found}, and ${expected} was written`);
        return;
      }
      case 'write':
        yield* write(page + BYTE_OFFSET, Uint8Array.of(value));
        if (this.#isTracked(number % PAGES)) known.set(pageOf(page), value & 0xff);
        return;
      case 'exec':
        return yield* exec(page);
      case 'accept': {
        const flags = value % 4 === 0 ? accepted[value % accepted.length]! : this.#entry(file, page);
        yield* write(secInfo, SecInfo.encode({ flags }));
        const code = yield* eaccept(secInfo, page);
        if (code === 0 && (flags & PENDING) !== 0 && this.#isTracked(number % PAGES)) known.set(pageOf(page), 0);
        return;
      }
      case 'extend':
        yield* write(secInfo, SecInfo.encode({ flags: REG | (value % 8) }));
        yield* emodpe(secInfo, page);
        return;
      case 'copy': {
        yield* write(secInfo, SecInfo.encode({ flags: REG | R | W }));
        const code = yield* eacceptcopy(secInfo, page, data);
        if (code === 0) known.delete(pageOf(page));
        return;
      }
      case 'key':
        if (value % 2 === 0) yield* write(data + 0x200, KeyRequest.encode({ keyName: value % 8 }));
        yield* egetkey(data + 0x200, data + 0x800);
        return;
      case 'report':
        yield* ereport(data + 0x200, data + 0x400, data + 0xa00);
        return;
      case 'dec':
        yield* edeccssa();
        return;
      case 'tcs': {
        const ossa = ((number + 1) % PAGES) * PAGE_SIZE_BYTES;
        yield* write(page, tcsPage({ ossa, nssa: 1 + (value % 2), oentry: 6 * PAGE_SIZE_BYTES }));
        known.delete(pageOf(page));
        return;
      }
      case 'pause':
        return yield* pause();
    }
  }

  /** What an enclave that knows its pages would accept: the page as it is, or as EAUG makes it. */
  #entry(file: EnclaveFile, address: number): number {
    const page = file.pages.residentPage(pageOf(address));
    return page === undefined ? REG | R | W | PENDING : file.kernel.processor.epcm.secInfoFlags(page);
  }

  /** Pages whose byte no AEX and no TCS overwrites: odd ones behind the data, for TCSs are made of others with frames behind. */
  #isTracked(number: number): boolean {
    return number >= 24;
  }

  #knownOf(file: EnclaveFile): Map<number, number> {
    let known = this.#written.get(file);
    if (known === undefined) this.#written.set(file, (known = new Map()));
    return known;
  }

  /** One instruction of a thread that has code to go on with. */
  step(index: number, nth: number, times: number): void {
    const { threads } = this.process(index);
    for (let i = 0; i < times; i++) {
      const running = threads.filter(({ running: goesOn }) => goesOn);
      if (running.length === 0) return;
      running[nth % running.length]!.step();
    }
  }

  /** Invariants, after each step; the dearest not every time. */
  check(): void {
    checkMachine(this.machine);
    checkThreads(this.machine);
    if (++this.steps % 8 === 0) this.checkAllRights();
  }

  checkAllRights(): void {
    const pages = BASES.flatMap((base) => Array.from({ length: PAGES }, (_, i) => linPage(pageOf(base) + i)));
    for (const process of this.processes) checkRights(this.machine, process, pages);
  }

  /** Everybody goes, and everything is given back. */
  end(): void {
    while (this.#steps.length > 0) this.#finish(this.#steps[0]!);
    this.checkAllRights();
    for (const process of this.processes) process.exit();
    const { pages, freePages, backingPages, enclaves } = this.machine.usage();
    if (freePages !== pages || backingPages !== 0 || enclaves !== 0) {
      throw new Error(`left at the end: ${pages - freePages} pages, ${backingPages} evicted, ${enclaves} enclaves`);
    }
  }
}

/** Why the page does not show what a successful ioctl has done to it; undefined when it does. */
function whatIsUndone(name: string, given: Values, enclave: EnclaveFile, page: number): string | undefined {
  const entry = enclave.pages.get(linPage(page));
  if (name.includes('REMOVE')) return entry === undefined ? undefined : 'is still there';
  if (entry === undefined) return `is not there, at ${addressOf(linPage(page))}`;
  if (isEvicted(entry.flags)) return undefined;
  const { epcm } = enclave.kernel.processor;
  const epcPage = epcIndex(entry.location);
  const type = given['pageType'] ?? given['type'];
  if (type !== undefined && (typeOf(entry.flags) !== Number(type) || epcm.type(epcPage) !== Number(type)))
    return `is not of type ${type}`;
  const permissions = given['permissions'];
  if (permissions !== undefined && (epcm.permissions(epcPage) & ~Number(permissions)) !== 0)
    return `still has more than ${permissions}`;
  return undefined;
}
