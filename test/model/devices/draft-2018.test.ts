import { describe, expect, it } from 'vitest';

import { DraftAddPageAsMailed } from '../../../src/abi/sgx-uapi/draft-2018.ts';
import { SecInfo } from '../../../src/abi/sgx-arch.ts';
import { At, BASE, Enclave2018, FIXED, PAGE, RW, SIZE } from '../../support/enclave-2018.ts';
import { pageOf } from '../../../src/lib/units.ts';
import { load } from '../../../src/virtual/code.ts';

const created = (): Enclave2018 => {
  const all = new Enclave2018('draft-2018');
  expect(all.create()).toBe(0);
  return all;
};

describe('draft-2018: enclaves and mappings know nothing of each other', () => {
  it('closing the enclave_fd ends the enclave, and the mapping faults', () => {
    const all = Enclave2018.ready('draft-2018');
    expect(all.process.thread().run(At.TCS, () => load(At.DATA))).toMatchObject({ kind: 'exit' });
    all.process.close(all.fd);
    expect(all.machine.usedPages).toBe(0);
    expect(all.process.touch(At.DATA, 'read', true)).toEqual({ kind: 'bus' });
    expect(all.process.thread().run(At.TCS, function* () {})).toMatchObject({ kind: 'not-entered' });
  });

  it('a thread that is inside when the enclave ends gets SIGBUS at its next touch', () => {
    const all = Enclave2018.ready('draft-2018');
    const left = all.process.thread().run(At.TCS, function* () {
      yield* load(At.DATA);
      all.process.close(all.fd);
      return yield* load(At.DATA);
    });
    expect(left.kind).not.toBe('exit');
    expect(all.machine.usedPages).toBe(0);
  });

  it('another enclave may take its addresses, behind the same mapping', () => {
    const all = Enclave2018.ready('draft-2018');
    all.process.close(all.fd);
    const next = new Enclave2018('draft-2018', {}, all.process);
    all.process.close(next.deviceFd);
    Object.assign(next, { deviceFd: all.deviceFd });
    expect([next.create(), ...next.addUsualPages(), next.init()]).toEqual([0, 0, 0, 0, 0, 0, 0]);
    expect(all.process.thread().run(At.TCS, () => load(At.DATA))).toMatchObject({ kind: 'exit' });
  });

  it('ERESTARTSYS: CREATE waits for threads that have still to leave an enclave that had its addresses', () => {
    const all = Enclave2018.ready('draft-2018');
    all.process.answersKicks = false;
    const { id } = all.file;
    const results: string[] = [];
    all.process.thread().run(At.TCS, function* () {
      yield* load(At.DATA);
      all.process.close(all.fd);
      all.process.pendingSignals = () => true;
      results.push(all.answer(all.create()));
      all.process.pendingSignals = () => false;
      all.process.answerKick(id);
      results.push(all.answer(all.create()), all.answer(all.add()));
    });
    expect(results).toEqual(['ERESTARTSYS: no signal is pending while threads leave an enclave', '0', '0']);
    expect(all.machine.contents.has(all.file.secs!, pageOf(At.DATA))).toBe(true);
  });

  it('neither descriptor nor mapping of the device keeps an enclave, nor is one needed for its life', () => {
    const all = Enclave2018.ready('draft-2018');
    all.process.close(all.deviceFd);
    all.process.munmap(BASE, SIZE);
    expect(all.machine.usage()).toMatchObject({ enclaves: 1 });
    all.process.close(all.fd);
    expect(all.machine.usage()).toMatchObject({ enclaves: 0 });
    expect(all.machine.usedPages).toBe(0);
  });

  it('a duplicate keeps it, and so does one in another process', () => {
    const all = Enclave2018.ready('draft-2018');
    const copy = all.process.dup(all.fd);
    all.process.close(all.fd);
    const other = all.machine.process();
    all.process.passDescriptor(copy, other);
    all.process.close(copy);
    expect(all.process.thread().run(At.TCS, () => load(At.DATA))).toMatchObject({ kind: 'exit' });
    other.exit();
    expect(all.process.touch(At.DATA, 'read', true)).toEqual({ kind: 'bus' });
  });

  it('a mapping that is there first shows the enclave as soon as it has pages', () => {
    const all = new Enclave2018('draft-2018');
    expect(all.map()).toBe(BASE);
    expect(all.process.touch(At.DATA, 'read', true)).toEqual({ kind: 'bus' });
    expect([all.create(), ...all.addUsualPages(), all.init()]).toEqual([0, 0, 0, 0, 0, 0, 0]);
    expect(all.process.thread().run(At.TCS, () => load(At.DATA))).toMatchObject({ kind: 'exit' });
  });

  it('two enclaves of a device, behind one mapping', () => {
    const all = Enclave2018.ready('draft-2018');
    expect(all.process.mmap(BASE, 2 * SIZE, 7, FIXED, all.deviceFd)).toBe(BASE);
    const firstFd = all.fd;
    expect(all.create({ baseAddr: BigInt(BASE + SIZE) })).toBe(0);
    expect(all.add({ addr: BASE + SIZE })).toBe(0);
    expect(all.process.touch(BASE + SIZE, 'read', false)).toEqual({ kind: 'abort-page' });
    all.process.close(all.fd);
    expect(all.process.touch(BASE + SIZE, 'read', false)).toEqual({ kind: 'bus' });
    all.fd = firstFd;
    expect(all.process.thread().run(At.TCS, () => load(At.DATA))).toMatchObject({ kind: 'exit' });
  });

  it('EEXIST: addresses of another enclave of this device; another open of it has its own', () => {
    const all = created();
    expect(all.answer(all.create({ size: BigInt(SIZE / 2) }))).toBe(
      'EEXIST: no enclave of this device has these addresses',
    );
    expect(new Enclave2018('draft-2018', {}, all.process).create()).toBe(0);
  });

  it('ENODEV: mapping an enclave_fd; ENOTTY: any ioctl on it', () => {
    const all = created();
    expect(all.answer(all.process.mmap(BASE, SIZE, 3, FIXED, all.fd))).toBe('ENODEV: the file can be mapped');
    for (const { number } of all.machine.devices.nodes[0]!.ioctls.entries) {
      expect(all.answer(all.process.ioctl(all.fd, number, 0))).toBe('ENOTTY: the command is known');
    }
  });

  it('EBADF: an enclave_fd that is not open; EINVAL: of something else', () => {
    const all = created();
    const { fd } = all;
    for (const [wrong, refusal] of [
      [77, 'EBADF: enclave_fd is open'],
      [0, 'EINVAL: enclave_fd is of an enclave'],
      [all.deviceFd, 'EINVAL: enclave_fd is of an enclave'],
    ] as const) {
      all.fd = wrong;
      expect([all.answer(all.add()), all.answer(all.initAt(0)), all.answer(all.setAttribute(0))]).toEqual([
        refusal,
        refusal,
        refusal,
      ]);
    }
    all.fd = fd;
    expect(all.add()).toBe(0);
  });

  it('the descriptor is the handle: any open device takes it', () => {
    const all = created();
    const other = new Enclave2018('draft-2018', {}, all.process);
    other.fd = all.fd;
    expect(other.add()).toBe(0);
  });
});

describe('SGX_IOC_ENCLAVE_ADD_PAGE_AS_MAILED', () => {
  const addAsMailed = (all: Enclave2018): number => {
    const { memory } = all.process;
    return all.draft('SGX_IOC_ENCLAVE_ADD_PAGE_AS_MAILED', DraftAddPageAsMailed, {
      enclaveFd: BigInt(all.fd),
      src: BigInt(memory.put(new Uint8Array(PAGE))),
      secInfo: BigInt(memory.put(SecInfo.encode({ flags: BigInt(RW) }))),
      mrMask: 0xffff,
    });
  };
  const pagesOf = (all: Enclave2018): number[] => {
    const found: number[] = [];
    all.file.pages.visit(0, Infinity, (page) => void found.push(page * PAGE - BASE));
    return found;
  };

  it('the first page goes to the base, each to behind the one before', () => {
    const all = created();
    expect([addAsMailed(all), addAsMailed(all)]).toEqual([0, 0]);
    all.add({ addr: BASE + 0x8000 });
    expect(addAsMailed(all)).toBe(0);
    expect(pagesOf(all)).toEqual([0, 0x1000, 0x8000, 0x9000]);
  });

  it('EINVAL: the enclave is at its end', () => {
    const all = created();
    all.add({ addr: BASE + SIZE - PAGE });
    expect(all.answer(addAsMailed(all))).toBe('EINVAL: the address is in the enclave');
  });

  it('EBADF where a program of v17-2018 or proposal-2018 has an address', () => {
    const all = created();
    all.fd = 0x1234_5000;
    expect(all.answer(addAsMailed(all))).toBe('EBADF: enclave_fd is open');
    expect(all.process.lastWhy?.advice).toMatch(/^it was built for v17-2018 or proposal-2018/);
  });
});
