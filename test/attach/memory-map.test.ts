import { describe, expect, it } from 'vitest';
import { MemoryMap, parseMaps, parseNoexec } from '../../src/attach/memory-map.ts';

describe('parseMaps', () => {
  it('reads ranges, rights and devices', () => {
    const text =
      '5555-6666 r-xp 00000000 08:02 135522                             /usr/bin/cat\n' +
      '7ffd0f5a1000-7ffd0f5c2000 rw-p 00000000 00:00 0                          [stack]\n';
    expect(parseMaps(text)).toEqual([
      { start: 0x5555, end: 0x6666, executable: true, device: '08:02' },
      { start: 0x7ffd0f5a1000, end: 0x7ffd0f5c2000, executable: false, device: '00:00' },
    ]);
  });
});

describe('parseNoexec', () => {
  it('names devices in hexadecimal, and only those that no mount lets execute', () => {
    const text =
      '22 1 0:42 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n' +
      '23 1 8:2 / / rw,relatime - ext4 /dev/sda2 rw\n' +
      '24 1 8:2 /sub /mnt rw,noexec - ext4 /dev/sda2 rw\n';
    expect(parseNoexec(text)).toEqual(new Set(['00:2a']));
  });
});

describe('MemoryMap', () => {
  it('finds the mapping at or above an address, as find_vma does', () => {
    const map = new MemoryMap(process.pid);
    expect(map.mayExec(0)).toBe(true);
    expect(map.mayExec(0x7fff_ffff_f000)).not.toBe(false);
  });

  it('knows nothing of a process that is gone', () => {
    expect(new MemoryMap(0x3fff_ffff).mayExec(0)).toBeUndefined();
  });
});
