/**
 * An enclave ELF as the list of pages a loader builds: what ECREATE, EADD and EEXTEND are given, in order.
 *
 * The file is a static position-independent executable linked at 0 that carries one note (owner "Vitrine", type 1,
 * content `EnclaveLayoutNote`). Offsets count from the enclave's base:
 *
 * - every PT_LOAD is PT_REG pages with its own permissions, measured; what the file does not give is zero;
 * - the heap follows on the next page: PT_REG, R|W, zero and **not measured** (nothing may be read from it before
 *   it was written);
 * - then, for every thread, one page left out (a guard), its stack (R|W, zero), its TCS and its NSSA save-area frames
 *   (R|W, zero), all measured. At EENTER, RBX is the address of the TCS and therefore the top of the stack;
 * - e_entry is every thread's OENTRY; FS and GS start at the base.
 *
 * Pages are added in the order of their offsets. Nothing is relocated: MRENCLAVE speaks of the bytes in the file.
 */
import { Attributes, PageType, SecInfoFlags, Tcs, TcsFlags } from '../abi/sgx-arch.ts';
import { isPowerOfTwo, roundDown, roundUp } from '../lib/bytes.ts';
import { bitField, layout, reserved, u32, u64, type StructOf } from '../lib/layout.ts';
import { PAGE_SIZE_BYTES } from '../lib/units.ts';
import { DT, ElfHeader, ElfProgramHeader, ElfSegmentFlags, ET, PT } from './elf-layouts.ts';
import { Elf, type ElfNote, type ElfSegment } from './elf.ts';
import { FormatError } from './format-error.ts';

export const NOTE_OWNER = 'Vitrine';
export const NOTE_TYPE = 1;

export const EnclaveLayoutFlags = bitField({ SELF_RELOCATING: 0 });

export const EnclaveLayoutNote = layout(
  'EnclaveLayoutNote',
  64,
  { source: 'src/formats/README.md' },
  {
    version: u32(0, 'always 1'),
    flags: u32(4, 'SELF_RELOCATING: the enclave applies its own relocations', EnclaveLayoutFlags),
    threadCount: u32(8, 'number of TCSs'),
    nssa: u32(12, 'save-area frames of each thread'),
    ssaFrameSize: u32(16, 'pages of one save-area frame, SECS.SSAFRAMESIZE'),
    stackPages: u32(20, 'pages of stack of each thread'),
    heapPages: u64(24, 'pages of heap, not measured'),
    elrangeSize: u64(32, 'SECS.SIZE in bytes, a power of two; 0 for the smallest that holds everything'),
    attributes: u64(40, 'SECS.ATTRIBUTES: MODE64BIT and whatever else is wanted'),
    xfrm: u64(48, 'SECS.XFRM: 3 for x87 and SSE'),
    miscSelect: u32(56, 'SECS.MISCSELECT: 1 to have page faults described in the save area'),
    reserved: reserved(60, 4),
  },
);

/** Pages of one kind that follow one another. */
export interface EnclaveArea {
  /** For people: "segment 2", "heap", "stack 0", "TCS 0", "SSA 0". */
  readonly name: string;
  /** From the enclave's base. */
  readonly offset: number;
  readonly lengthBytes: number;
  /** SECINFO.FLAGS: permissions and page type. */
  readonly secInfoFlags: number;
  readonly measured: boolean;
  /** The first bytes of the area; the rest is zero. */
  readonly content: Uint8Array;
}

export interface EnclaveImage {
  readonly sizeBytes: number;
  readonly ssaFrameSize: number;
  readonly miscSelect: number;
  readonly attributes: bigint;
  readonly xfrm: bigint;
  /** Ascending by offset: the order of EADD. */
  readonly areas: readonly EnclaveArea[];
}

/** One thing a loader does; `measured` stands for the sixteen EEXTENDs that follow the EADD. */
export type BuildStep =
  | { readonly kind: 'ecreate'; readonly sizeBytes: number; readonly ssaFrameSize: number }
  | {
      readonly kind: 'eadd';
      readonly offset: number;
      /** SECINFO.FLAGS; the rest of a SECINFO is zero. */
      readonly secInfoFlags: number;
      /** 4096 bytes; not to be written to. */
      readonly content: Uint8Array;
      readonly measured: boolean;
    };

/** More pages than any machine has EPC for: a larger number is a damaged file, and would keep us busy for minutes. */
const MAX_ADDED_BYTES = 64 * 2 ** 30;
/** Each costs an entry in the list of areas; Linux's default limit of threads is below it. */
const MAX_THREADS = 65_536;

/** Throws a FormatError that names the field when the file is not an enclave as described above. */
export function readEnclaveImage(bytes: Uint8Array, file: string): EnclaveImage {
  const elf = new Elf(bytes, file);
  if (elf.header.e_type !== ET.DYN && elf.header.e_type !== ET.EXEC) {
    throw new FormatError(
      file,
      'e_type',
      ElfHeader.offsetOf('e_type'),
      `expected an executable, found type ${elf.header.e_type}; link with -static-pie`,
    );
  }
  const { note, parameters } = readNote(elf);
  const refuse = (field: keyof typeof parameters, problem: string) =>
    new FormatError(
      file,
      `${field} of the ${NOTE_OWNER} note`,
      note.offset + EnclaveLayoutNote.offsetOf(field),
      problem,
    );
  if ((parameters.flags & EnclaveLayoutFlags.bit.SELF_RELOCATING) === 0) refuseRelocations(elf);

  const areas = segmentAreas(elf);
  const segmentsEnd = endOf(areas);
  if (!areas.some((area) => holdsCode(area, elf.entry))) {
    throw new FormatError(
      file,
      'e_entry',
      ElfHeader.offsetOf('e_entry'),
      `0x${elf.entry.toString(16)} is in no executable segment`,
    );
  }
  if (parameters.heapPages > BigInt(MAX_ADDED_BYTES / PAGE_SIZE_BYTES))
    throw refuse('heapPages', `${parameters.heapPages} pages of heap are more than 64 GiB`);
  const heapBytes = Number(parameters.heapPages) * PAGE_SIZE_BYTES;
  if (heapBytes > 0) areas.push(zeroArea('heap', segmentsEnd, heapBytes, false));
  if (parameters.threadCount === 0) throw refuse('threadCount', 'an enclave without a TCS cannot be entered');
  if (parameters.threadCount > MAX_THREADS)
    throw refuse('threadCount', `${parameters.threadCount} threads are more than ${MAX_THREADS}`);
  const threadBytes = (2 + parameters.stackPages + parameters.nssa * parameters.ssaFrameSize) * PAGE_SIZE_BYTES;
  if (threadBytes * parameters.threadCount > MAX_ADDED_BYTES)
    throw refuse('threadCount', 'the threads together need more than 64 GiB');
  for (let thread = 0; thread < parameters.threadCount; thread++) {
    areas.push(...threadAreas(thread, segmentsEnd + heapBytes + thread * threadBytes, elf.entry, parameters));
  }

  const needed = Math.max(2 * PAGE_SIZE_BYTES, endOf(areas));
  const wanted = parameters.elrangeSize || BigInt(2 ** Math.ceil(Math.log2(needed)));
  if (wanted < needed || !isPowerOfTwo(wanted)) {
    throw refuse(
      'elrangeSize',
      `expected a power of two of at least 0x${needed.toString(16)}, found 0x${wanted.toString(16)}`,
    );
  }
  const { ssaFrameSize, miscSelect, attributes, xfrm } = parameters;
  return { sizeBytes: Number(wanted), ssaFrameSize, miscSelect, attributes, xfrm, areas };
}

/** ECREATE, then every page in order. Pages are made as they are asked for: a large heap costs no memory. */
export function* buildSteps(image: EnclaveImage): Generator<BuildStep, void> {
  yield { kind: 'ecreate', sizeBytes: image.sizeBytes, ssaFrameSize: image.ssaFrameSize };
  for (const { offset, lengthBytes, secInfoFlags, measured, content } of image.areas) {
    for (let at = 0; at < lengthBytes; at += PAGE_SIZE_BYTES) {
      yield { kind: 'eadd', offset: offset + at, secInfoFlags, content: pageAt(content, at), measured };
    }
  }
}

const zeroPage = new Uint8Array(PAGE_SIZE_BYTES);

function pageAt(content: Uint8Array, at: number): Uint8Array {
  if (at >= content.length) return zeroPage;
  if (at + PAGE_SIZE_BYTES <= content.length) return content.subarray(at, at + PAGE_SIZE_BYTES);
  const page = new Uint8Array(PAGE_SIZE_BYTES);
  page.set(content.subarray(at));
  return page;
}

function readNote(elf: Elf): { readonly note: ElfNote; readonly parameters: StructOf<typeof EnclaveLayoutNote> } {
  const note = elf.notes().find(({ owner, type }) => owner === NOTE_OWNER && type === NOTE_TYPE);
  if (note === undefined) {
    throw new FormatError(
      elf.file,
      'program headers',
      Number(elf.header.e_phoff),
      `no note of owner "${NOTE_OWNER}" describes the enclave; see examples/common/enclave-layout.h`,
    );
  }
  if (note.content.length !== EnclaveLayoutNote.sizeBytes) {
    throw new FormatError(
      elf.file,
      'n_descsz',
      note.offset - 16,
      `expected ${EnclaveLayoutNote.sizeBytes}, found ${note.content.length}`,
    );
  }
  const parameters = EnclaveLayoutNote.decode(note.content);
  if (parameters.version !== 1)
    throw new FormatError(
      elf.file,
      `version of the ${NOTE_OWNER} note`,
      note.offset,
      `expected 1, found ${parameters.version}`,
    );
  const dirty = EnclaveLayoutNote.firstNonzeroReserved(note.content);
  if (dirty)
    throw new FormatError(
      elf.file,
      `${dirty.name} of the ${NOTE_OWNER} note`,
      note.offset + dirty.offset,
      'must be zero',
    );
  return { note, parameters };
}

/** A pointer in initialised data would silently be an offset: better said at build time than met inside the enclave. */
function refuseRelocations(elf: Elf): void {
  for (const [name, tag] of Object.entries(DT)) {
    const entry = elf.dynamicEntry(tag);
    if (entry === undefined || entry.value === 0n) continue;
    throw new FormatError(
      elf.file,
      `DT_${name}`,
      entry.offset,
      `${entry.value} bytes of relocations, which nobody applies: avoid pointers in initialised data, or let the enclave relocate itself and set SELF_RELOCATING`,
    );
  }
}

function segmentAreas(elf: Elf): EnclaveArea[] {
  const loaded = elf.segments.filter(({ type, memoryLengthBytes }) => type === PT.LOAD && memoryLengthBytes > 0);
  const areas = loaded.map((segment) => segmentArea(elf, segment)).toSorted((a, b) => a.area.offset - b.area.offset);
  let end = 0;
  let addedBytes = 0;
  for (const { area, segment } of areas) {
    const at = segment.headerOffset + ElfProgramHeader.offsetOf('p_vaddr');
    if (area.offset < end)
      throw new FormatError(
        elf.file,
        `p_vaddr of segment ${segment.index}`,
        at,
        `shares the page at 0x${area.offset.toString(16)} with another segment`,
      );
    end = area.offset + area.lengthBytes;
    addedBytes += area.lengthBytes;
    if (addedBytes > MAX_ADDED_BYTES) {
      throw new FormatError(
        elf.file,
        `p_memsz of segment ${segment.index}`,
        segment.headerOffset + ElfProgramHeader.offsetOf('p_memsz'),
        'the segments together have more than 64 GiB',
      );
    }
  }
  return areas.map(({ area }) => area);
}

function segmentArea(elf: Elf, segment: ElfSegment): { readonly area: EnclaveArea; readonly segment: ElfSegment } {
  const { index, address, flags, headerOffset, fileLengthBytes, memoryLengthBytes } = segment;
  const refuse = (field: 'p_filesz' | 'p_flags', problem: string) =>
    new FormatError(elf.file, `${field} of segment ${index}`, headerOffset + ElfProgramHeader.offsetOf(field), problem);
  if (fileLengthBytes > memoryLengthBytes)
    throw refuse('p_filesz', `${fileLengthBytes} bytes in the file for ${memoryLengthBytes} in memory`);
  const { R, W, X } = ElfSegmentFlags.bit;
  if ((flags & (R | W)) === W) throw refuse('p_flags', 'writable but not readable, which SECINFO cannot say');
  const offset = roundDown(address, PAGE_SIZE_BYTES);
  const content = new Uint8Array(address - offset + fileLengthBytes);
  content.set(segment.content, address - offset);
  const permissions =
    (flags & R ? SecInfoFlags.bit.R : 0) | (flags & W ? SecInfoFlags.bit.W : 0) | (flags & X ? SecInfoFlags.bit.X : 0);
  return {
    segment,
    area: {
      name: `segment ${index}`,
      offset,
      lengthBytes: roundUp(address + memoryLengthBytes, PAGE_SIZE_BYTES) - offset,
      secInfoFlags: regular | permissions,
      measured: true,
      content,
    },
  };
}

const regular = PageType.REG << 8;
const readWrite = SecInfoFlags.bit.R | SecInfoFlags.bit.W;
const nothing = new Uint8Array();

function zeroArea(name: string, offset: number, lengthBytes: number, measured: boolean): EnclaveArea {
  return { name, offset, lengthBytes, secInfoFlags: regular | readWrite, measured, content: nothing };
}

function threadAreas(
  thread: number,
  guardOffset: number,
  entry: number,
  { stackPages, nssa, ssaFrameSize, attributes }: StructOf<typeof EnclaveLayoutNote>,
): EnclaveArea[] {
  const stackOffset = guardOffset + PAGE_SIZE_BYTES;
  const tcsOffset = stackOffset + stackPages * PAGE_SIZE_BYTES;
  const ssaOffset = tcsOffset + PAGE_SIZE_BYTES;
  const tcs = Tcs.encode({
    flags: (attributes & Attributes.mask.AEXNOTIFY) === 0n ? 0n : TcsFlags.mask.AEXNOTIFY,
    oentry: BigInt(entry),
    ossa: BigInt(ssaOffset),
    nssa,
    fsLimit: 0xffff_ffff,
    gsLimit: 0xffff_ffff,
  });
  return [
    zeroArea(`stack ${thread}`, stackOffset, stackPages * PAGE_SIZE_BYTES, true),
    {
      name: `TCS ${thread}`,
      offset: tcsOffset,
      lengthBytes: PAGE_SIZE_BYTES,
      secInfoFlags: PageType.TCS << 8,
      measured: true,
      content: tcs,
    },
    zeroArea(`SSA ${thread}`, ssaOffset, nssa * ssaFrameSize * PAGE_SIZE_BYTES, true),
  ].filter(({ lengthBytes }) => lengthBytes > 0);
}

function holdsCode({ offset, lengthBytes, secInfoFlags }: EnclaveArea, address: number): boolean {
  return (secInfoFlags & SecInfoFlags.bit.X) !== 0 && address >= offset && address < offset + lengthBytes;
}

function endOf(areas: readonly EnclaveArea[]): number {
  return areas.reduce((end, area) => Math.max(end, area.offset + area.lengthBytes), 0);
}
