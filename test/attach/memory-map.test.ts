import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { findMapping, hasMayExec, MemoryMap, parseMounts, type FindMapping } from '../../src/attach/memory-map.ts';

const LAST_PAGE = 0x7fff_ffff_e000;

describe('findMapping', () => {
  const lines = [
    '5555-6666 r-xp 00000000 08:02 135522                             /usr/bin/cat',
    '7ffd0f5a1000-7ffd0f5c2000 rw-p 00000000 00:00 0                          [stack]',
    'ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]',
  ];

  it('gives end, rights and device of the first mapping that ends above the address', () => {
    expect(findMapping(lines, 0)).toEqual({ end: 0x6666, executable: true, device: '08:02' });
    expect(findMapping(lines, 0x6665)).toEqual({ end: 0x6666, executable: true, device: '08:02' });
    expect(findMapping(lines, 0x6666)).toEqual({ end: 0x7ffd0f5c2000, executable: false, device: '00:00' });
  });

  it('knows no vsyscall page, as find_vma does not', () => {
    expect(findMapping(lines, 0x7ffd0f5c2000)).toBeUndefined();
  });
});

describe('parseMounts', () => {
  it('names devices in hexadecimal, and says which any mount lets execute', () => {
    const text =
      '22 1 0:42 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n' +
      '23 1 8:2 / / rw,relatime - ext4 /dev/sda2 rw\n' +
      '24 1 8:2 /sub /mnt rw,noexec - ext4 /dev/sda2 rw\n';
    expect([...parseMounts(text)]).toEqual([
      ['00:2a', false],
      ['08:02', true],
    ]);
  });
});

describe('hasMayExec', () => {
  const smaps =
    '1000-2000 rw-p 00000000 00:00 0 \nSize: 4 kB\nVmFlags: rd wr mr mw me ac \n' +
    '2000-3000 rw-s 00000000 00:0f 88 /[aio] (deleted)\nSize: 4 kB\nVmFlags: rd wr sh mr mw ms de dd \n';

  it('is what the flags of the mapping with that end say', () => {
    expect([hasMayExec(smaps, 0x2000), hasMayExec(smaps, 0x3000)]).toEqual([true, false]);
  });

  it('is taken for granted where there is no such mapping, or no flags', () => {
    expect([hasMayExec(smaps, 0x4000), hasMayExec('1000-2000 rw-p 0 00:00 0\n', 0x2000)]).toEqual([true, true]);
  });
});

const ways: [string, FindMapping | undefined][] = [
  ['PROCMAP_QUERY where there is one', undefined],
  ['the text, where PROCMAP_QUERY is not there', () => 'unsupported'],
];

describe.each(ways)('MemoryMap by %s', (_way, find) => {
  it('finds the mapping at or above an address, as find_vma does', () => {
    const map = new MemoryMap(process.pid, find);
    expect(map.mayExec(0)).toBe(true);
    expect(map.mayExec(LAST_PAGE)).not.toBe(false);
    map.dispose();
  });

  it('finds what the text of /proc/PID/maps says, for every mapping and every gap', async () => {
    const child = await startWaiting();
    const map = new MemoryMap(child.pid!, find);
    const lines = readFileSync(`/proc/${child.pid!}/maps`, 'latin1').trimEnd().split('\n');
    const bounds = lines.flatMap((line) =>
      line
        .split(' ')[0]!
        .split('-')
        .map((hex) => Number.parseInt(hex, 16)),
    );
    const addresses = bounds.flatMap((bound) => [bound - 1, bound]).filter((address) => address <= LAST_PAGE);
    const asked = addresses.map((address) => {
      map.forget();
      return map.mayExec(address);
    });
    expect(asked).toEqual(addresses.map((address) => (findMapping(lines, address) ? true : undefined)));
    map.dispose();
    child.kill('SIGKILL');
    await once(child, 'exit');
  });

  it('knows nothing of a process that is gone, or ends meanwhile', async () => {
    expect(new MemoryMap(0x3fff_ffff, find).mayExec(0)).toBeUndefined();
    const child = await startWaiting();
    const map = new MemoryMap(child.pid!, find);
    expect(map.mayExec(0)).toBe(true);
    child.kill('SIGKILL');
    await once(child, 'exit');
    map.forget();
    expect(map.mayExec(0)).toBeUndefined();
    map.dispose();
  });

  it('holds one descriptor, until it is disposed of', () => {
    const map = new MemoryMap(process.pid, find);
    const open = (): number => openFiles().filter((name) => name === `/proc/${process.pid}/maps`).length;
    map.mayExec(0);
    map.forget();
    map.mayExec(0);
    expect(open()).toBe(1);
    map.dispose();
    expect(open()).toBe(0);
    expect(map.mayExec(0)).toBeUndefined();
    expect(open()).toBe(0);
  });
});

/** A process that has been loaded, and maps and unmaps nothing any more. */
async function startWaiting(): Promise<ChildProcess> {
  const child = spawn('sh', ['-c', 'echo ready; read line']);
  await once(child.stdout, 'data');
  return child;
}

function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      // The descriptor of the listing itself.
      return [];
    }
  });
}
