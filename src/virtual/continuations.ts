/**
 * Where enclave code goes on. On hardware an AEX puts that into the SSA frame, and whoever executes ERESUME on the TCS,
 * in whichever process, takes it from there. Code of virtual threads is no memory, so it waits here, by the same name:
 * enclave, TCS and frame.
 */
import type { EnclaveFile } from '../kernel/enclave.ts';
import type { RunningCode } from './code.ts';

export class Continuations {
  readonly #byEnclave = new WeakMap<EnclaveFile, Map<string, RunningCode>>();

  save(enclave: EnclaveFile, tcsAddress: number, frame: number, code: RunningCode | undefined): void {
    let frames = this.#byEnclave.get(enclave);
    if (frames === undefined) this.#byEnclave.set(enclave, (frames = new Map()));
    const key = keyOf(tcsAddress, frame);
    if (code === undefined) frames.delete(key);
    else frames.set(key, code);
  }

  /** undefined: what was interrupted there was no code of ours. */
  take(enclave: EnclaveFile, tcsAddress: number, frame: number): RunningCode | undefined {
    const frames = this.#byEnclave.get(enclave);
    const key = keyOf(tcsAddress, frame);
    const code = frames?.get(key);
    frames?.delete(key);
    return code;
  }
}

const keyOf = (tcsAddress: number, frame: number): string => `${tcsAddress}/${frame}`;
