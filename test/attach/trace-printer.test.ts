import { describe, expect, it } from 'vitest';
import { formatter } from '../../src/trace/text.ts';
import type { TraceEvent } from '../../src/trace/events.ts';

const event: TraceEvent = {
  kind: 'ioctl',
  pid: 10,
  tid: 4711,
  name: 'SGX_IOC_ENCLAVE_ADD_PAGES',
  args: { offset: '0x2000', length: '0x1000' },
  structs: { SECINFO: { flags: 'R|X|PT=REG' } },
  outcome: 'ok',
  result: '0',
  durationUs: 12.4,
};

describe('the trace', () => {
  it('is one line for what succeeded', () => {
    expect(formatter({ colour: false })(event)).toBe(
      '   4711  SGX_IOC_ENCLAVE_ADD_PAGES offset=0x2000 length=0x1000 SECINFO: flags=R|X|PT=REG = 0  12 us\n',
    );
  });

  it('says which check refused, what it expected and found, and what to do', () => {
    const refused: TraceEvent = {
      ...event,
      result: 'EINVAL',
      why: { check: 'length is whole pages', expected: 'a multiple of 4096', found: '0x123', advice: 'round it up' },
    };
    expect(formatter({ colour: false })(refused).split('\n').slice(1)).toEqual([
      '         refused: length is whole pages; expected a multiple of 4096, found 0x123',
      '         advice: round it up',
      '',
    ]);
  });

  it('names the process where no thread is meant, and leaves out what there is none of', () => {
    expect(formatter({ colour: false })({ kind: 'exit', pid: 10, name: 'EEXIT' })).toBe('     10  EEXIT\n');
  });

  it('uses colours only when told to', () => {
    expect(formatter({ colour: false })(event)).not.toContain('\x1b');
    expect(formatter({ colour: true })(event)).toContain('\x1b[');
  });
});
