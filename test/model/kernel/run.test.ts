import { describe, expect, it } from 'vitest';

import { At, VirtualEnclave } from '../../support/virtual-enclave.ts';
import { VirtualMachine } from '../../../src/virtual/machine.ts';
import { eaccept, emodpe, exec, read, write } from '../../../src/virtual/code.ts';

const ready = (options = {}) => {
  const machine = new VirtualMachine(options);
  const process = machine.process();
  const enclave = VirtualEnclave.ready(process);
  return { machine, process, enclave, thread: process.thread() };
};

const REG_RW_PENDING = 0x20b;
const TRIM_MODIFIED = 0x410;
const PT_TRIM = 4;

describe('a whole run in a virtual process', () => {
  it('builds, enters, reads, writes and leaves', () => {
    const { thread } = ready();
    const left = thread.run(At.TCS, function* () {
      const before = yield* read(At.DATA, 2);
      yield* write(At.DATA + 8, Uint8Array.of(1, 2, 3));
      const after = yield* read(At.DATA + 7, 5);
      return [...before, ...after];
    });
    expect(left).toEqual({ kind: 'exit', value: [0x11, 0x11, 0x11, 1, 2, 3, 0x11] });
  });

  it('executes where the page has X, and is told where not', () => {
    const { thread } = ready();
    const left = thread.run(At.TCS, function* () {
      yield* exec(At.CODE + 0x10);
      yield* exec(At.DATA);
    });
    expect(left).toEqual({ kind: 'exception', vector: 14, errorCode: 0x15, address: At.DATA });
  });

  it('an interrupt leaves by AEX and ERESUME goes on', () => {
    const { thread } = ready();
    const left = thread.run(At.TCS, function* () {
      yield* write(At.DATA, Uint8Array.of(7));
      thread.interrupt();
      return [...(yield* read(At.DATA, 1))];
    });
    expect(left).toEqual({ kind: 'exit', value: [7] });
  });

  it('grows by touch: EAUG, 0x8007, EACCEPT by another thread of the enclave, ERESUME', () => {
    const { enclave, thread } = ready();
    const faulted = thread.run(At.TCS, function* () {
      yield* write(At.HOLE, Uint8Array.of(5));
      return [...(yield* read(At.HOLE, 2))];
    });
    expect(faulted).toEqual({ kind: 'exception', vector: 14, errorCode: 0x8007, address: At.HOLE });
    // CSSA is 1 now: the same TCS serves the handler on its second frame.
    const accepted = thread.process.thread().run(At.TCS, function* () {
      yield* write(At.DATA, enclave.secInfoBytes(REG_RW_PENDING));
      return yield* eaccept(At.DATA, At.HOLE);
    });
    expect(accepted).toEqual({ kind: 'exit', value: 0 });
    expect(thread.resume()).toEqual({ kind: 'exit', value: [5, 0] });
  });

  it('grows by EACCEPT: the missing page is brought without anybody noticing', () => {
    const { enclave, thread } = ready();
    const left = thread.run(At.TCS, function* () {
      yield* write(At.DATA, enclave.secInfoBytes(REG_RW_PENDING));
      const code = yield* eaccept(At.DATA, At.HOLE);
      yield* write(At.HOLE, Uint8Array.of(9));
      return [code, ...(yield* read(At.HOLE, 1))];
    });
    expect(left).toEqual({ kind: 'exit', value: [0, 9] });
  });

  it('restricts, accepts, faults with 0x8007, extends and goes on', () => {
    const { enclave, thread } = ready();
    expect(enclave.restrict(At.DATA2, 0x1000, 1)).toEqual({ ret: 0, count: 0x1000, result: 0 });
    const left = thread.run(At.TCS, function* () {
      yield* write(At.DATA, enclave.secInfoBytes(0x221));
      const accepted = yield* eaccept(At.DATA, At.DATA2);
      yield* write(At.DATA2, Uint8Array.of(accepted));
    });
    expect(left).toEqual({ kind: 'exception', vector: 14, errorCode: 0x8007, address: At.DATA2 });
    const handler = thread.process.thread().run(At.TCS, function* () {
      yield* write(At.DATA, enclave.secInfoBytes(0x203));
      return yield* emodpe(At.DATA, At.DATA2);
    });
    expect(handler).toEqual({ kind: 'exit', value: 0 });
    expect(thread.resume().kind).toBe('exit');
  });

  it('trims, is faulted with 0x8005 before and after EACCEPT, removes, and gets a fresh page', () => {
    const { enclave, thread } = ready();
    const touchTrimmed = () =>
      thread.process.thread().run(At.TCS, function* () {
        return [...(yield* read(At.DATA2, 1))];
      });
    expect(enclave.modifyTypes(At.DATA2, 0x1000, PT_TRIM)).toEqual({ ret: 0, count: 0x1000, result: 0 });
    expect(touchTrimmed()).toMatchObject({ kind: 'exception', errorCode: 0x8005, address: At.DATA2 });
    expect(enclave.removePages(At.DATA2, 0x1000)).toMatchObject({ ret: -1, count: 0 });
    const accepted = thread.run(At.TCS, function* () {
      yield* write(At.DATA, enclave.secInfoBytes(TRIM_MODIFIED));
      return yield* eaccept(At.DATA, At.DATA2);
    });
    expect(accepted).toEqual({ kind: 'exit', value: 0 });
  });

  it('gives all EPC back when the process is gone', () => {
    const { machine, process, thread } = ready();
    thread.enter(At.TCS);
    expect(machine.usedPages).toBeGreaterThan(0);
    process.exit();
    expect(machine.usedPages).toBe(0);
    expect(machine.kernel.usage()).toMatchObject({ backingPages: 0, enclaves: 0, reclaimablePages: 0 });
  });
});
