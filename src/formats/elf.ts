/**
 * Reads ELF64 files for x86-64: segments, notes, dynamic entries, and sections and symbols where the file has them.
 * The input may lie: every offset and length is held against the file before it is used, and what is wrong is a
 * `FormatError` that names the field.
 */
import { roundUp } from '../lib/bytes.ts';
import type { StructOf } from '../lib/layout.ts';
import {
  ELF_MAGIC,
  ELFCLASS64,
  ELFDATA2LSB,
  EM_X86_64,
  ElfDynamicEntry,
  ElfHeader,
  ElfNoteHeader,
  ElfProgramHeader,
  ElfSectionHeader,
  ElfSymbol,
  PT,
  SHT,
} from './elf-layouts.ts';
import { FormatError } from './format-error.ts';

export interface ElfSegment {
  /** Position in the table of program headers. */
  readonly index: number;
  readonly type: number;
  /** `ElfSegmentFlags`. */
  readonly flags: number;
  readonly address: number;
  readonly fileOffset: number;
  readonly fileLengthBytes: number;
  readonly memoryLengthBytes: number;
  readonly alignBytes: number;
  /** File offset of the program header itself, for error messages. */
  readonly headerOffset: number;
  /** The bytes in the file: a window, not a copy. */
  readonly content: Uint8Array;
}

export interface ElfSection {
  readonly name: string;
  readonly type: number;
  readonly address: number;
  readonly fileOffset: number;
  readonly link: number;
  /** The bytes in the file; empty for SHT_NOBITS. */
  readonly content: Uint8Array;
}

export interface ElfSymbolValue {
  readonly address: number;
  readonly lengthBytes: number;
}

export interface ElfNote {
  readonly owner: string;
  readonly type: number;
  /** File offset of `content`. */
  readonly offset: number;
  readonly content: Uint8Array;
}

/** One ELF file. Sections are read on first use, so that a damaged section table hurts nobody who needs none. */
export class Elf {
  /** Name for messages. */
  readonly file: string;
  readonly bytes: Uint8Array;
  readonly header: StructOf<typeof ElfHeader>;
  readonly segments: readonly ElfSegment[];
  #sections: readonly ElfSection[] | undefined;

  /** Throws a FormatError for anything but a little-endian ELF64 file for x86-64 with sound program headers. */
  constructor(bytes: Uint8Array, file: string) {
    this.file = file;
    this.bytes = bytes;
    this.header = readHeader(bytes, file);
    this.segments = this.#readSegments();
  }

  get entry(): number {
    return this.#exact(this.header.e_entry, 'e_entry', ElfHeader.offsetOf('e_entry'));
  }

  /** Empty when the file was stripped of its section headers. */
  get sections(): readonly ElfSection[] {
    this.#sections ??= this.#readSections();
    return this.#sections;
  }

  /** A defined symbol by name, from .symtab or .dynsym. */
  symbol(name: string): ElfSymbolValue | undefined {
    for (const table of this.sections) {
      if (table.type !== SHT.SYMTAB && table.type !== SHT.DYNSYM) continue;
      const names = this.sections[table.link];
      if (names === undefined)
        throw new FormatError(
          this.file,
          `sh_link of ${table.name}`,
          table.fileOffset,
          `there is no section ${table.link}`,
        );
      for (let at = 0; at + ElfSymbol.sizeBytes <= table.content.length; at += ElfSymbol.sizeBytes) {
        const symbol = ElfSymbol.view(table.content, at);
        if (symbol.st_shndx === 0 || stringAt(names.content, symbol.st_name) !== name) continue;
        const offset = table.fileOffset + at;
        return {
          address: this.#exact(symbol.st_value, `st_value of ${name}`, offset + ElfSymbol.offsetOf('st_value')),
          lengthBytes: this.#exact(symbol.st_size, `st_size of ${name}`, offset + ElfSymbol.offsetOf('st_size')),
        };
      }
    }
    return undefined;
  }

  /** All notes of all PT_NOTE segments. */
  notes(): ElfNote[] {
    const found: ElfNote[] = [];
    for (const segment of this.segments.filter(({ type }) => type === PT.NOTE)) {
      // Both alignments are in use: the ABI asks for 8 in 64-bit files, most tools write 4.
      const alignBytes = segment.alignBytes === 8 ? 8 : 4;
      let at = 0;
      while (at + ElfNoteHeader.sizeBytes <= segment.content.length) {
        const header = ElfNoteHeader.decode(segment.content, at);
        const owner = at + ElfNoteHeader.sizeBytes;
        const content = roundUp(owner + header.n_namesz, alignBytes);
        const end = content + header.n_descsz;
        if (end > segment.content.length) {
          throw new FormatError(
            this.file,
            'n_descsz',
            segment.fileOffset + at + 4,
            `the note ends ${end - segment.content.length} bytes after its segment`,
          );
        }
        found.push({
          owner: stringAt(segment.content.subarray(owner, owner + header.n_namesz), 0),
          type: header.n_type,
          offset: segment.fileOffset + content,
          content: segment.content.subarray(content, end),
        });
        at = roundUp(end, alignBytes);
      }
    }
    return found;
  }

  /** The value of the first dynamic entry with this tag, and where it stands in the file. */
  dynamicEntry(tag: bigint): { readonly value: bigint; readonly offset: number } | undefined {
    for (const segment of this.segments.filter(({ type }) => type === PT.DYNAMIC)) {
      for (let at = 0; at + ElfDynamicEntry.sizeBytes <= segment.content.length; at += ElfDynamicEntry.sizeBytes) {
        const entry = ElfDynamicEntry.decode(segment.content, at);
        if (entry.d_tag === 0n) break;
        if (entry.d_tag === tag) return { value: entry.d_val, offset: segment.fileOffset + at };
      }
    }
    return undefined;
  }

  #readSegments(): ElfSegment[] {
    const table = this.#table('e_phoff', 'e_phentsize', this.header.e_phnum, ElfProgramHeader.sizeBytes);
    return Array.from({ length: this.header.e_phnum }, (_, index) => {
      const headerOffset = table + index * ElfProgramHeader.sizeBytes;
      const raw = ElfProgramHeader.decode(this.bytes, headerOffset);
      const exact = (field: 'p_offset' | 'p_vaddr' | 'p_filesz' | 'p_memsz' | 'p_align') =>
        this.#exact(raw[field], `${field} of segment ${index}`, headerOffset + ElfProgramHeader.offsetOf(field));
      const fileOffset = exact('p_offset');
      const fileLengthBytes = exact('p_filesz');
      return {
        index,
        type: raw.p_type,
        flags: raw.p_flags,
        address: exact('p_vaddr'),
        fileOffset,
        fileLengthBytes,
        memoryLengthBytes: exact('p_memsz'),
        alignBytes: exact('p_align'),
        headerOffset,
        content: this.#range(
          fileOffset,
          fileLengthBytes,
          `p_offset + p_filesz of segment ${index}`,
          headerOffset + ElfProgramHeader.offsetOf('p_offset'),
        ),
      };
    });
  }

  #readSections(): ElfSection[] {
    if (this.header.e_shoff === 0n) return [];
    const table = this.#table('e_shoff', 'e_shentsize', this.header.e_shnum, ElfSectionHeader.sizeBytes);
    const headers = Array.from({ length: this.header.e_shnum }, (_, index) => {
      const headerOffset = table + index * ElfSectionHeader.sizeBytes;
      const raw = ElfSectionHeader.decode(this.bytes, headerOffset);
      const exact = (field: 'sh_offset' | 'sh_size' | 'sh_addr') =>
        this.#exact(raw[field], `${field} of section ${index}`, headerOffset + ElfSectionHeader.offsetOf(field));
      const fileOffset = exact('sh_offset');
      const lengthBytes = raw.sh_type === SHT.NOBITS || raw.sh_type === 0 ? 0 : exact('sh_size');
      const content = this.#range(
        fileOffset,
        lengthBytes,
        `sh_offset + sh_size of section ${index}`,
        headerOffset + ElfSectionHeader.offsetOf('sh_offset'),
      );
      return {
        nameOffset: raw.sh_name,
        type: raw.sh_type,
        address: exact('sh_addr'),
        fileOffset,
        link: raw.sh_link,
        content,
      };
    });
    const names = headers[this.header.e_shstrndx]?.content ?? new Uint8Array();
    return headers.map(({ nameOffset, ...section }) => ({ name: stringAt(names, nameOffset), ...section }));
  }

  /** File offset of a table of headers that lies inside the file. */
  #table(
    offsetField: 'e_phoff' | 'e_shoff',
    sizeField: 'e_phentsize' | 'e_shentsize',
    count: number,
    sizeBytes: number,
  ): number {
    if (count === 0) return 0;
    if (this.header[sizeField] !== sizeBytes) {
      throw new FormatError(
        this.file,
        sizeField,
        ElfHeader.offsetOf(sizeField),
        `expected ${sizeBytes}, found ${this.header[sizeField]}`,
      );
    }
    const at = ElfHeader.offsetOf(offsetField);
    const start = this.#exact(this.header[offsetField], offsetField, at);
    this.#range(start, count * sizeBytes, `${offsetField} with ${count} entries`, at);
    return start;
  }

  #range(start: number, lengthBytes: number, field: string, at: number): Uint8Array {
    if (lengthBytes === 0) return this.bytes.subarray(0, 0);
    if (start + lengthBytes > this.bytes.length) {
      throw new FormatError(
        this.file,
        field,
        at,
        `ends at byte ${start + lengthBytes}, the file has ${this.bytes.length}`,
      );
    }
    return this.bytes.subarray(start, start + lengthBytes);
  }

  #exact(value: bigint, field: string, at: number): number {
    if (value > MAX_USER_ADDRESS)
      throw new FormatError(this.file, field, at, `0x${value.toString(16)} is above any user address`);
    return Number(value);
  }
}

/** Keeps every later sum of two values exact in a double. */
const MAX_USER_ADDRESS = (1n << 47n) - 1n;

function readHeader(bytes: Uint8Array, file: string): StructOf<typeof ElfHeader> {
  if (bytes.length < ElfHeader.sizeBytes) {
    throw new FormatError(
      file,
      'ELF header',
      0,
      `the file has ${bytes.length} bytes, the header alone has ${ElfHeader.sizeBytes}`,
    );
  }
  const header = ElfHeader.decode(bytes);
  const expect = (field: 'e_magic' | 'e_class' | 'e_data' | 'e_machine', wanted: number, meaning: string) => {
    if (header[field] === wanted) return;
    throw new FormatError(
      file,
      field,
      ElfHeader.offsetOf(field),
      `expected 0x${wanted.toString(16)} (${meaning}), found 0x${header[field].toString(16)}`,
    );
  };
  expect('e_magic', ELF_MAGIC, 'an ELF file');
  expect('e_class', ELFCLASS64, '64 bits');
  expect('e_data', ELFDATA2LSB, 'little-endian');
  expect('e_machine', EM_X86_64, 'x86-64');
  return header;
}

/** Up to the next zero byte or the end of the table; empty when the offset lies outside. */
function stringAt(table: Uint8Array, offset: number): string {
  const end = table.indexOf(0, offset);
  return new TextDecoder('latin1').decode(table.subarray(offset, end < 0 ? table.length : end));
}
