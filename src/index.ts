/** The library: machines with virtual processes. docs/library.md. */
export { VirtualMachine as Machine, type VirtualMachineOptions as MachineOptions } from './virtual/machine.ts';
export type { VirtualProcess as Process } from './virtual/process.ts';
export type { VirtualThreadRunner as Thread, Left } from './virtual/thread.ts';
export * from './virtual/code.ts';
