import { describe, expect, it } from 'vitest';

import { Enclu, KeyName, KeyRequest } from '../../../src/abi/sgx-arch.ts';
import { PAGE, ready, type Opened } from '../devices/support.ts';
import { At } from '../../support/virtual-enclave.ts';
import { enclu, read, write } from '../../../src/virtual/code.ts';

const REQUEST = KeyRequest.encode({ keyName: KeyName.SEAL });

/** The enclave asks for its seal key. */
const sealing = ({ process }: Opened, keyAddress: number) =>
  process.thread().run(At.TCS, function* () {
    yield* write(At.DATA, REQUEST);
    const code = yield* enclu(Enclu.EGETKEY, At.DATA, keyAddress);
    return { code, key: yield* read(keyAddress, 16) };
  });

describe('ENCLU of a thread of a process', () => {
  it('EGETKEY and EREPORT write where the enclave sees it', () => {
    const all = ready();
    const left = sealing(all, At.DATA2);
    expect(left).toMatchObject({ kind: 'exit', value: { code: 0 } });
    expect((left as { value: { key: Uint8Array } }).value.key).not.toEqual(new Uint8Array(16).fill(0x11));
    const reported = all.process.thread().run(At.TCS, function* () {
      yield* write(At.DATA, new Uint8Array(512));
      yield* enclu(Enclu.EREPORT, At.DATA, At.DATA + 1024, At.DATA2);
      return yield* read(At.DATA2 + 320, 64);
    });
    expect(reported).toEqual({ kind: 'exit', value: new Uint8Array(64).fill(0x11) });
  });

  it('operands that were evicted are brought in between', () => {
    const all = ready({ epcPages: 200 });
    const left = all.process.thread().run(At.TCS, function* () {
      yield* write(At.DATA, REQUEST);
      for (let i = 0; i < 400; i++) {
        const code = yield* enclu(Enclu.EGETKEY, At.DATA, At.DATA2);
        if (code !== 0) return code;
        all.process.touch(At.HOLE + i * PAGE, 'read', true);
      }
      return all.machine.kernel.usage().backingPages;
    });
    expect(left).toMatchObject({ kind: 'exit' });
    expect((left as { value: number }).value).toBeGreaterThan(0);
  });

  it('a key cannot be written through a read-only mapping: #PF 0x7, without the SGX bit', () => {
    const all = ready();
    all.process.mprotect(At.DATA2, PAGE, 1);
    expect(sealing(all, At.DATA2)).toMatchObject({ kind: 'exception', vector: 14, errorCode: 7, address: At.DATA2 });
  });

  it('nor into a hole that is mapped read-only: #PF 0x6, and no page is added', () => {
    const all = ready();
    all.process.mprotect(At.HOLE, PAGE, 1);
    const before = all.machine.usedPages;
    expect(sealing(all, At.HOLE)).toMatchObject({ kind: 'exception', vector: 14, errorCode: 6, address: At.HOLE });
    expect(all.machine.usedPages).toBe(before);
  });

  it('EACCEPTCOPY has the page added, fills it, and the process may use it with its new rights', () => {
    const all = ready();
    const left = all.process.thread().run(At.TCS, function* () {
      yield* write(At.DATA, all.enclave.secInfoBytes(0x201));
      yield* write(At.DATA2, new Uint8Array(PAGE).fill(0x5a));
      const code = yield* enclu(Enclu.EACCEPTCOPY, At.DATA, At.HOLE, At.DATA2);
      return { code, bytes: yield* read(At.HOLE + 100, 4) };
    });
    expect(left).toEqual({ kind: 'exit', value: { code: 0, bytes: new Uint8Array(4).fill(0x5a) } });
    expect(all.process.nativeProt(At.HOLE)).toBe(1);
  });

  it('EDECCSSA works on the TCS of the thread', () => {
    const all = ready();
    const left = all.process.thread().run(At.TCS, function* () {
      return yield* enclu(Enclu.EDECCSSA);
    });
    expect(left).toMatchObject({ kind: 'exception', vector: 13 });
  });

  it('leaves outside the SDM are #GP', () => {
    const left = ready()
      .process.thread()
      .run(At.TCS, function* () {
        return yield* enclu(8);
      });
    expect(left).toMatchObject({ kind: 'exception', vector: 13 });
  });
});
