/** What the command's thread and the machine's tell each other. */
import type { MachineDescription } from '../machine/description.ts';
import type { Identity } from '../machine/identity.ts';

/** What makes a machine a standing one: programs join it, and it ends when it is told to. */
export interface Standing {
  readonly name: string;
  /** ISO 8601. */
  readonly since: string;
  /** The socket to which commands connect: a descriptor of the machine's process. */
  readonly listener: number;
}

/** Given to the machine's thread when it starts. */
export interface MachineThreadData {
  /** Word 0: 1 once the main program has ended; a standing machine: once it shall end. */
  readonly control: SharedArrayBuffer;
}

/** The first message from the machine's thread: programs may start. */
export interface MachineReady {
  /** The end of the gate that programs inherit; a descriptor of this process. */
  readonly gate: number;
  /** An eventfd of this process; write eight bytes to make the machine look at `control`. */
  readonly wakeUp: number;
}

/** The one message to the machine's thread: what machine it shall be. */
export interface MachineOrder {
  readonly description: MachineDescription;
  readonly identity: Identity;
  /** Left out: the machine is that of one program, for as long as it runs. */
  readonly standing?: Standing;
  /** Who listens to the trace: modules that export `listen(trace, options)`. */
  readonly listeners: readonly { readonly module: string; readonly options: unknown }[];
}

export const MAIN_ENDED = 0;
