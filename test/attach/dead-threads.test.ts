import { describe, expect, it } from 'vitest';
import { Tcs, TcsState } from '../../src/abi/sgx-arch.ts';
import { leaveForDeadThreads } from '../../src/attach/dead-threads.ts';
import type { Session } from '../../src/attach/session.ts';
import { pageOf } from '../../src/lib/units.ts';
import { ready } from '../model/devices/support.ts';
import { At } from '../support/virtual-enclave.ts';

const DEAD = 77;

/** What is left of a TCS whose STATE says this, when a process ends of which thread DEAD was, or seemed to be, inside. */
function after(state: bigint): { state: bigint; cssa: number } {
  const { machine, enclave } = ready();
  const { kernel } = machine;
  const secs = enclave.file.secs!;
  const bytes = new Uint8Array(Tcs.sizeBytes);
  kernel.contents.read(secs, pageOf(At.TCS), 0, bytes);
  Tcs.view(bytes).state = state;
  kernel.contents.write(secs, pageOf(At.TCS), 0, bytes);
  const boxes = [{ insideSlot: 0, insideTcs: At.TCS, tid: DEAD }];
  const session = { area: { boxes: () => boxes }, enclaveInSlot: () => enclave.file };
  leaveForDeadThreads(kernel, session as unknown as Session);
  kernel.contents.read(secs, pageOf(At.TCS), 0, bytes);
  const { state: left, cssa } = Tcs.decode(bytes);
  return { state: left, cssa };
}

describe('a thread that died inside', () => {
  it('leaves its TCS as by an AEX', () => {
    expect(after(TcsState.ACTIVE | (BigInt(DEAD) << 32n))).toEqual({ state: TcsState.INACTIVE, cssa: 1 });
  });

  it('had only tried a TCS that another thread is in: that one stays in it', () => {
    const state = TcsState.ACTIVE | (78n << 32n);
    expect(after(state)).toEqual({ state, cssa: 0 });
  });

  it('had not taken the TCS yet', () => {
    expect(after(TcsState.INACTIVE)).toEqual({ state: TcsState.INACTIVE, cssa: 0 });
  });
});
