import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { PageType } from '../abi/sgx-arch.ts';
import { epcIndex, linPage } from '../lib/units.ts';
import { EnclavePageTable, isEvicted, maxProtOf, typeOf } from './page-table.ts';

const FAR = 0x7_f000_0000;

function visited(table: EnclavePageTable, start: number, end: number): number[] {
  const pages: number[] = [];
  table.visit(start, end, (page) => void pages.push(page));
  return pages;
}

describe('EnclavePageTable', () => {
  it('knows type, limit and place of a page', () => {
    const table = new EnclavePageTable();
    const page = linPage(FAR);
    table.add(page, PageType.TCS, 3, epcIndex(0));
    table.setType(page, PageType.TRIM);
    table.setMaxProt(page, 7);
    const { flags, location } = table.get(page)!;
    expect([typeOf(flags), maxProtOf(flags), isEvicted(flags), location]).toEqual([PageType.TRIM, 7, false, 0]);
    expect(table.residentPage(page)).toBe(0);
    table.setEvicted(page, 1234);
    expect(table.residentPage(page)).toBeUndefined();
    expect(table.get(page)!.location).toBe(1234);
    table.setResident(page, epcIndex(5));
    expect(table.residentPage(page)).toBe(5);
    table.delete(page);
    expect([table.has(page), table.get(page), table.count]).toEqual([false, undefined, 0]);
  });

  it('visits pages in order until told to stop', () => {
    const table = new EnclavePageTable();
    for (const page of [FAR + 5000, FAR, FAR + 1]) table.add(linPage(page), PageType.REG, 0, epcIndex(0));
    expect(visited(table, 0, Infinity)).toEqual([FAR, FAR + 1, FAR + 5000]);
    expect(visited(table, FAR + 1, FAR + 5000)).toEqual([FAR + 1]);
    const seen: number[] = [];
    table.visit(0, Infinity, (page) => seen.push(page) < 2);
    expect(seen).toEqual([FAR, FAR + 1]);
  });

  it('visits what a sorted set would', () => {
    const page = fc.integer({ min: 0, max: 3000 });
    fc.assert(
      fc.property(fc.uniqueArray(page), fc.uniqueArray(page), page, page, (added, deleted, start, end) => {
        const table = new EnclavePageTable();
        const model = new Set(added);
        for (const each of added) table.add(linPage(each), PageType.REG, 1, epcIndex(each));
        for (const each of deleted) if (model.delete(each)) table.delete(linPage(each));
        const expected = [...model].filter((each) => each >= start && each < end).toSorted((a, b) => a - b);
        expect(visited(table, start, end)).toEqual(expected);
        expect(table.count).toBe(model.size);
      }),
    );
  });
});
