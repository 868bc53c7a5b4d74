import * as fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { Elf } from './elf.ts';
import { FormatError } from './format-error.ts';
import { FILE_BYTES, testElf, text } from '../../test/support/enclave-elf.ts';

/** What `action` throws. */
function attempt(action: () => void): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('Elf', () => {
  it('reads segments and notes', () => {
    const elf = new Elf(testElf(), 'x.elf');
    expect(elf.entry).toBe(0x10);
    expect(elf.segments.map(({ type, address, content }) => [type, address, content.length])).toEqual([
      [1, 0, 0x800],
      [1, 0x2010, 0x10],
      [4, 0, 84],
    ]);
    expect(elf.notes()).toMatchObject([{ owner: 'Vitrine', type: 1, offset: 0x814 }]);
    expect(elf.sections).toEqual([]);
  });

  it('finds symbols and sections of a program made by a compiler', () => {
    const elf = new Elf(readFileSync(process.execPath), 'node');
    expect(elf.sections.map(({ name }) => name)).toContain('.text');
    expect(elf.symbol('napi_create_object')?.address).toBeGreaterThan(0);
    expect(elf.symbol('no_such_symbol_anywhere')).toBeUndefined();
  });

  it.each([
    ['a file shorter than the header', testElf().subarray(0, 63), 'ELF header', 0],
    ['no ELF magic', testElf({ header: { e_magic: 1 } }), 'e_magic', 0],
    ['32 bits', testElf({ header: { e_class: 1 } }), 'e_class', 4],
    ['big-endian', testElf({ header: { e_data: 2 } }), 'e_data', 5],
    ['another processor', testElf({ header: { e_machine: 183 } }), 'e_machine', 18],
    ['program headers of another size', testElf({ header: { e_phentsize: 32 } }), 'e_phentsize', 54],
    ['program headers past the end', testElf({ header: { e_phnum: 65535 } }), 'e_phoff with 65535 entries', 32],
    ['program headers nowhere', testElf({ header: { e_phoff: 2n ** 64n - 1n } }), 'e_phoff', 32],
    [
      'a segment past the end',
      testElf({ segments: [{ ...text, p_offset: BigInt(FILE_BYTES) }] }),
      'p_offset + p_filesz of segment 0',
      72,
    ],
    [
      'a segment whose end wraps around',
      testElf({ segments: [{ ...text, p_filesz: 2n ** 64n - 0x1000n }] }),
      'p_filesz of segment 0',
      96,
    ],
    ['an address no program has', testElf({ segments: [{ ...text, p_vaddr: 1n << 63n }] }), 'p_vaddr of segment 0', 80],
  ])('refuses %s, naming field and offset', (_, bytes, field, offset) => {
    const error = attempt(() => new Elf(bytes, 'x.elf')) as FormatError;
    expect(error).toBeInstanceOf(FormatError);
    expect([error.field, error.offset]).toEqual([field, offset]);
    expect(error.message).toContain(`x.elf: ${field} at offset 0x${offset.toString(16)}: `);
  });

  it('refuses a note that ends after its segment', () => {
    const bytes = testElf();
    bytes[0x804] = 65;
    expect(() => new Elf(bytes, 'x.elf').notes()).toThrow(
      'n_descsz at offset 0x804: the note ends 1 bytes after its segment',
    );
  });

  it('says nothing but a FormatError to arbitrary headers', () => {
    const field = fc.tuple(fc.nat(300), fc.oneof(fc.constant(0xff), fc.constant(0), fc.nat(255)));
    fc.assert(
      fc.property(fc.array(field, { maxLength: 12 }), fc.nat(FILE_BYTES), (changes, lengthBytes) => {
        const bytes = testElf().slice(0, lengthBytes);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        const outcome = attempt(() => {
          const elf = new Elf(bytes, 'x.elf');
          elf.notes();
          elf.symbol('main');
          elf.dynamicEntry(8n);
        });
        expect(outcome === undefined || outcome instanceof FormatError).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
