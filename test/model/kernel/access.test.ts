import { describe, expect, it } from 'vitest';

import { Attributes, Tcs } from '../../../src/abi/sgx-arch.ts';
import { errnoName } from '../../../src/lib/errno.ts';
import { fromHex } from '../../../src/lib/bytes.ts';
import { created, PAGE, ready, type Opened } from '../devices/support.ts';
import { At, FIXED, VirtualEnclave } from '../../support/virtual-enclave.ts';
import { VirtualMachine } from '../../../src/virtual/machine.ts';
import { write } from '../../../src/virtual/code.ts';

const { MODE64BIT, DEBUG } = Attributes.mask;

function debugged(epcPages = 1024): Opened {
  const machine = new VirtualMachine({ epcPages });
  const process = machine.process();
  return { machine, process, enclave: VirtualEnclave.ready(process, { attributes: MODE64BIT | DEBUG }) };
}

/** As pread on /proc/PID/mem: the bytes, or the error with the check that refused. */
function peek({ process }: Opened, address: number, lengthBytes: number): Uint8Array | string {
  const bytes = new Uint8Array(lengthBytes);
  const result = process.mm.accessMemory(address, bytes, 'read');
  return result.kind === 'ok' ? bytes : `${errnoName(result.errno)}: ${result.why.check}`;
}

function poke({ process }: Opened, address: number, bytes: Uint8Array): string {
  const result = process.mm.accessMemory(address, bytes, 'write');
  return result.kind === 'ok' ? 'ok' : `${errnoName(result.errno)}: ${result.why.check}`;
}

describe('what a debugger sees of an enclave (vm_ops->access)', () => {
  it('reads any bytes of a debug enclave, over units and pages', () => {
    const all = debugged();
    expect(peek(all, At.DATA + 3, 7)).toEqual(new Uint8Array(7).fill(0x11));
    all.process.thread().run(At.TCS, () => write(At.DATA + PAGE, fromHex('2122232425')));
    expect(peek(all, At.DATA + PAGE - 5, 10)).toEqual(fromHex('11111111112122232425'));
    expect(peek(all, At.DATA, 0)).toEqual(new Uint8Array(0));
  });

  it('writes any bytes and leaves those beside them, also where enclave and mapping cannot write', () => {
    const all = debugged();
    expect(poke(all, At.CODE + 5, fromHex('0102030405060708090a'))).toBe('ok');
    expect(peek(all, At.CODE, 24)).toEqual(fromHex('cccccccccc0102030405060708090acccccccccccccccccc'));
  });

  it('reads the fields of a TCS and writes its FLAGS, as gdb does to set DBGOPTIN', () => {
    const all = debugged();
    expect(poke(all, At.TCS + Tcs.offsetOf('flags'), Uint8Array.of(1))).toBe('ok');
    const fields = peek(all, At.TCS, 72) as Uint8Array;
    expect(Tcs.decode(Buffer.concat([fields, Buffer.alloc(4096 - 72)]))).toMatchObject({ flags: 1n, nssa: 2 });
  });

  it('EIO: RCX is within the fields of the TCS', () => {
    expect(peek(debugged(), At.TCS + 72, 8)).toBe('EIO: RCX is within the fields of the TCS');
    expect(peek(debugged(), At.TCS + 64, 16)).toBe('EIO: RCX is within the fields of the TCS');
  });
  it('EIO: RCX is the FLAGS of the TCS', () => {
    expect(poke(debugged(), At.TCS + Tcs.offsetOf('cssa'), Uint8Array.of(1))).toBe('EIO: RCX is the FLAGS of the TCS');
  });
  it('EIO: the enclave was created with ATTRIBUTES.DEBUG', () => {
    const refusal = 'EIO: the enclave was created with ATTRIBUTES.DEBUG';
    expect(peek(ready(), At.DATA, 8)).toBe(refusal);
    expect(poke(ready(), At.DATA, new Uint8Array(8))).toBe(refusal);
    expect(peek(ready(), At.HOLE, 8)).toBe(refusal);
    // Mapped before anything is known of it.
    const all = created();
    all.process.mmap(At.DATA, PAGE, 3, FIXED, all.enclave.fd);
    expect(peek(all, At.DATA, 8)).toBe(refusal);
  });
  it('EIO: an enclave is mapped there', () => {
    expect(peek(debugged(), 0x1000, 8)).toBe('EIO: an enclave is mapped there');
  });
  it('EIO: the page was added; a read adds none', () => {
    const all = debugged();
    const before = all.machine.usedPages;
    expect(peek(all, At.HOLE, 8)).toBe('EIO: the page was added');
    expect(all.machine.usedPages).toBe(before);
  });
  it('EIO: the mapping has no more rights than the page was added with', () => {
    const machine = new VirtualMachine();
    const process = machine.process();
    const enclave = new VirtualEnclave(process);
    enclave.create({ attributes: MODE64BIT | DEBUG });
    process.mmap(At.CODE, PAGE, 7, FIXED, enclave.fd);
    enclave.addUsualPages();
    expect(peek({ machine, process, enclave }, At.CODE, 8)).toBe(
      'EIO: the mapping has no more rights than the page was added with',
    );
  });
  it('measures every byte by the mapping of the first: code and data beside it cannot be read at once', () => {
    const all = debugged();
    expect(peek(all, At.CODE + PAGE - 8, 8)).toEqual(new Uint8Array(8).fill(0xcc));
    expect(peek(all, At.CODE + PAGE - 8, 16)).toBe('EIO: the mapping has no more rights than the page was added with');
  });
  it('reports nothing of what came before the byte that failed', () => {
    const all = debugged();
    expect(peek(all, At.DATA + 2 * PAGE - 8, 16)).toBe('EIO: the page was added');
  });

  it('brings pages that were evicted', () => {
    const all = debugged(200);
    const other = VirtualEnclave.ready(all.machine.process());
    for (let i = 0; i < 400; i++) other.process.touch(At.HOLE + i * PAGE, 'read', true);
    expect(all.enclave.entry(At.DATA)).toBeUndefined();
    expect(peek(all, At.DATA, 8)).toEqual(new Uint8Array(8).fill(0x11));
    expect(all.enclave.entry(At.DATA)).toBeDefined();
  });

  it('gives zeros for a page that is not accepted, and loses what is written to it', () => {
    const all = debugged();
    all.process.touch(At.HOLE, 'read', true);
    expect(peek(all, At.HOLE, 8)).toEqual(new Uint8Array(8));
    expect(poke(all, At.HOLE, new Uint8Array(8).fill(5))).toBe('ok');
    expect(peek(all, At.HOLE, 8)).toEqual(new Uint8Array(8));
  });
});
