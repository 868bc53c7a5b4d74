/** Puts the machine together with its attachment, and runs it. */
import { writeSync } from 'node:fs';
import { randomFillSync } from 'node:crypto';
import { CPUID_SGX_SUBLEAVES, SessionFlags } from '../abi/stub.ts';
import type { GenerationNode } from '../abi/sgx-uapi/generation.ts';
import { deviceNodes } from '../abi/traps.ts';
import type { OpenFile } from '../devices/device-table.ts';
import { InvariantError } from '../lib/outcome.ts';
import { Machine } from '../machine/machine.ts';
import { processorOf } from '../machine/description.ts';
import { fusesOf } from '../machine/identity.ts';
import { limitToHost } from '../machine/profiles.ts';
import { Trace, type TraceEvent } from '../trace/events.ts';
import { MemfdContents } from './contents.ts';
import { DeviceFiles } from './device-files.ts';
import { Host } from './host.ts';
import type { Helper } from './helper.ts';
import { hostXcr0 } from './host-processor.ts';
import { close, createMemfd, identify, read } from './linux/files.ts';
import { hasProtectionKeys } from './linux/memory.ts';
import { MAIN_ENDED, type MachineOrder } from './protocol.ts';
import type { SessionFacts } from './session-area.ts';
import type { Desk, DeskOptions } from './standing/desk.ts';
import { Watcher } from './watcher.ts';

export interface Service {
  readonly order: MachineOrder;
  /** Our end of the gate of the one program that the machine is for; unused by a standing machine. */
  readonly gate: number;
  /** Eventfd that is rung when `control` changed. */
  readonly wakeUp: number;
  readonly control: Int32Array;
  readonly helper: Helper;
}

export async function serve({ order, gate, wakeUp, control, helper }: Service): Promise<void> {
  const trace = new Trace();
  for (const { module, options } of order.listeners) {
    const { listen } = (await import(module)) as { listen: (trace: Trace, options: unknown) => void };
    listen(trace, options);
  }
  if (trace.on && !hasProtectionKeys()) trace.emit(OPEN_MEMORY);
  const files = new DeviceFiles<OpenFile>();
  const contents = new MemfdContents((secs) => {
    const fd = files.fdOf(machine.kernel.enclaveOfSecs(secs)!.memory);
    if (fd === undefined) throw new InvariantError(`the enclave of SECS ${secs} is closed`);
    return fd;
  }, helper.writer);
  const machine: Machine = new Machine({
    profile: limitToHost(processorOf(order.description), hostXcr0()),
    epc: order.description.epc,
    inject: order.description.inject,
    entropy: { fill: (bytes) => void randomFillSync(bytes) },
    fuses: fusesOf(order.identity),
    clock: () => performance.now(),
    contents,
    trace,
    sha256: helper.createSha256,
    sgxUapi: order.description.sgxUapi,
    tell: (sentence, pid) => (host.sessionOf(pid)?.gate.complain ?? complain)(sentence),
  });
  const watcher = new Watcher();
  watcher.add(wakeUp, () => read(wakeUp, new Uint8Array(8)));
  const mainEnded = (): boolean => Atomics.load(control, MAIN_ENDED) !== 0;
  const desk =
    order.standing && (await makeDesk({ standing: order.standing, watcher, complain, toldToEnd: mainEnded }));
  const term = desk ?? {
    // Then the machine stays only for those who still have a device.
    isOver: (of: Host) => mainEnded() && of.files.count === 0,
    askAgainAtMs: () => Number.POSITIVE_INFINITY,
  };
  const host: Host = new Host({
    machine,
    files,
    contents,
    trace,
    facts: factsOf(machine, trace),
    watcher,
    term,
    complain,
  });
  if (desk === undefined) host.connections.open({ fd: gate, complain });
  else desk.open(host);
  try {
    host.run();
    for (const sentence of machine.unusedInjections()) complain(sentence);
  } finally {
    trace.flush();
  }
}

const complain = (sentence: string): void => void writeSync(2, `vitrine: ${sentence}\n`);

/** Loaded when there is one: every run would pay for it. */
async function makeDesk(options: DeskOptions): Promise<Desk> {
  const { Desk } = await import('./standing/desk.ts');
  return new Desk(options);
}

/** The first line of a trace on such a host. */
const OPEN_MEMORY: TraceEvent = {
  kind: 'note',
  pid: process.pid,
  name: 'host',
  args: { protectionKeys: 'none' },
  text: 'no protection keys here: enclave memory is open to the rest of its process, where it should read as ones',
};

/** What is left of CPUID is the host's own: the stub adds our bits to it. */
const NOTHING = { eax: 0, ebx: 0, ecx: 0, edx: 0 };

function factsOf(machine: Machine, trace: Trace): SessionFacts {
  const features = machine.cpuid(7, 0, NOTHING);
  return {
    hostPid: process.pid,
    flags: (trace.on ? SessionFlags.TRACE : 0) | (machine.kernel.rules.disjointMappings ? SessionFlags.CLOSES : 0),
    memfdDevice: memfdDevice(),
    ...nodeBits(machine.devices.nodes),
    cpuid7Ebx: features.ebx,
    cpuid7Ecx: features.ecx,
    cpuidSgx: Array.from({ length: CPUID_SGX_SUBLEAVES }, (_, subleaf) => machine.cpuid(0x12, subleaf, NOTHING)),
  };
}

/** What the stub has to know of the nodes: which there are, and how they are mapped. */
function nodeBits(nodes: readonly GenerationNode[]): Pick<SessionFacts, 'nodes' | 'sharedNodes' | 'alignedNodes'> {
  const bits = (which: (node: GenerationNode) => boolean): number =>
    nodes
      .filter(which)
      .map((node) => deviceNodes.findIndex(({ path }) => path === node.path))
      .reduce((all, index) => all | (1 << index), 0);
  return {
    nodes: bits(() => true),
    sharedNodes: bits(({ mapping }) => mapping !== 'none'),
    alignedNodes: bits(({ mapping }) => mapping === 'aligned'),
  };
}

/** All memfds are files of one kernel-internal file system. */
function memfdDevice(): number {
  const fd = createMemfd('vitrine-probe', 0, 0);
  const { device } = identify(fd);
  close(fd);
  return device;
}
