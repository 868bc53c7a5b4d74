// The memory of a real other process, with the kernel's own idea of which bytes can be copied.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ProcessMemory } from '../../src/attach/user-memory.ts';
import { PAGE_SIZE_BYTES, userAddr } from '../../src/lib/units.ts';

// Four pages: readable and writable, readable, not accessible, unmapped.
const SOURCE = `
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void) {
  char *p = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(p, 'a', 3 * 4096);
  mprotect(p + 4096, 4096, PROT_READ);
  mprotect(p + 2 * 4096, 4096, PROT_NONE);
  munmap(p + 3 * 4096, 4096);
  printf("%lu\\n", (unsigned long)p);
  fflush(stdout);
  pause();
}`;

let folder: string;
let child: ChildProcess;
let base: number;
const at = (offset: number) => userAddr(base + offset);
const enclaves: { start: number; end: number }[] = [];
let memory: ProcessMemory;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'vitrine-test-'));
  writeFileSync(path.join(folder, 'target.c'), SOURCE);
  execFileSync('gcc', ['-o', path.join(folder, 'target'), path.join(folder, 'target.c')]);
  child = spawn(path.join(folder, 'target'), { stdio: ['ignore', 'pipe', 'inherit'] });
  base = await new Promise<number>((resolve) => child.stdout!.once('data', (text) => resolve(Number(text))));
  memory = new ProcessMemory(child.pid!, () => enclaves);
});
afterAll(() => {
  child.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

describe('ProcessMemory', () => {
  it('reads up to the first page that the process may not read', () => {
    const bytes = new Uint8Array(4 * PAGE_SIZE_BYTES);
    expect(memory.read(at(0), bytes)).toBe(2 * PAGE_SIZE_BYTES);
    expect(memory.read(at(4000), new Uint8Array(200))).toBe(200);
    expect(memory.read(at(2 * PAGE_SIZE_BYTES - 1), new Uint8Array(2))).toBe(1);
    expect(memory.read(at(2 * PAGE_SIZE_BYTES), new Uint8Array(1))).toBe(0);
    expect(bytes.subarray(0, 3)).toEqual(Uint8Array.of(97, 97, 97));
  });

  it('writes up to the first page that the process may not write', () => {
    expect(memory.write(at(PAGE_SIZE_BYTES - 2), Uint8Array.of(1, 2, 3, 4))).toBe(2);
    expect(memory.write(at(PAGE_SIZE_BYTES), Uint8Array.of(1))).toBe(0);
    const bytes = new Uint8Array(3);
    memory.read(at(PAGE_SIZE_BYTES - 2), bytes);
    expect(bytes).toEqual(Uint8Array.of(1, 2, 97));
  });

  it('stops where an enclave begins, and reads nothing from within one', () => {
    enclaves.push({ start: base + 1000, end: base + 2000 });
    expect(memory.read(at(0), new Uint8Array(4096))).toBe(1000);
    expect(memory.read(at(1999), new Uint8Array(8))).toBe(0);
    expect(memory.read(at(2000), new Uint8Array(8))).toBe(8);
    enclaves.length = 0;
  });

  it('copies nothing at the end of user space or of a process that is gone', () => {
    expect(memory.read(userAddr(0x7fff_ffff_f000), new Uint8Array(8))).toBe(0);
    expect(new ProcessMemory(0x3fff_ffff, () => []).read(at(0), new Uint8Array(8))).toBe(0);
  });
});
