import { describe, expect, it } from 'vitest';

import { InvariantError } from '../lib/outcome.ts';
import { epcIndex } from '../lib/units.ts';
import { Epc } from './epc.ts';

describe('Epc', () => {
  it('hands out pages in order, and freed ones last', () => {
    const epc = new Epc(4);
    expect([epc.take(), epc.take()]).toEqual([0, 1]);
    epc.give(epcIndex(0));
    expect([epc.take(), epc.take(), epc.take(), epc.take()]).toEqual([2, 3, 0, undefined]);
  });

  it('counts free and reclaimable pages, each once', () => {
    const epc = new Epc(4);
    const page = epc.take()!;
    epc.markReclaimable(page);
    epc.markReclaimable(page);
    expect(epc.usage()).toEqual({ pages: 4, freePages: 3, reclaimablePages: 1 });
    epc.give(page);
    expect(epc.usage()).toEqual({ pages: 4, freePages: 4, reclaimablePages: 0 });
  });

  it('evicts in order, passes a touched page over once, and never what is not reclaimable', () => {
    const epc = new Epc(5);
    const pages = Array.from({ length: 5 }, () => epc.take()!);
    for (const page of pages.slice(0, 4)) epc.markReclaimable(page);
    epc.touch(pages[0]!);
    epc.touch(pages[2]!);
    const victims = Array.from({ length: 5 }, () => epc.takeVictim());
    expect(victims).toEqual([1, 3, 0, 2, undefined]);
  });

  it('a page is not freed twice', () => {
    const epc = new Epc(1);
    const page = epc.take()!;
    epc.give(page);
    expect(() => epc.give(page)).toThrow(InvariantError);
  });
});
