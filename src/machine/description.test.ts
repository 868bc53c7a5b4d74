import { describe, expect, it } from 'vitest';

import { DEFAULT_CPU, DEFAULT_EPC, DescriptionError, parseCpu, parseEpc } from './description.ts';

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
  ])('refuses an EPC of "%s"', (text, sentence) => {
    expect(() => parseEpc(text)).toThrow(DescriptionError);
    expect(() => parseEpc(text)).toThrow(sentence);
  });

  it('knows its processors by name, and says which there are', () => {
    expect(parseCpu('icelake').name).toBe('icelake');
    expect(() => parseCpu('pentium')).toThrow(
      'There is no processor "pentium". Known: skylake, icelake, sapphire-rapids.',
    );
  });

  it('its defaults are a machine', () => {
    expect([parseCpu(DEFAULT_CPU).sgx2, parseEpc(DEFAULT_EPC)[0]]).toEqual([true, 128 * 2 ** 20]);
  });
});
