/** From the command line to what the machine's thread is told: which machine, whose identity, who listens. */
import path from 'node:path';
import { loadIdentity } from '../attach/identity-store.ts';
import type { MachineOrder } from '../attach/protocol.ts';
import { describeMachine, FileError, type MachineFlags } from './machine-options.ts';
import { startTraceFile, TRACE_FORMAT } from './trace-file.ts';

export interface WantedMachine {
  readonly machine: MachineFlags;
  /** Where the trace goes: to standard error for '', else to a file. */
  readonly traces: readonly string[];
  readonly version: string;
  /** The program and its arguments; none for a standing machine. */
  readonly command: readonly string[];
}

/**
 * Trace files are begun, so that what is wrong with them is known before anything starts. Throws what `exitCodeOf`
 * knows.
 * @param say told when the identity will not be kept
 */
export async function orderMachine(wanted: WantedMachine, say: (sentence: string) => void): Promise<MachineOrder> {
  const { traces, version, command } = wanted;
  const { description, state } = await describeMachine(wanted.machine);
  const { identity, temporaryBecause } = await loadIdentity(state);
  if (temporaryBecause !== undefined)
    say(`${temporaryBecause}: sealed data will not outlive this run; --state DIR names a place for the identity`);
  for (const file of traces.filter((name) => name !== '')) {
    const startedAt = new Date().toISOString();
    try {
      startTraceFile(file, { vitrine: version, format: TRACE_FORMAT, startedAt, machine: description, command });
    } catch (error) {
      throw new FileError(`cannot write the trace: ${(error as Error).message}`, { cause: error });
    }
  }
  return { description, identity, listeners: traces.map(listenerFor) };
}

function listenerFor(file: string): MachineOrder['listeners'][number] {
  const here = (name: string): string => new URL(`${name}${import.meta.url.slice(-3)}`, import.meta.url).href;
  if (file === '') return { module: here('trace-printer'), options: { colour: usesColour() } };
  return { module: here('trace-file'), options: { path: path.resolve(file) } };
}

/** Standard error, where the trace goes, is a terminal and nobody objects to colours. */
function usesColour(): boolean {
  return process.stderr.isTTY === true && process.env['NO_COLOR'] === undefined;
}
