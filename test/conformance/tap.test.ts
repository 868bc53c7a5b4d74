import { describe, expect, it } from 'vitest';
import { parseTap } from '../../conformance/tap.ts';

function report(results: readonly string[], options: { plan?: number; totals?: string } = {}): string {
  const { plan = results.length, totals = `pass:${results.length} fail:0 xfail:0 xpass:0 skip:0 error:0` } = options;
  return ['TAP version 13', `1..${plan}`, ...results, `# Totals: ${totals}`, ''].join('\n');
}

const two = ['ok 1 enclave.one', 'ok 2 enclave.two'];

describe('parseTap', () => {
  it('accepts a complete run', () => {
    const { planned, cases, problems } = parseTap(
      report(['#  RUN  enclave.one ...', ...two], { plan: 2, totals: 'pass:2 fail:0 xfail:0 xpass:0 skip:0 error:0' }),
    );
    expect({ planned, problems, outcomes: cases.map((test) => test.outcome) }).toEqual({
      planned: 2,
      problems: [],
      outcomes: ['ok', 'ok'],
    });
  });

  it('reports a failed test by name', () => {
    const text = report(['ok 1 enclave.one', 'not ok 2 enclave.two'], {
      totals: 'pass:1 fail:1 xfail:0 xpass:0 skip:0 error:0',
    });
    expect(parseTap(text).problems).toEqual(['enclave.two: not ok']);
  });

  it('does not take a skipped test for a passed one', () => {
    const text = report(['ok 1 enclave.one', 'ok 2 enclave.two # SKIP SGX2 not supported'], {
      totals: 'pass:1 fail:0 xfail:0 xpass:0 skip:1 error:0',
    });
    expect(parseTap(text).problems).toEqual(['enclave.two: skip']);
  });

  it('wants the skips that are announced, and only those', () => {
    const text = report(['ok 1 enclave.one', 'ok 2 enclave.two # SKIP SGX2 not supported'], {
      totals: 'pass:1 fail:0 xfail:0 xpass:0 skip:1 error:0',
    });
    expect(parseTap(text, ['enclave.two']).problems).toEqual([]);
    expect(parseTap(text, ['enclave.one', 'enclave.two']).problems).toEqual(['enclave.one: ok, where it should skip']);
    expect(parseTap(text, ['enclave.two', 'enclave.three']).problems).toEqual(['there is no case enclave.three']);
  });

  it('sees a skip that has no name', () => {
    const text = report(['ok 1 # SKIP no device'], { totals: 'pass:0 fail:0 xfail:0 xpass:0 skip:1 error:0' });
    expect(parseTap(text).problems).toEqual([': skip']);
  });

  it.each([
    ['a run that stopped early', report(two, { plan: 16 }), '16 tests planned, 2 reported'],
    ['a repeated number', report(['ok 1 enclave.one', 'ok 1 enclave.one']), 'result number 1 stands in place 2'],
    [
      'totals that say otherwise',
      report(two, { totals: 'pass:1 fail:1 xfail:0 xpass:0 skip:0 error:0' }),
      'the totals contradict the results',
    ],
    ['missing totals', 'TAP version 13\n1..1\nok 1 a\n', 'there is no line of totals'],
    ['an empty plan', report([]), 'the plan is empty'],
    ['an expected failure', report(['ok 1 enclave.one # XFAIL known']), 'enclave.one ended as XFAIL'],
  ])('refuses %s', (_what, text, problem) => {
    expect(parseTap(text).problems).toContain(problem);
  });

  it('refuses output that is no TAP at all', () => {
    expect(parseTap('Segmentation fault\n').problems).toContain('there is no plan (1..N)');
  });
});
