import { describe, expect, it } from 'vitest';
import { DescriptionError } from './description.ts';
import { neverUsed, outcomesOf, parseInjection } from './injection.ts';

describe('an injection in words', () => {
  it.each([
    ['emodt:SGX_PAGE_NOT_MODIFIABLE', { place: 'EMODT', outcome: { kind: 'code', code: 20 }, nth: 1 }],
    ['EMODT:20@page=7', { place: 'EMODT', outcome: { kind: 'code', code: 20 }, page: 7 }],
    ['emodt:13@page=7', { outcome: { kind: 'fault', vector: 13 }, page: 7 }],
    ['eaccept:sgx_not_tracked@address=0x7f0000104000,nth=3', { place: 'EACCEPT', address: 0x7f00_0010_4000, nth: 3 }],
    ['eaug:#pf@every', { place: 'EAUG', outcome: { kind: 'fault', vector: 14 }, every: 1 }],
    ['einit:128@every=2', { outcome: { kind: 'code', code: 128 }, every: 2 }],
    ['eldu:9@page=0x10', { outcome: { kind: 'code', code: 9 }, page: 16 }],
    ['alloc:ENOMEM@nth=100', { place: 'alloc', outcome: { kind: 'errno', errno: 12 }, nth: 100 }],
    ['alloc:12', { outcome: { kind: 'errno', errno: 12 } }],
    [' signal:EINTR@page=1,every ', { place: 'signal', text: 'signal:EINTR@page=1,every' }],
  ])('%s', (text, rule) => {
    expect(parseInjection(text)).toMatchObject(rule);
  });

  it.each([
    ['', 'is no injection. Write WHERE:OUTCOME'],
    ['emodt', 'as in emodt:SGX_PAGE_NOT_MODIFIABLE@page=7'],
    ['emodt:20:7', 'is no injection'],
    ['emod:20', 'There is no leaf and no function of the kernel "emod". Known: ECREATE, EADD'],
    ['eenter:#GP', 'Nothing can be injected into EENTER: the program’s own process enters'],
    ['ewb:11', 'Nothing can be injected into EWB: Linux only warns'],
    ['etrackc:17', 'Nothing can be injected into ETRACKC: nobody executes it here'],
    ['toString:1', 'There is no leaf and no function'],
    ['emodt:', 'EMODT cannot give "". It can give SGX_PAGE_NOT_MODIFIABLE (20), SGX_EPC_PAGE_CONFLICT (7), #GP (13)'],
    ['emodt:11', 'EMODT cannot give "11" (SGX_NOT_TRACKED). It can give SGX_PAGE_NOT_MODIFIABLE (20)'],
    ['emodt:ENOMEM', 'EMODT cannot give "ENOMEM"'],
    ['alloc:EPERM', 'alloc cannot give "EPERM". It can give ENOMEM, EINTR.'],
    ['alloc:#GP', 'alloc cannot give "#GP"'],
    ['emodt:20@', 'does not say when. Write page=N, address=N, nth=N, every=N.'],
    ['emodt:20@pages=7', '"pages=7" does not say when'],
    ['emodt:20@page=', '"page=" is no number from 0 on'],
    ['emodt:20@page', '"page=" is no number'],
    ['emodt:20@page=-1', 'is no number'],
    ['emodt:20@page=1e3', 'is no number'],
    ['emodt:20@page=7=8', 'does not say when'],
    ['emodt:20@page=99999999999999999999', 'is no number'],
    ['emodt:20@nth=0', '"nth=0" is no number from 1 on'],
    ['emodt:20@every=0', 'is no number from 1 on'],
    ['emodt:20@page=1,page=2', '"page" is said twice. Use --inject twice.'],
    ['emodt:20@page=1,address=4096', '"page" and "address" do not go together'],
    ['emodt:20@nth=1,every=2', '"nth" and "every" do not go together'],
    ['einit:128@page=3', 'EINIT works on no page of an enclave: choose its call by nth=N or every=N.'],
  ])('refuses "%s"', (text, sentence) => {
    expect(() => parseInjection(text)).toThrow(DescriptionError);
    expect(() => parseInjection(text)).toThrow(sentence);
  });

  it('each place says what it can give, and takes it', () => {
    expect(outcomesOf('EACCEPT')).toEqual([
      'SGX_PAGE_ATTRIBUTES_MISMATCH (19)',
      'SGX_NOT_TRACKED (11)',
      '#GP (13)',
      '#PF (14)',
    ]);
    for (const outcome of outcomesOf('EINIT')) {
      const [name = '', number] = outcome.split(/ \(|\)/);
      expect(parseInjection(`einit:${name}`).outcome).toEqual(parseInjection(`einit:${number}`).outcome);
    }
  });

  it('says of a rule that did nothing how close it came', () => {
    expect(neverUsed(parseInjection('emodt:20@page=9'), 0)).toBe(
      '--inject emodt:20@page=9 did nothing: EMODT of that page was never met',
    );
    expect(neverUsed(parseInjection('alloc:ENOMEM@nth=9'), 2)).toMatch(/: alloc was met 2 times$/);
  });
});
