/** What holds on a machine at any moment, whatever its processes have done. */
import { expect } from 'vitest';
import { PageType, Tcs, TcsState } from '../../src/abi/sgx-arch.ts';
import { EnclaveFile } from '../../src/kernel/enclave.ts';
import { isEvicted, maxProtOf, typeOf } from '../../src/kernel/page-table.ts';
import { readU64 } from '../../src/lib/bytes.ts';
import { addressOf, epcIndex, type EpcIndex, type LinPage } from '../../src/lib/units.ts';
import type { VirtualMachine } from '../../src/virtual/machine.ts';
import type { VirtualProcess } from '../../src/virtual/process.ts';

const STATE_OFFSET = Tcs.offsetOf('state');
const needed = { read: 1, write: 2, exec: 4 } as const;

/** A page has one owner, EPC in use is what is referenced, and enclaves are alive exactly as long as they have to be. */
export function checkMachine(machine: VirtualMachine): void {
  const { kernel } = machine;
  const { epcm } = kernel.processor;
  const owners = new Map<number, string>();
  const own = (page: EpcIndex, owner: string) => {
    if (owners.has(page)) throw new Error(`EPC page ${page} belongs to ${owners.get(page)} and to ${owner}`);
    if (!epcm.valid(page)) throw new Error(`EPC page ${page} belongs to ${owner} and is not valid`);
    owners.set(page, owner);
  };
  let backed = 0;
  for (const file of kernel.enclaves()) {
    if (file.secs !== undefined) own(file.secs, `SECS of ${file.id}`);
    if (file.evictedSecs !== undefined) backed++;
    for (const page of file.versionArrays.pages) own(page, `VA of ${file.id}`);
    file.pages.visit(0, Infinity, (page, flags, location) => {
      if (isEvicted(flags)) return void backed++;
      own(epcIndex(location), `page ${page} of ${file.id}`);
      checkPage(machine, file, page, flags, epcIndex(location));
    });
  }
  const { pages, freePages, backingPages } = machine.usage();
  expect([pages - freePages, backingPages]).toEqual([owners.size, backed]);
  for (let page = 0; page < pages; page++) {
    if (epcm.valid(epcIndex(page)) && !owners.has(page)) throw new Error(`EPC page ${page} is valid and nobody's`);
  }
  expect(new Set(kernel.enclaves())).toEqual(referenced(machine));
}

function checkPage(machine: VirtualMachine, file: EnclaveFile, page: LinPage, flags: number, epcPage: EpcIndex): void {
  const { epcm } = machine.kernel.processor;
  const entry = [epcm.page(epcPage), epcm.secsOf(epcPage), epcm.type(epcPage)];
  const wanted = [page, file.secs, typeOf(flags)];
  if (entry.some((value, i) => value !== wanted[i])) {
    throw new Error(`EPC page ${epcPage} is ${entry.join()} to the EPCM and ${wanted.join()} to enclave ${file.id}`);
  }
  if (!file.isInElrange(addressOf(page))) throw new Error(`page ${page} is outside the ELRANGE of enclave ${file.id}`);
}

/** Enclaves that a descriptor, a mapping or (where mappings are of no enclave) a thread inside refers to. */
function referenced(machine: VirtualMachine): ReadonlySet<EnclaveFile> {
  const found = new Set<EnclaveFile>();
  for (const process of machine.processes) {
    for (const fd of process.descriptors()) {
      const file = process.file(fd);
      if (file instanceof EnclaveFile) found.add(file);
    }
    for (const { fileId } of process.mm.vmas()) {
      // Of what is no enclave there are mappings, too.
      const file = machine.kernel.enclave(fileId);
      if (file !== undefined) found.add(file);
    }
    for (const { enclaveId } of process.threads) {
      const file = enclaveId === undefined ? undefined : machine.kernel.enclave(enclaveId);
      if (file?.space !== undefined) found.add(file);
    }
  }
  return found;
}

/** A TCS is busy exactly as long as one thread is inside through it. */
export function checkThreads(machine: VirtualMachine): void {
  const { kernel } = machine;
  const inside = new Set<string>();
  for (const process of machine.processes) {
    for (const { thread } of process.threads) {
      if (thread.inside === undefined) continue;
      const name = `${thread.inside.secs}:${thread.inside.tcsAddress}`;
      if (inside.has(name)) throw new Error(`two threads are inside through ${name}`);
      inside.add(name);
    }
  }
  const bytes = new Uint8Array(8);
  for (const file of kernel.enclaves()) {
    if (file.secs === undefined) continue;
    file.visitFilled(0, Infinity, (page, _flags, epcPage) => {
      if (kernel.processor.epcm.type(epcPage) !== PageType.TCS) return;
      kernel.contents.read(file.secs!, page, STATE_OFFSET, bytes);
      const busy = readU64(bytes, 0) === TcsState.ACTIVE;
      const name = `${file.secs}:${addressOf(page)}`;
      if (busy !== inside.has(name)) throw new Error(`TCS ${name} is ${busy ? '' : 'not '}busy, against the threads`);
    });
  }
}

/** No process can do by itself what its mapping, the driver's limit and the EPCM do not all allow. */
export function checkRights(machine: VirtualMachine, process: VirtualProcess, pages: Iterable<LinPage>): void {
  const { epcm } = machine.kernel.processor;
  const rule = machine.kernel.rules.limit;
  // What an entry would do first: a process with nobody inside may be behind.
  process.applyUpdates();
  for (const page of pages) {
    const address = addressOf(page);
    for (const access of ['read', 'write', 'exec'] as const) {
      if (!process.canReach(address, access)) continue;
      const file = process.mm.enclaveAt(page)!;
      const vma = process.mm.vmaAt(page)!;
      const entry = file.pages.get(page)!;
      const epcPage = epcIndex(entry.location);
      const bit = needed[access];
      const rights = epcm.permissions(epcPage) & vma.prot & bit;
      const isAllowed = !isEvicted(entry.flags) && epcm.type(epcPage) === PageType.REG && rights !== 0;
      const limit = maxProtOf(entry.flags);
      const isWithinLimit =
        rule === 'nothing' ||
        (rule === 'vetted' && (vma.prot & ~limit) === 0) ||
        (rule === 'running' && (limit & bit) !== 0);
      const allowed = isAllowed && isWithinLimit;
      if (!allowed) throw new Error(`process ${process.pid} can ${access} 0x${address.toString(16)}`);
    }
  }
}
