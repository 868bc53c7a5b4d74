/**
 * What /proc/PID/maps says about a process's mappings, read when first asked and forgotten by `forget`: the program
 * changes them behind our back.
 */
import { readFileSync } from 'node:fs';

interface Mapping {
  readonly start: number;
  readonly end: number;
  readonly executable: boolean;
  /** `major:minor` of the file system, `00:00` for anonymous memory. */
  readonly device: string;
}

export class MemoryMap {
  readonly #pid: number;
  #mappings: readonly Mapping[] | undefined;
  /** The last answer: whoever asks goes on asking about the pages behind. */
  #last: { readonly from: number; readonly to: number; readonly mayExec: boolean } | undefined;
  #noexecDevices: ReadonlySet<string> | undefined;

  constructor(pid: number) {
    this.#pid = pid;
  }

  forget(): void {
    this.#mappings = undefined;
    this.#last = undefined;
  }

  /**
   * VM_MAYEXEC of find_vma(address): false only for a file on a file system that is mounted noexec. undefined when
   * there is no mapping at or above the address, or the process is gone.
   */
  mayExec(address: number): boolean | undefined {
    const last = this.#last;
    if (last !== undefined && address >= last.from && address < last.to) return last.mayExec;
    this.#mappings ??= parseMaps(readOrEmpty(`/proc/${this.#pid}/maps`));
    const mapping = this.#mappings.find(({ end }) => end > address);
    if (mapping === undefined) return undefined;
    const mayExec = mapping.executable || mapping.device === '00:00' || !this.#isNoexec(mapping.device);
    this.#last = { from: address, to: mapping.end, mayExec };
    return mayExec;
  }

  #isNoexec(device: string): boolean {
    this.#noexecDevices ??= parseNoexec(readOrEmpty(`/proc/${this.#pid}/mountinfo`));
    return this.#noexecDevices.has(device);
  }
}

/** Lines like `7f12a000-7f12b000 r-xp 00000000 08:02 135522  /usr/lib/libc.so.6`. */
export function parseMaps(text: string): Mapping[] {
  return [...text.matchAll(/^([0-9a-f]+)-([0-9a-f]+) ..(.). \S+ (\S+)/gm)].map((match) => ({
    start: Number.parseInt(match[1]!, 16),
    end: Number.parseInt(match[2]!, 16),
    executable: match[3] === 'x',
    device: match[4]!,
  }));
}

/** Devices all of whose mounts are noexec; maps prints them in hexadecimal, mountinfo in decimal. */
export function parseNoexec(text: string): Set<string> {
  const found = new Set<string>();
  const executable = new Set<string>();
  for (const match of text.matchAll(/^\d+ \d+ (\d+):(\d+) \S+ \S+ (\S+)/gm)) {
    const hex = (digits: string): string => Number(digits).toString(16).padStart(2, '0');
    const noexec = match[3]!.split(',').includes('noexec');
    (noexec ? found : executable).add(`${hex(match[1]!)}:${hex(match[2]!)}`);
  }
  for (const device of executable) found.delete(device);
  return found;
}

export function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
