/**
 * The structures and numbers of ELF64 that an enclave or a program is described by.
 * Source: System V ABI, "Object Files"; names and values as in <elf.h>.
 */
import { bitField, bytes, layout, u16, u32, u64, u8 } from '../lib/layout.ts';

export const ElfHeader = layout(
  'Elf64_Ehdr',
  64,
  { source: 'System V ABI, "ELF Header"' },
  {
    e_magic: u32(0, '7f 45 4c 46'),
    e_class: u8(4, '32 or 64 bits'),
    e_data: u8(5, 'byte order'),
    e_ident_version: u8(6, 'always 1'),
    e_ident_rest: bytes(7, 9, 'OS ABI and padding'),
    e_type: u16(16, 'what the file is for'),
    e_machine: u16(18, 'instruction set'),
    e_version: u32(20, 'always 1'),
    e_entry: u64(24, 'linear address of the entry point'),
    e_phoff: u64(32, 'file offset of the program headers'),
    e_shoff: u64(40, 'file offset of the section headers, 0 when there are none'),
    e_flags: u32(48, 'none for x86-64'),
    e_ehsize: u16(52, 'size of this header'),
    e_phentsize: u16(54, 'size of one program header'),
    e_phnum: u16(56, 'number of program headers'),
    e_shentsize: u16(58, 'size of one section header'),
    e_shnum: u16(60, 'number of section headers'),
    e_shstrndx: u16(62, 'section that holds the section names'),
  },
);

export const ElfSegmentFlags = bitField({ X: 0, W: 1, R: 2 });

export const ElfProgramHeader = layout(
  'Elf64_Phdr',
  56,
  { source: 'System V ABI, "Program Header"' },
  {
    p_type: u32(0, 'PT_LOAD, PT_NOTE, ...'),
    p_flags: u32(4, 'permissions', ElfSegmentFlags),
    p_offset: u64(8, 'file offset of the content'),
    p_vaddr: u64(16, 'linear address'),
    p_paddr: u64(24, 'unused'),
    p_filesz: u64(32, 'bytes in the file'),
    p_memsz: u64(40, 'bytes in memory; the rest is zero'),
    p_align: u64(48, 'required alignment'),
  },
);

export const ElfSectionHeader = layout(
  'Elf64_Shdr',
  64,
  { source: 'System V ABI, "Sections"' },
  {
    sh_name: u32(0, 'offset of the name in the section name table'),
    sh_type: u32(4, 'SHT_SYMTAB, SHT_STRTAB, ...'),
    sh_flags: u64(8, 'SHF_*'),
    sh_addr: u64(16, 'linear address when loaded'),
    sh_offset: u64(24, 'file offset of the content'),
    sh_size: u64(32, 'bytes'),
    sh_link: u32(40, 'another section, by type: the string table of a symbol table'),
    sh_info: u32(44, 'by type'),
    sh_addralign: u64(48, 'required alignment'),
    sh_entsize: u64(56, 'size of one entry of a table'),
  },
);

export const ElfSymbol = layout(
  'Elf64_Sym',
  24,
  { source: 'System V ABI, "Symbol Table"' },
  {
    st_name: u32(0, 'offset of the name in the string table'),
    st_info: u8(4, 'binding and type'),
    st_other: u8(5, 'visibility'),
    st_shndx: u16(6, 'section, 0 when undefined'),
    st_value: u64(8, 'linear address'),
    st_size: u64(16, 'bytes'),
  },
);

export const ElfDynamicEntry = layout(
  'Elf64_Dyn',
  16,
  { source: 'System V ABI, "Dynamic Section"' },
  {
    d_tag: u64(0, 'DT_*'),
    d_val: u64(8, 'value or linear address'),
  },
);

export const ElfNoteHeader = layout(
  'Elf64_Nhdr',
  12,
  { source: 'System V ABI, "Note Section"' },
  {
    n_namesz: u32(0, 'length of the owner name with its terminating zero'),
    n_descsz: u32(4, 'length of the content'),
    n_type: u32(8, "meaning is the owner's"),
  },
);

export const ELF_MAGIC = 0x464c457f;
export const ELFCLASS64 = 2;
export const ELFDATA2LSB = 1;
export const EM_X86_64 = 62;
export const ET = { EXEC: 2, DYN: 3 } as const;
export const PT = { LOAD: 1, DYNAMIC: 2, INTERP: 3, NOTE: 4 } as const;
export const SHT = { SYMTAB: 2, STRTAB: 3, NOBITS: 8, DYNSYM: 11 } as const;
export const DT = { NULL: 0n, RELASZ: 8n, RELSZ: 18n, RELRSZ: 35n, PLTRELSZ: 2n } as const;
