import { describe, expect, it } from 'vitest';

import { DEFAULT_CPU, DEFAULT_EPC, DescriptionError, epcSections, parseCpu, parseEpc } from './description.ts';

describe('a machine in words', () => {
  it.each([
    ['64M', 64 * 2 ** 20],
    ['1G', 2 ** 30],
    ['8192K', 8 * 2 ** 20],
    ['8m', 8 * 2 ** 20],
    ['16MiB', 16 * 2 ** 20],
    ['67108864', 64 * 2 ** 20],
  ])('an EPC of %s', (text, sizeBytes) => {
    expect(parseEpc(text)).toEqual([sizeBytes]);
  });

  it.each([
    ['', 'is no size of EPC'],
    ['64X', 'is no size of EPC'],
    ['-1M', 'is no size of EPC'],
    ['1.5G', 'is no size of EPC'],
    ['0', 'It has 1M to 64G'],
    ['512K', 'It has 1M to 64G'],
    ['65G', 'It has 1M to 64G'],
    ['1048577', 'not a whole number of pages'],
    ['64M,', 'is no size of EPC'],
    ['64M,0', '1 to 6 sections, none empty'],
    ['1M,1M,1M,1M,1M,1M,1M', '1 to 6 sections'],
    ['64G,4K', 'It has 1M to 64G'],
  ])('refuses an EPC of "%s"', (text, sentence) => {
    expect(() => parseEpc(text)).toThrow(DescriptionError);
    expect(() => parseEpc(text)).toThrow(sentence);
  });

  it('an EPC of several sections, one after the other', () => {
    const sizes = parseEpc('64M, 32M,4K');
    expect(sizes).toEqual([2 ** 26, 2 ** 25, 4096]);
    expect(epcSections(sizes).map(({ baseAddress }) => baseAddress)).toEqual([
      0x8000_0000n,
      0x8400_0000n,
      0x8600_0000n,
    ]);
  });

  it('knows its processors by name, and says which there are', () => {
    expect(parseCpu('icelake').name).toBe('icelake');
    expect(() => parseCpu('toString')).toThrow('There is no processor "toString"');
    expect(() => parseCpu('pentium')).toThrow(
      'There is no processor "pentium". Known: skylake, icelake, sapphire-rapids.',
    );
  });

  it('its defaults are a machine', () => {
    expect([parseCpu(DEFAULT_CPU).sgx2, parseEpc(DEFAULT_EPC)[0]]).toEqual([true, 128 * 2 ** 20]);
  });
});
