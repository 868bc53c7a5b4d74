import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { bindTraceFiles, traceDestination } from './trace-option.ts';

function parse(...words: string[]): {
  traces: readonly string[];
  program: string | undefined;
  args: readonly string[];
} {
  const program = new Command().exitOverride().enablePositionalOptions();
  let parsed: ReturnType<typeof parse> | undefined;
  program
    .command('run')
    .argument('<program>')
    .argument('[args...]')
    .option('--epc <size>')
    .option('--trace [file]', '', traceDestination)
    .passThroughOptions()
    .configureOutput({ writeErr: () => {} })
    .action((name: string, args: string[], { trace = [] }: { trace?: readonly string[] }) => {
      parsed = { traces: trace, program: name, args };
    });
  program.parse(bindTraceFiles(['node', 'vitrine', 'run', ...words], program));
  return parsed!;
}

function parseUp(...words: string[]): { traces: readonly string[]; name: string } {
  const program = new Command().exitOverride();
  let parsed: ReturnType<typeof parseUp> | undefined;
  program
    .command('machine')
    .command('up')
    .argument('<name>')
    .option('--epc <size>')
    .option('--trace [file]', '', traceDestination)
    .action((name: string, { trace = [] }: { trace?: readonly string[] }) => {
      parsed = { traces: trace, name };
    });
  program.parse(bindTraceFiles(['node', 'vitrine', 'machine', 'up', ...words], program));
  return parsed!;
}

describe('--trace', () => {
  it.each([
    [['--trace', 'prog', 'a'], [''], 'prog', ['a']],
    [['--trace', '--', 'prog', 'a'], [''], 'prog', ['a']],
    [['--trace', 't.jsonl', '--', 'prog'], ['t.jsonl'], 'prog', []],
    [['--trace', 't.jsonl', 'prog'], ['t.jsonl'], 'prog', []],
    [['--trace=t.jsonl', 'prog'], ['t.jsonl'], 'prog', []],
    [['--trace', 't.jsonl', '--epc', '8M', '--trace', 'prog'], ['t.jsonl', ''], 'prog', []],
    [['--epc', '8M', '--trace', 'a b.jsonl', 'prog'], ['a b.jsonl'], 'prog', []],
    // The program's own words are none of ours.
    [['prog', '--trace', 't.jsonl'], [], 'prog', ['--trace', 't.jsonl']],
    [['--', 'prog', '--trace', 't.jsonl'], [], 'prog', ['--trace', 't.jsonl']],
    [['--trace', '--', 't.jsonl'], [''], 't.jsonl', []],
    [['--epc', '--trace', 'x.jsonl'], [], 'x.jsonl', []],
  ])('%j', (words, traces, program, args) => {
    expect(parse(...words)).toEqual({ traces, program, args });
  });

  it.each([
    [['demo', '--trace', 't.jsonl', '--epc', '8M'], ['t.jsonl'], 'demo'],
    [['--trace', 'demo'], [''], 'demo'],
    [['--epc', '--trace', 'demo', '--trace'], [''], 'demo'],
  ])('of machine up: %j', (words, traces, name) => {
    expect(parseUp(...words)).toEqual({ traces, name });
  });

  it('refuses a file of another name, because --trace=./prog is more likely a mistake', () => {
    expect(() => parse('--trace=./prog')).toThrow('ends in .jsonl');
  });
});
