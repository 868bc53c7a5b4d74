import { describe, expect, it } from 'vitest';

import { Backing } from './backing.ts';

const page = (fill: number) => ({
  sealed: new Uint8Array(4096).fill(fill),
  pcmd: new Uint8Array(128).fill(fill + 1),
  vaSlotId: fill * 1000,
});

describe('Backing', () => {
  it('keeps each page by its handle, over many slabs', () => {
    const backing = new Backing();
    const handles = Array.from({ length: 600 }, (_, i) => backing.store(page(i % 200)));
    expect(new Set(handles).size).toBe(600);
    expect(handles.every((handle, i) => backing.read(handle).sealed[4095] === i % 200)).toBe(true);
    expect(backing.read(handles[599]!)).toEqual(page(199));
  });

  it('reuses what was freed', () => {
    const backing = new Backing();
    const first = backing.store(page(1));
    const second = backing.store(page(2));
    backing.free(first);
    expect(backing.store(page(3))).toBe(first);
    expect(backing.read(second)).toEqual(page(2));
    backing.free(first);
    backing.free(second);
    expect(backing.pages).toBe(0);
    expect(backing.read(backing.store(page(4)))).toEqual(page(4));
  });
});
