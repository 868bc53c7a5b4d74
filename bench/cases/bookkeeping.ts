// What the model remembers of each EPC page, beside the page's contents: a machine whose EPC is full of one enclave.

import { memoryUsage } from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { PageType, SecInfo, Secs } from '../../src/abi/sgx-arch.ts';
import { addPage, createEnclave } from '../../src/kernel/build.ts';
import { EnclaveFile } from '../../src/kernel/enclave.ts';
import { ok, type KernelResult } from '../../src/lib/outcome.ts';
import { linPage, PAGE_SIZE_BYTES } from '../../src/lib/units.ts';
import { Machine } from '../../src/machine/machine.ts';
import { processorProfiles } from '../../src/machine/profiles.ts';
import type { EpcContents } from '../../src/processor/ports.ts';
import { inProcess } from '../batch-program.ts';
import type { BenchCase } from '../case.ts';

const EPC_PAGES = 2 ** 18;
/** All but the SECS and a VA page for each 512 pages, and what ksgxd keeps free. */
const ENCLAVE_PAGES = EPC_PAGES - EPC_PAGES / 512 - 128;
const ELRANGE_BYTES = EPC_PAGES * PAGE_SIZE_BYTES;
const BASE = 0x7f00_0000_0000;

/** Contents are not bookkeeping: here there are none. */
const noContents: EpcContents = {
  lend: (pages) => new Uint8Array(pages * PAGE_SIZE_BYTES),
  fill() {},
  fillZero() {},
  read() {},
  write() {},
  take: () => new Uint8Array(PAGE_SIZE_BYTES),
  drop() {},
  dropAll() {},
};

function newMachine(): Machine {
  const secret = new Uint8Array(16);
  return new Machine({
    profile: processorProfiles['icelake']!,
    epc: [EPC_PAGES * PAGE_SIZE_BYTES],
    entropy: { fill() {} },
    fuses: { ownerEpoch: secret, sealFuses: secret, provisioningKey: secret, cpuSvn: secret },
    clock: () => 0,
    contents: noContents,
  });
}

function must(result: KernelResult): void {
  if (result.kind !== 'ok') throw new Error(`${result.why.check}: found ${result.why.found}`);
}

function fill(machine: Machine): void {
  const noSignal = (): boolean => false;
  const file = new EnclaveFile(machine.kernel);
  must(
    createEnclave(
      file,
      Secs.encode({ size: BigInt(ELRANGE_BYTES), baseAddr: BigInt(BASE), ssaFrameSize: 1, attributes: 4n, xfrm: 3n }),
      noSignal,
    ),
  );
  const secInfo = SecInfo.encode({ flags: BigInt((PageType.REG << 8) | 3) });
  const kind = { secInfo, type: PageType.REG, maxProt: 3, measured: 0 };
  const content = ok(new Uint8Array(PAGE_SIZE_BYTES));
  for (let page = 0; page < ENCLAVE_PAGES; page++) {
    must(addPage(file, linPage(file.basePage + page), kind, () => content, noSignal));
  }
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function usedBytes(): number {
  collectGarbage();
  const { heapUsed, external } = memoryUsage();
  return heapUsed + external;
}

/** None is let go of: V8 gives back the memory of typed arrays at some time of its own. */
const machines: Machine[] = [];

function bytesPerPage(): number {
  const before = usedBytes();
  const machine = newMachine();
  machines.push(machine);
  fill(machine);
  const used = usedBytes() - before;
  if (machine.kernel.usage().backingPages > 0) throw new Error('pages were evicted');
  return used / EPC_PAGES;
}

export const bookkeeping: BenchCase = {
  name: 'bookkeeping',
  summary: 'host memory for each page of a full EPC beyond its contents, against the 4,096 bytes of the contents',
  unit: 'bytes/page',
  rounds: 3,
  bar: { of: 'value', is: '<=', limit: 32 },
  convert: (bytes) => bytes,
  subject: () => inProcess(bytesPerPage),
  yardstick: () => inProcess(() => PAGE_SIZE_BYTES),
};
