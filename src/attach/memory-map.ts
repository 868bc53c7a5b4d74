/**
 * What Linux knows of a process's mappings, asked anew after `forget`: the program changes them behind our back.
 */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { ProcmapQuery, ProcmapQueryFlags, procfsIoctls } from '../abi/linux.ts';
import { Errno } from '../lib/errno.ts';
import { USER_ADDRESS_END } from '../lib/units.ts';
import { ioctl } from './linux/files.ts';

interface Mapping {
  readonly end: number;
  readonly executable: boolean;
  /** `major:minor` of the file system in hexadecimal, `00:00` for anonymous memory. */
  readonly device: string;
}

/** The first mapping that ends above the address, of the process whose maps are open; undefined where there is none. */
export type FindMapping = (mapsFd: number, address: number) => Mapping | undefined | 'unsupported';

export class MemoryMap {
  readonly #pid: number;
  #find: FindMapping;
  /** /proc/PID/maps. It stays with the process image that it was opened for. */
  #mapsFd: number | undefined;
  #disposed = false;
  /** The last answer: whoever asks goes on asking about the pages behind. */
  #last: { readonly from: number; readonly to: number; readonly mayExec: boolean } | undefined;
  /** Whether files of a device may be executed; the mounts, and what was asked since. */
  #mayExecOf: Map<string, boolean> | undefined;

  /** @param find how to ask; where it is unsupported, the text is read instead */
  constructor(pid: number, find: FindMapping = queryMapping) {
    this.#pid = pid;
    this.#find = find;
  }

  forget(): void {
    this.#last = undefined;
  }

  /** The process has ended: nothing is known of it from now on. */
  dispose(): void {
    if (this.#mapsFd !== undefined) closeSync(this.#mapsFd);
    this.#mapsFd = undefined;
    this.#disposed = true;
    this.forget();
  }

  /**
   * VM_MAYEXEC of find_vma(address): false only for a file on a file system that forbids execution. undefined when
   * there is no mapping at or above the address, or the process is gone.
   */
  mayExec(address: number): boolean | undefined {
    const last = this.#last;
    if (last !== undefined && address >= last.from && address < last.to) return last.mayExec;
    const mapping = this.#mapping(address);
    if (mapping === undefined) return undefined;
    const mayExec = mapping.executable || mapping.device === ANONYMOUS || this.#deviceMayExec(mapping);
    this.#last = { from: address, to: mapping.end, mayExec };
    return mayExec;
  }

  #mapping(address: number): Mapping | undefined {
    if (this.#disposed) return undefined;
    this.#mapsFd ??= openOrNot(`/proc/${this.#pid}/maps`);
    if (this.#mapsFd === undefined) return undefined;
    const found = this.#find(this.#mapsFd, address);
    if (found !== 'unsupported') return found;
    this.#find = readMapping;
    return readMapping(this.#mapsFd, address);
  }

  /** File systems of the kernel's own are mounted nowhere; the mapping itself says what they allow, once for all. */
  #deviceMayExec({ device, end }: Mapping): boolean {
    this.#mayExecOf ??= parseMounts(readOrEmpty(`/proc/${this.#pid}/mountinfo`));
    let mayExec = this.#mayExecOf.get(device);
    if (mayExec === undefined) {
      mayExec = hasMayExec(readOrEmpty(`/proc/${this.#pid}/smaps`), end);
      this.#mayExecOf.set(device, mayExec);
    }
    return mayExec;
  }
}

const ANONYMOUS = '00:00';
const { mask } = ProcmapQueryFlags;
const argument = ProcmapQuery.encode({
  size: BigInt(ProcmapQuery.sizeBytes),
  queryFlags: mask.PROCMAP_QUERY_COVERING_OR_NEXT_VMA,
});
const query = ProcmapQuery.view(argument);

/** By PROCMAP_QUERY: a microsecond or two, however many mappings there are. */
function queryMapping(mapsFd: number, address: number): ReturnType<FindMapping> {
  query.queryAddr = BigInt(address);
  const ret = ioctl(mapsFd, procfsIoctls.numbers.PROCMAP_QUERY, argument);
  if (ret === -Errno.ENOENT || ret === -Errno.ESRCH) return undefined;
  if (ret < 0) return 'unsupported';
  return {
    end: Number(query.vmaEnd),
    executable: (query.vmaFlags & mask.PROCMAP_QUERY_VMA_EXECUTABLE) !== 0n,
    device: deviceName(query.devMajor, query.devMinor),
  };
}

/** Before Linux 6.11: from the text, no further than needed. */
function readMapping(mapsFd: number, address: number): Mapping | undefined {
  return findMapping(linesOf(mapsFd), address);
}

/** Lines like `7f12a000-7f12b000 r-xp 00000000 08:02 135522  /usr/lib/libc.so.6`. */
export function findMapping(lines: Iterable<string>, address: number): Mapping | undefined {
  for (const line of lines) {
    const end = Number.parseInt(line.slice(line.indexOf('-') + 1), 16);
    if (end <= address) continue;
    // The vsyscall page is in the text only.
    if (end > USER_ADDRESS_END) return undefined;
    const [, rights, , device] = line.split(' ', 4);
    return { end, executable: rights![2] === 'x', device: device! };
  }
  return undefined;
}

const chunk = Buffer.alloc(4096);

function* linesOf(fd: number): Generator<string> {
  let rest = '';
  let position = 0;
  for (let got = readOrNothing(fd, position); got > 0; got = readOrNothing(fd, position)) {
    position += got;
    const lines = (rest + chunk.toString('latin1', 0, got)).split('\n');
    rest = lines.pop()!;
    yield* lines;
  }
}

/** Mounted devices, and whether any mount of each lets it be executed; maps prints them in hexadecimal. */
export function parseMounts(text: string): Map<string, boolean> {
  const found = new Map<string, boolean>();
  for (const match of text.matchAll(/^\d+ \d+ (\d+):(\d+) \S+ \S+ (\S+)/gm)) {
    const device = deviceName(Number(match[1]), Number(match[2]));
    found.set(device, found.get(device) === true || !match[3]!.split(',').includes('noexec'));
  }
  return found;
}

/** The flag `me` of the mapping that ends at `end`; true where the kernel tells no flags. */
export function hasMayExec(smaps: string, end: number): boolean {
  const at = smaps.search(new RegExp(`^[0-9a-f]+-0*${end.toString(16)} `, 'm'));
  const flags = at < 0 ? undefined : /^VmFlags:(.*)$/m.exec(smaps.slice(at))?.[1];
  return flags === undefined || flags.split(' ').includes('me');
}

function deviceName(major: number, minor: number): string {
  const hex = (number: number): string => number.toString(16).padStart(2, '0');
  return `${hex(major)}:${hex(minor)}`;
}

function openOrNot(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch {
    return undefined;
  }
}

/** Bytes read into `chunk`; 0 also when the process is gone. */
function readOrNothing(fd: number, position: number): number {
  try {
    return readSync(fd, chunk, 0, chunk.length, position);
  } catch {
    return 0;
  }
}

export function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

const PF_EXITING = 0x4;

/** Of /proc/PID/stat or /proc/PID/task/TID/stat; one that is gone was exiting. proc(5), flags. */
export function isExiting(stat: string): boolean {
  const flags = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[6] ?? PF_EXITING);
  return (flags & PF_EXITING) !== 0;
}
