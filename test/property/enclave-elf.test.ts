/**
 * Whatever is in a file: the readers of ELF files and enclave images, and of SIGSTRUCTs, answer with a value or with a
 * FormatError, in no time, and what they let pass can be built.
 */
import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SigStruct } from '../../src/abi/sgx-arch.ts';
import { Elf } from '../../src/formats/elf.ts';
import { readEnclaveImage } from '../../src/formats/enclave-image.ts';
import { FormatError } from '../../src/formats/format-error.ts';
import { parseSigStruct, sigStructIsValid } from '../../src/formats/sigstruct.ts';
import { PAGE_SIZE_BYTES } from '../../src/lib/units.ts';
import { testElf } from '../support/enclave-elf.ts';

interface Change {
  readonly at: number;
  readonly widthBytes: number;
  readonly value: bigint;
}

const values = fc.oneof(
  fc.bigInt(0n, 0xffff_ffff_ffff_ffffn),
  fc.bigInt(0n, 0x4000n),
  fc.constantFrom(0n, 1n, 4096n, 0x7fff_ffffn, 0xffff_ffffn, 0x7fff_ffff_ffffn, (1n << 63n) - 1n, (1n << 64n) - 4096n),
);

const changesWithin = (
  ...ranges: readonly (readonly [start: number, end: number])[]
): fc.Arbitrary<readonly Change[]> =>
  fc.array(
    fc.record({
      at: fc.oneof(...ranges.map(([start, end]) => fc.integer({ min: start, max: end - 1 }))),
      widthBytes: fc.constantFrom(1, 2, 4, 8),
      value: values,
    }),
    { minLength: 1, maxLength: 4 },
  );

function changed(bytes: Uint8Array, changes: readonly Change[], lengthBytes = bytes.length): Uint8Array {
  const copy = Uint8Array.from(bytes);
  for (const { at, widthBytes, value } of changes) {
    for (let i = 0; i < widthBytes && at + i < copy.length; i++)
      copy[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
  }
  return copy.subarray(0, lengthBytes);
}

/** What it returned; undefined for a FormatError whose message names file and offset; all else that is thrown goes on. */
function readOrRefuse<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof FormatError && /^x\.elf: .+ at offset 0x[0-9a-f]+: ./.test(error.message)) return undefined;
    throw error;
  }
}

/** How often a file was read and how often refused: a property that only ever sees one of them proves little. */
function tally(): { count: (found: unknown) => void; both: () => boolean } {
  const seen = new Set<boolean>();
  return { count: (found) => void seen.add(found !== undefined), both: () => seen.size === 2 };
}

const MAX_ADDED_BYTES = 3 * 64 * 2 ** 30;

describe('readEnclaveImage', () => {
  const elf = testElf();
  // ELF header and program headers; the note.
  const changes = changesWithin([0, 64 + 3 * 56], [0x800, 0x860]);

  it('reads or refuses an enclave whose headers lie, and what it reads can be built', () => {
    const { count, both } = tally();
    fc.assert(
      fc.property(changes, fc.option(fc.nat(elf.length)), (list, length) => {
        const image = readOrRefuse(() => readEnclaveImage(changed(elf, list, length ?? undefined), 'x.elf'));
        count(image);
        if (image === undefined) return;
        let end = 0;
        const misplaced = image.areas.filter(({ offset, lengthBytes, content }) => {
          const fits = offset >= end && content.length <= lengthBytes;
          end = offset + lengthBytes;
          return !fits || offset % PAGE_SIZE_BYTES !== 0 || lengthBytes % PAGE_SIZE_BYTES !== 0;
        });
        expect(misplaced).toEqual([]);
        expect(image.sizeBytes).toBeGreaterThanOrEqual(end);
        expect(image.areas.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0)).toBeLessThanOrEqual(MAX_ADDED_BYTES);
      }),
      { numRuns: 3000 },
    );
    expect(both()).toBe(true);
  });

  it('refuses any bytes that are no ELF file', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(readOrRefuse(() => readEnclaveImage(bytes, 'x.elf'))).toBeUndefined();
      }),
    );
  });
});

describe('Elf', () => {
  const elf = readFileSync('/bin/true');
  const { e_shoff, e_shnum } = new Elf(elf, 'x.elf').header;
  const sections = Number(e_shoff);
  const symbols = new Elf(elf, 'x.elf').sections.find(({ name }) => name === '.dynsym')!;

  it('reads or refuses sections, symbols, notes and dynamic entries of a program whose tables lie', () => {
    const { count, both } = tally();
    const changes = changesWithin(
      [0, 64 + 13 * 56],
      [sections, sections + 64 * e_shnum],
      [symbols.fileOffset, symbols.fileOffset + symbols.content.length],
    );
    fc.assert(
      fc.property(changes, (list) => {
        count(
          readOrRefuse(() => {
            const read = new Elf(changed(elf, list), 'x.elf');
            return [
              read.entry,
              read.sections,
              read.notes(),
              read.dynamicEntry(5n),
              read.symbol('exit'),
              read.symbol('no'),
            ];
          }),
        );
      }),
      { numRuns: 1000 },
    );
    expect(both()).toBe(true);
  });
});

describe('SIGSTRUCT', () => {
  it('any bytes are refused by parseSigStruct, and not valid', () => {
    const lengthBytes = fc.constantFrom(0, 1, SigStruct.sizeBytes - 1, SigStruct.sizeBytes, SigStruct.sizeBytes + 1);
    const inputs = lengthBytes.chain((length) => fc.uint8Array({ minLength: length, maxLength: length }));
    fc.assert(
      fc.property(inputs, (bytes) => {
        expect(readOrRefuse(() => parseSigStruct(bytes, 'x.elf'))).toBeUndefined();
      }),
    );
    const whole = fc.uint8Array({ minLength: SigStruct.sizeBytes, maxLength: SigStruct.sizeBytes });
    fc.assert(
      fc.property(whole, (bytes) => {
        expect(sigStructIsValid(bytes)).toBe(false);
      }),
    );
  });
});
