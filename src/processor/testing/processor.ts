/** A processor for tests: seeded, with contents in memory, and threads that one sets by hand. */
import type { EpcIndex } from '../../lib/units.ts';
import type { Fuses, ThreadTracker } from '../ports.ts';
import { Processor, type ProcessorOptions } from '../processor.ts';
import { processorProfiles } from '../profiles.ts';
import { MapContents } from '../map-contents.ts';
import { seededEntropy } from '../seeded-entropy.ts';

export const testFuses: Fuses = {
  ownerEpoch: new Uint8Array(16).fill(0x01),
  sealFuses: new Uint8Array(16).fill(0x02),
  provisioningKey: new Uint8Array(16).fill(0x03),
  cpuSvn: new Uint8Array(16).fill(0x04),
};

/** Threads inside enclaves by the epoch in which they entered. */
export class FakeThreads implements ThreadTracker {
  readonly entered: { readonly secs: EpcIndex; readonly epoch: number }[] = [];

  enteredBefore(secs: EpcIndex, epoch: number): number {
    return this.entered.filter((thread) => thread.secs === secs && thread.epoch < epoch).length;
  }

  inside(secs: EpcIndex): number {
    return this.entered.filter((thread) => thread.secs === secs).length;
  }
}

export type TestProcessorOptions = Partial<ProcessorOptions> & { readonly profileName?: string };

export interface TestProcessor {
  readonly cpu: Processor;
  readonly contents: MapContents;
  readonly threads: FakeThreads;
}

export function testProcessor({
  profileName = 'sapphire-rapids',
  ...options
}: TestProcessorOptions = {}): TestProcessor {
  const contents = new MapContents();
  const threads = new FakeThreads();
  const cpu = new Processor({
    profile: processorProfiles[profileName]!,
    epcPages: 64,
    contents,
    entropy: seededEntropy(),
    fuses: testFuses,
    threads,
    ...options,
  });
  return { cpu, contents, threads };
}
