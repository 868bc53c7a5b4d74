// `--trace FILE.jsonl` against docs/trace.md: what is written is what is documented.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enclaveIoctls } from '../../src/abi/sgx-uapi.ts';
import { headerFields, lineFields, traceLine, type TraceHeader, type TraceLine } from '../../src/cli/trace-file.ts';
import { traceKinds, traceOutcomes } from '../../src/trace/events.ts';
import { buildPrograms, TargetRun } from '../support/target-run.ts';

const root = path.join(import.meta.dirname, '..', '..');
const vitrine = path.join(root, 'bin', 'vitrine');

let folder: string;
beforeAll(() => {
  buildPrograms();
  folder = mkdtempSync(path.join(tmpdir(), 'vitrine-test-'));
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

function read(file: string): { header: TraceHeader; lines: TraceLine[] } {
  const texts = readFileSync(file, 'utf8').split('\n');
  expect(texts.pop()).toBe('');
  const [header, ...lines] = texts.map((text) => JSON.parse(text) as unknown);
  return { header: header as TraceHeader, lines: lines as TraceLine[] };
}

/** The command name of a process, a line; empty while there is none. */
function nameOf(pid: number | undefined): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'latin1');
  } catch {
    return '';
  }
}

/** Rows of the last table: `| name | args |`. */
function documentedArgs(): Map<string, Set<string>> {
  const document = readFileSync(path.join(root, 'docs', 'trace.md'), 'utf8');
  const rows = document.slice(document.indexOf('Of the others:')).matchAll(/^\| `(\S+)` \| (.*) \|$/gm);
  return new Map(
    [...rows].map(([, name, args]) => [name!, new Set([...args!.matchAll(/`(\w+)`/g)].map((match) => match[1]!))]),
  );
}

describe('a trace file', () => {
  it('has the documented fields, kinds, outcomes and arguments, and nothing else', async () => {
    const file = path.join(folder, 'semantics.jsonl');
    // Linux executes EINIT again for this one.
    const inject = 'einit:SGX_UNMASKED_EVENT';
    await new TargetRun(['--trace', file, '--epc', '32M', '--inject', inject], ['semantics', 'an argument']).ended;
    const { header, lines } = read(file);
    expect(Object.keys(header)).toEqual(Object.keys(headerFields));
    expect(header).toMatchObject({
      format: 1,
      machine: { cpu: 'sapphire-rapids', features: {}, epc: [32 * 1024 * 1024], inject: [inject] },
      command: ['build/semantics', 'an argument'],
    });
    expect(Date.now() - Date.parse(header.startedAt)).toBeLessThan(120_000);

    const documented = documentedArgs();
    const ioctls = new Map<string, Set<string>>(
      enclaveIoctls.entries.map(({ name, arg }) => [name, new Set(arg.fields.map((field) => field.name))]),
    );
    for (const line of lines) {
      expect(Object.keys(line).filter((name) => !(name in lineFields))).toEqual([]);
      expect(traceKinds).toHaveProperty(line.kind);
      expect([...Object.keys(traceOutcomes), undefined]).toContain(line.outcome);
      const names = ioctls.get(line.name) ?? documented.get(line.name) ?? new Set();
      expect({ name: line.name, unknown: Object.keys(line.args ?? {}).filter((name) => !names.has(name)) }).toEqual({
        name: line.name,
        unknown: [],
      });
    }
    const kinds = new Set(lines.map(({ kind }) => kind));
    expect([...kinds].toSorted()).toEqual(Object.keys(traceKinds).toSorted());
    const times = lines.map(({ timeUs }) => timeUs);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    const created = lines.find(({ name, outcome }) => name === 'SGX_IOC_ENCLAVE_CREATE' && outcome === 'ok')!;
    expect(created.structs?.['SECS']).toMatchObject({ size: '0x8000000', attributes: 'MODE64BIT', ssaFrameSize: 1 });
  });

  it('is whole when the program was killed', async () => {
    const file = path.join(folder, 'killed.jsonl');
    const targets = new TargetRun(['--trace', file], ['victim']);
    while (nameOf(targets.target) !== 'run\n') await new Promise((resolve) => setTimeout(resolve, 5));
    process.kill(targets.target!, 'SIGKILL');
    expect((await targets.ended).signal).toBe('SIGKILL');
    const { lines } = read(file);
    expect(lines.filter(({ name, result }) => name === 'SGX_IOC_ENCLAVE_INIT' && result === '0')).not.toEqual([]);
    expect(lines.at(-1)).toMatchObject({ kind: 'note', name: 'end', args: { pages: 0, enclaves: 0 } });
  });

  it('is whole up to the last rest when vitrine was killed', async () => {
    const file = path.join(folder, 'lost.jsonl');
    const host = spawn(vitrine, [
      'run',
      '--trace',
      file,
      '--',
      'sh',
      '-c',
      'exec 3<>/dev/sgx_enclave; echo; read line',
    ]);
    await once(host.stdout, 'data');
    while (!read(file).lines.some(({ name }) => name === 'open'))
      await new Promise((resolve) => setTimeout(resolve, 5));
    host.kill('SIGKILL');
    await once(host, 'close');
    expect(read(file).lines.at(-1)).toMatchObject({ name: 'open', args: { path: '/dev/sgx_enclave' } });
  });

  it('that cannot be written: a sentence, 125, and the program does not start', () => {
    const { status, stdout, stderr } = spawnSync(
      vitrine,
      ['run', '--trace', path.join(folder, 'no', 'such.jsonl'), '--', 'echo', 'started'],
      { encoding: 'utf8' },
    );
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr).toMatch(/^vitrine: cannot write the trace: ENOENT.*such\.jsonl'\n$/);
  });

  it('is no descriptor of the program', () => {
    const list = 'for fd in /proc/self/fd/*; do readlink $fd; done; true';
    const { stdout } = spawnSync(vitrine, ['run', '--trace', path.join(folder, 'fds.jsonl'), '--', 'sh', '-c', list], {
      encoding: 'utf8',
    });
    expect(stdout).not.toContain('.jsonl');
  });
});

describe('a line', () => {
  it('leaves out what there is none of, and rounds times to the nanosecond', () => {
    expect(traceLine({ kind: 'exit', pid: 1, name: 'EEXIT', durationUs: 1.23456 }, 5.00049)).toBe(
      '{"timeUs":5,"kind":"exit","pid":1,"name":"EEXIT","durationUs":1.235}\n',
    );
  });
});
