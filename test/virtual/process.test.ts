import { describe, expect, it } from 'vitest';
import { MapFlags, MapType, OpenAccess, OpenFlags, Prot } from '../../src/abi/linux.ts';
import { KeyName, KeyRequest, PageType } from '../../src/abi/sgx-arch.ts';
import { Errno } from '../../src/lib/errno.ts';
import { egetkey, load, pause, read, store, write } from '../../src/virtual/code.ts';
import { Enclave } from '../../src/virtual/enclave.ts';
import { VirtualMachine } from '../../src/virtual/machine.ts';
import type { VirtualProcess } from '../../src/virtual/process.ts';

const PAGE = 0x1000;
const { PROT_READ, PROT_WRITE } = Prot.bit;
const RW = PROT_READ | PROT_WRITE;
const { MAP_SHARED, MAP_PRIVATE } = MapType;
const { MAP_ANONYMOUS, MAP_FIXED, MAP_FIXED_NOREPLACE } = MapFlags.bit;

const loaded = (options = {}) => {
  const machine = new VirtualMachine({ epcPages: 256 });
  const process = machine.process();
  return { machine, process, enclave: Enclave.load(process, options) };
};

describe('descriptors of a virtual process', () => {
  it('are the lowest that is free, and EBADF when they are not open', () => {
    const { process } = loaded();
    expect([process.open('/dev/sgx_enclave'), process.open('/dev/sgx_provision')]).toEqual([4, 5]);
    expect([process.close(4), process.close(4), process.dup(4)]).toEqual([0, -Errno.EBADF, -Errno.EBADF]);
    expect([process.dup(5), process.dup(5, 9), process.dup(9, 9)]).toEqual([4, 9, 9]);
    expect(process.ioctl(77, 0, 0)).toBe(-Errno.EBADF);
    expect(process.mmap(0, PAGE, RW, MAP_SHARED, 77)).toBe(-Errno.EBADF);
  });

  it('end at 1024', () => {
    const { process } = loaded();
    for (let fd = 4; fd < 1024; fd++) expect(process.dup(3)).toBe(fd);
    expect([process.dup(3), process.open('/dev/sgx_enclave')]).toEqual([-Errno.EMFILE, -Errno.EMFILE]);
  });

  it('with O_CLOEXEC are closed by exec, and mappings are gone', () => {
    const { machine, process, enclave } = loaded();
    process.open('/dev/sgx_enclave', undefined, OpenAccess.O_RDWR | OpenFlags.bit.O_CLOEXEC);
    process.exec();
    expect([process.descriptors(), process.read(enclave.data, 1).kind]).toEqual([[3], 'unmapped']);
    process.close(3);
    expect(machine.usage()).toMatchObject({ freePages: 256, enclaves: 0 });
  });
});

describe('memory of a virtual process', () => {
  it('mmap gives the address that was asked for if it is free, else another; MAP_FIXED_NOREPLACE says EEXIST', () => {
    const { process } = loaded();
    const flags = MAP_PRIVATE | MAP_ANONYMOUS;
    const first = process.mmap(0, 2 * PAGE, RW, flags);
    const second = process.mmap(first, PAGE, RW, flags);
    expect(second).toBe(first + 2 * PAGE);
    expect(process.mmap(0x5000_0000, PAGE, RW, flags)).toBe(0x5000_0000);
    expect(process.mmap(0x5000_0000, PAGE, RW, flags | MAP_FIXED_NOREPLACE)).toBe(-Errno.EEXIST);
    expect(process.mmap(0x5000_0001, PAGE, RW, flags | MAP_FIXED)).toBe(-Errno.EINVAL);
    expect(process.mmap(0, 0, RW, flags)).toBe(-Errno.EINVAL);
  });

  it('is read and written as its protection says', () => {
    const { process, enclave } = loaded();
    const address = process.mmap(0, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS);
    expect(process.write(address, Uint8Array.of(7)).kind).toBe('ok');
    expect(process.mprotect(address, PAGE, PROT_READ)).toBe(0);
    expect(process.write(address, Uint8Array.of(8))).toMatchObject({ kind: 'fault', errorCode: 7, address });
    expect(process.read(address, 2).bytes).toEqual(Uint8Array.of(7, 0));
    expect(process.read(enclave.data, 2)).toEqual({ kind: 'abort-page', bytes: Uint8Array.of(255, 255) });
    expect(process.mprotect(address, 2 * PAGE, RW)).toBe(-Errno.ENOMEM);
  });
});

describe('threads of virtual processes', () => {
  it('what was interrupted is resumed by a thread of another process', () => {
    const { process, enclave } = loaded();
    const [tcs = 0] = enclave.tcs;
    const thread = process.thread();
    thread.enter(tcs, function* () {
      yield* store(enclave.data, 1n);
      yield* pause();
      return yield* load(enclave.data);
    });
    thread.step();
    thread.interrupt();
    const child = process.fork();
    process.exit();
    expect(child.thread().resume(tcs)).toEqual({ kind: 'exit', value: 1n });
  });

  it.each([
    ['munmap', (process, base, size) => process.munmap(base, size)],
    ['mmap over it', (process, base, size) => process.mmap(base, size, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)],
  ] as [string, (process: VirtualProcess, base: number, size: number) => number][])(
    '%s takes those out that are inside, and the enclave can be evicted',
    (_, unmap) => {
      const { machine, process, enclave } = loaded();
      const thread = process.thread();
      thread.enter(enclave.tcs[0]!);
      expect(unmap(process, enclave.base, enclave.sizeBytes)).toBeGreaterThanOrEqual(0);
      expect(thread.thread.inside).toBeUndefined();
      expect(thread.step()).toMatchObject({ kind: 'not-entered', fault: { vector: 14 } });
      Enclave.load(machine.process(), { dataPages: 400 });
      expect(enclave.epcmEntry(enclave.data)).toBeUndefined();
    },
  );

  it('goes on however often eviction takes it out, at ERESUME and in the middle of its code', () => {
    const machine = new VirtualMachine({ epcPages: 64 });
    const process = machine.process();
    const enclave = Enclave.load(process, { dataPages: 120 });
    const pages = Array.from({ length: 120 }, (_, i) => enclave.data + i * PAGE);
    const left = process.thread().run(enclave.tcs[0]!, function* () {
      for (const [i, page] of pages.entries()) yield* store(page, BigInt(i));
      let sum = 0n;
      for (const page of pages) sum += yield* load(page);
      return sum;
    });
    expect(left).toEqual({ kind: 'exit', value: 7140n });
    expect(machine.usage().backingPages).toBeGreaterThan(60);
  });

  it.each([
    ['TCS', 0],
    ['save area', PAGE],
  ])('whose %s is trimmed under it leaves, and does not come back', (_, offset) => {
    const { process, enclave } = loaded({ threads: 2 });
    const thread = process.thread();
    thread.enter(enclave.tcs[1]!);
    expect(enclave.modifyTypes(enclave.tcs[1]! + offset, PAGE, PageType.TRIM).ret).toBe(0);
    expect(thread.thread.inside).toBeUndefined();
    expect(thread.step()).toMatchObject({ kind: 'not-entered', fault: { vector: 14 } });
    process.exit();
  });

  it('a thread that dies inside leaves its TCS as an interrupt would', () => {
    const { process, enclave } = loaded();
    const child = process.fork();
    const [tcs = 0] = enclave.tcs;
    child.thread().enter(tcs, () => store(enclave.data, 5n));
    child.exit();
    expect(process.thread().resume(tcs)).toEqual({ kind: 'exit', value: undefined });
    expect(process.thread().run(tcs, () => load(enclave.data))).toEqual({ kind: 'exit', value: 5n });
  });
});

describe('a seed', () => {
  const keyOf = (seed: number): string => {
    const process = new VirtualMachine({ epcPages: 64, seed }).process();
    const enclave = Enclave.load(process);
    const left = process.thread().run(enclave.tcs[0]!, function* () {
      yield* write(enclave.data, KeyRequest.encode({ keyName: KeyName.SEAL }));
      yield* egetkey(enclave.data, enclave.data + 0x800);
      return yield* read(enclave.data + 0x800, 16);
    });
    return left.kind === 'exit' ? Buffer.from(left.value).toString('hex') : left.kind;
  };

  it('is a machine: the same keys each time, and others with another', () => {
    expect(keyOf(1)).toMatch(/^[0-9a-f]{32}$/);
    expect(keyOf(1)).toBe(keyOf(1));
    expect(keyOf(2)).not.toBe(keyOf(1));
  });
});
