/** A real process as the kernel model sees it. */
import { KICK_SIGNAL } from '../abi/stub.ts';
import { READ_IMPLIES_EXEC } from '../abi/linux.ts';
import type { ProcessPort } from '../kernel/ports.ts';
import type { UserAddr } from '../lib/units.ts';
import { signalThread } from './linux/processes.ts';
import { MemoryMap, readOrEmpty } from './memory-map.ts';
import type { Mailbox } from './session-area.ts';
import type { Session } from './session.ts';
import { ProcessMemory } from './user-memory.ts';

export class TargetPort implements ProcessPort {
  readonly pid: number;
  readonly memory: ProcessMemory;
  readonly map: MemoryMap;
  /** The thread for which the model is working right now. */
  caller: Mailbox | undefined;
  readonly #session: Session;
  readonly #beforeKick: () => void;

  /** @param beforeKick makes visible whatever the host has collected, since a kicked thread goes on at once */
  constructor(session: Session, beforeKick: () => void) {
    this.pid = session.pid;
    this.#session = session;
    this.#beforeKick = beforeKick;
    this.memory = new ProcessMemory(session.pid, () => session.enclaveRanges());
    this.map = new MemoryMap(session.pid);
  }

  get tid(): number {
    return this.caller?.tid ?? this.pid;
  }

  signalPending(): boolean {
    return this.caller?.interrupted ?? false;
  }

  mayExec(address: UserAddr): boolean | undefined {
    return this.map.mayExec(address);
  }

  readImpliesExec(): boolean {
    return (Number.parseInt(readOrEmpty(`/proc/${this.pid}/personality`), 16) & READ_IMPLIES_EXEC) !== 0;
  }

  exited(): void {
    this.map.dispose();
  }

  hasThreadInside(enclaveId: number): boolean {
    return this.#session.threadsInside(enclaveId).length > 0;
  }

  kick(enclaveId: number): void {
    this.#beforeKick();
    for (const box of this.#session.threadsInside(enclaveId)) {
      if (box.tid > 0) signalThread(this.pid, box.tid, KICK_SIGNAL);
    }
  }
}
