import { describe, expect, it } from 'vitest';

import { Tcs } from '../abi/sgx-arch.ts';
import { readU32 } from '../lib/bytes.ts';
import { ElfDynamicEntry, PT } from './elf-layouts.ts';
import { buildSteps, readEnclaveImage, type BuildStep } from './enclave-image.ts';
import { data, testElf, TEXT_OFFSET, text, type TestElf } from '../../test/support/enclave-elf.ts';

type Eadd = Extract<BuildStep, { kind: 'eadd' }>;

function pages(elf: TestElf): Eadd[] {
  const [ecreate, ...rest] = [...buildSteps(readEnclaveImage(testElf(elf), 'x.elf'))];
  expect(ecreate).toMatchObject({ kind: 'ecreate' });
  return rest as Eadd[];
}

function at(steps: readonly Eadd[], offset: number): Uint8Array {
  return steps.find((step) => step.offset === offset)!.content;
}

describe('readEnclaveImage', () => {
  it('turns segments, heap and threads into pages in the order of their offsets', () => {
    const found = pages({ note: { heapPages: 1n, threadCount: 2, nssa: 2 } });
    expect(found.map(({ offset, secInfoFlags, measured }) => [offset, secInfoFlags, measured])).toEqual([
      [0x0000, 0x205, true], // text
      [0x2000, 0x203, true], // data, two pages
      [0x3000, 0x203, true],
      [0x4000, 0x203, false], // heap
      [0x6000, 0x203, true], // stack, after a guard page
      [0x7000, 0x100, true], // TCS
      [0x8000, 0x203, true], // two frames
      [0x9000, 0x203, true],
      [0xb000, 0x203, true], // and again for the second thread
      [0xc000, 0x100, true],
      [0xd000, 0x203, true],
      [0xe000, 0x203, true],
    ]);
  });

  it('gives bytes of the file where the file has them, and zeros around', () => {
    const found = pages({});
    expect(readU32(at(found, 0), 0x7fc)).toBe(TEXT_OFFSET + 0x7fc);
    expect(readU32(at(found, 0), 0x800)).toBe(0);
    expect([0x0c, 0x10, 0x1c, 0x20].map((offset) => readU32(at(found, 0x2000), offset))).toEqual([
      0, 0x2010, 0x201c, 0,
    ]);
    expect(found.every(({ content }) => content.length === 4096)).toBe(true);
  });

  it('makes TCSs that enter at e_entry with their save area behind them', () => {
    const tcs = Tcs.decode(at(pages({ note: { nssa: 3 } }), 0x6000));
    expect(tcs).toMatchObject({
      state: 0n,
      flags: 0n,
      ossa: 0x7000n,
      nssa: 3,
      oentry: 0x10n,
      ofsBase: 0n,
      ogsBase: 0n,
    });
  });

  it('takes the smallest ELRANGE that holds everything, or the one asked for', () => {
    expect(readEnclaveImage(testElf(), 'x.elf').sizeBytes).toBe(0x8000);
    expect(readEnclaveImage(testElf({ note: { elrangeSize: 0x100000n } }), 'x.elf').sizeBytes).toBe(0x100000);
  });

  it('passes SECS parameters through', () => {
    const note = { ssaFrameSize: 2, miscSelect: 1, attributes: 0x86n, xfrm: 7n };
    expect(readEnclaveImage(testElf({ note }), 'x.elf')).toMatchObject(note);
  });

  it.each<[string, TestElf, string]>([
    ['an object file', { header: { e_type: 1 } }, 'e_type at offset 0x10: expected an executable, found type 1'],
    ['no note', { withNote: false }, 'no note of owner "Vitrine" describes the enclave'],
    [
      'another version of the note',
      { note: { version: 2 } },
      'version of the Vitrine note at offset 0x814: expected 1, found 2',
    ],
    [
      'no thread',
      { note: { threadCount: 0 } },
      'threadCount of the Vitrine note at offset 0x81c: an enclave without a TCS',
    ],
    ['absurdly many threads', { note: { threadCount: 0xffffffff } }, 'threadCount of the Vitrine note'],
    [
      'absurdly large frames',
      { note: { nssa: 0xffffffff, ssaFrameSize: 0xffffffff } },
      'the threads together need more than 64 GiB',
    ],
    [
      'an absurdly large heap',
      { note: { heapPages: 2n ** 64n - 1n } },
      'heapPages of the Vitrine note at offset 0x82c',
    ],
    [
      'an absurdly large segment',
      { segments: [{ ...text, p_memsz: 1n << 46n }] },
      'p_memsz of segment 0 at offset 0x68: the segments together',
    ],
    [
      'an ELRANGE that is too small',
      { note: { elrangeSize: 0x4000n } },
      'expected a power of two of at least 0x8000, found 0x4000',
    ],
    [
      'an ELRANGE that is no power of two',
      { note: { elrangeSize: 0x9000n } },
      'expected a power of two of at least 0x8000, found 0x9000',
    ],
    [
      'segments that share a page',
      { segments: [text, { ...data, p_vaddr: 0x810n }] },
      'p_vaddr of segment 1 at offset 0x88: shares the page at 0x0',
    ],
    [
      'more bytes in the file than in memory',
      { segments: [{ ...text, p_memsz: 1n }] },
      'p_filesz of segment 0 at offset 0x60: 2048 bytes in the file for 1 in memory',
    ],
    [
      'a segment that is writable but not readable',
      { segments: [{ ...text, p_flags: 2 }] },
      'p_flags of segment 0 at offset 0x44: writable but not readable',
    ],
    [
      'an entry point outside code',
      { header: { e_entry: 0x2010n } },
      'e_entry at offset 0x18: 0x2010 is in no executable segment',
    ],
  ])('refuses %s', (_, elf, message) => {
    expect(() => readEnclaveImage(testElf(elf), 'x.elf')).toThrow(message);
  });

  it('refuses relocations, unless the enclave says that it applies them itself', () => {
    const dynamic = { p_type: PT.DYNAMIC, p_offset: 0x2800n, p_filesz: 32n, p_memsz: 32n };
    const withRelocations = (flags: number) => {
      const bytes = testElf({ segments: [text, data, dynamic], note: { flags } });
      bytes.set(ElfDynamicEntry.encode({ d_tag: 8n, d_val: 24n }), 0x2800);
      bytes.set(ElfDynamicEntry.encode({}), 0x2810);
      return bytes;
    };
    expect(() => readEnclaveImage(withRelocations(0), 'x.elf')).toThrow(
      'DT_RELASZ at offset 0x2800: 24 bytes of relocations',
    );
    expect(readEnclaveImage(withRelocations(1), 'x.elf').areas).not.toHaveLength(0);
  });
});
