/** A small enclave ELF for tests, made without a compiler; every header field can be made to lie. */
import { writeU32 } from '../../src/lib/bytes.ts';
import type { ValuesOf } from '../../src/lib/layout.ts';
import {
  ELF_MAGIC,
  ELFCLASS64,
  ELFDATA2LSB,
  ElfHeader,
  ElfNoteHeader,
  ElfProgramHeader,
  EM_X86_64,
  ET,
  PT,
} from '../../src/formats/elf-layouts.ts';
import { EnclaveLayoutNote, NOTE_OWNER, NOTE_TYPE } from '../../src/formats/enclave-image.ts';

export interface TestElf {
  readonly header?: ValuesOf<typeof ElfHeader>;
  /** Instead of the text and data segments. The note's segment comes on top. */
  readonly segments?: readonly ValuesOf<typeof ElfProgramHeader>[];
  readonly note?: ValuesOf<typeof EnclaveLayoutNote>;
  /** Without a note when false. */
  readonly withNote?: boolean;
}

export const TEXT_OFFSET = 0x1000;
export const FILE_BYTES = 0x3000;

export const text = {
  p_type: PT.LOAD,
  p_flags: 5,
  p_offset: 0x1000n,
  p_vaddr: 0n,
  p_filesz: 0x800n,
  p_memsz: 0x800n,
  p_align: 0x1000n,
};
/** Begins in the middle of a page and has zeros behind the bytes of the file. */
export const data = {
  p_type: PT.LOAD,
  p_flags: 6,
  p_offset: 0x2010n,
  p_vaddr: 0x2010n,
  p_filesz: 0x10n,
  p_memsz: 0x1800n,
  p_align: 0x1000n,
};

export function testElf({
  header = {},
  segments = [text, data],
  note = {},
  withNote = true,
}: TestElf = {}): Uint8Array {
  const noteSegment = { p_type: PT.NOTE, p_flags: 4, p_offset: 0x800n, p_filesz: 84n, p_memsz: 84n, p_align: 4n };
  const all = withNote ? [...segments, noteSegment] : segments;
  const file = new Uint8Array(FILE_BYTES);
  file.set(
    ElfHeader.encode({
      e_magic: ELF_MAGIC,
      e_class: ELFCLASS64,
      e_data: ELFDATA2LSB,
      e_type: ET.DYN,
      e_machine: EM_X86_64,
      e_entry: 0x10n,
      e_phoff: 64n,
      e_phentsize: ElfProgramHeader.sizeBytes,
      e_phnum: all.length,
      ...header,
    }),
  );
  all.forEach((segment, index) => file.set(ElfProgramHeader.encode(segment), 64 + index * ElfProgramHeader.sizeBytes));
  file.set(ElfNoteHeader.encode({ n_namesz: 8, n_descsz: EnclaveLayoutNote.sizeBytes, n_type: NOTE_TYPE }), 0x800);
  file.set(new TextEncoder().encode(NOTE_OWNER), 0x80c);
  file.set(
    EnclaveLayoutNote.encode({
      version: 1,
      threadCount: 1,
      nssa: 1,
      ssaFrameSize: 1,
      stackPages: 1,
      attributes: 4n,
      xfrm: 3n,
      ...note,
    }),
    0x814,
  );
  for (let at = 0x1000; at < FILE_BYTES; at += 4) writeU32(file, at, at);
  return file;
}
