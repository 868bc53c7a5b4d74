/** What the command line's thread and the machine's worker tell each other. */

/** Given to the worker when it starts. */
export interface MachineOrder {
  /** Name of the abstract socket that stubs connect to. */
  readonly socketName: string;
  /** One of `processorProfiles`. */
  readonly profileName: string;
  readonly epcBytes: number;
  /** Who listens to the trace: a module that exports `listen(trace, options)`. */
  readonly listener?: { readonly module: string; readonly options: unknown };
  /** Word 0: 1 once the main program has ended. */
  readonly control: SharedArrayBuffer;
}

/** The worker listens: programs may start. */
export interface MachineReady {
  /** An eventfd of this process; write eight bytes to make the worker look at `control`. */
  readonly wakeUp: number;
}

export const MAIN_ENDED = 0;
