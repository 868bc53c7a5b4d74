/**
 * What can be mapped, and what a mapping may be allowed.
 * Source: sgx_encl_may_map in arch/x86/kernel/cpu/sgx/encl.c
 */
import { MapFlags, MapType, Prot } from '../abi/linux.ts';
import { Errno } from '../lib/errno.ts';
import { fail, why, type Failure } from '../lib/outcome.ts';
import { addressOf, linPage, type LinPage } from '../lib/units.ts';
import { EnclaveFile } from './enclave.ts';
import { EnclaveSpace } from './enclave-space.ts';
import type { FileAccess } from './file-access.ts';
import type { Kernel } from './kernel.ts';
import type { Mm } from './mm.ts';
import type { ProcessPort } from './ports.ts';

/** A device's open file. */
export interface MappedFile {
  readonly node: string;
  readonly access: FileAccess;
}

/** An open file that can be mapped: an enclave, or a device that enclaves lie behind. */
export interface Mappable extends MappedFile {
  readonly id: number;
  readonly kernel: Kernel;
  readonly mms: Set<Mm>;
  enclaveAt(page: LinPage): EnclaveFile | undefined;
  enclavesIn(startPage: number, endPage: number): readonly EnclaveFile[];
}

/** EINVAL. */
export function checkShared(flags: number): Failure | undefined {
  const type = MapFlags.extract(flags, 'MAP_TYPE');
  if (type === MapType.MAP_SHARED || type === MapType.MAP_SHARED_VALIDATE) return undefined;
  return fail(Errno.EINVAL, why('the mapping is MAP_SHARED', 'MAP_SHARED', MapFlags.format(flags)));
}

export function isMappable(file: MappedFile): file is Mappable {
  return file instanceof EnclaveSpace || (file instanceof EnclaveFile && file.space === undefined);
}

function checkRange(file: Mappable, startPage: number, endPage: number): Failure | undefined {
  if (!(file instanceof EnclaveFile) || !file.initialized) return undefined;
  const start = addressOf(linPage(startPage));
  const end = addressOf(linPage(endPage));
  if (start >= file.base && end <= file.base + file.sizeBytes) return undefined;
  return fail(
    Errno.EACCES,
    why(
      'a mapping of an initialized enclave lies in ELRANGE',
      `${hex(file.base)}-${hex(file.base + file.sizeBytes)}`,
      `${hex(start)}-${hex(end)}`,
    ),
  );
}

/** Pages that are there allow all of `access`; pages that are not impose nothing. */
function checkLimit(file: EnclaveFile, startPage: number, endPage: number, access: number): Failure | undefined {
  let refused: Failure | undefined;
  if (file.kernel.rules.limit === 'nothing') return undefined;
  file.pages.visit(startPage, endPage, (page, flags) => {
    const limit = file.limitOf(page, flags);
    if ((access & ~limit) === 0) return true;
    refused = fail(
      Errno.EACCES,
      why(
        'the protection is within what each page was added with',
        `at most ${Prot.format(limit)} at ${hex(addressOf(page))}`,
        Prot.format(access),
        'map pages with the rights of their SECINFO',
      ),
    );
    return false;
  });
  return refused;
}

/**
 * What mmap and mprotect ask, as far as this driver asks anything.
 * EACCES: an initialized enclave and not in ELRANGE; READ_IMPLIES_EXEC; more than a page there may have.
 */
export function checkMayMap(
  port: ProcessPort,
  file: Mappable,
  startPage: number,
  endPage: number,
  access: number,
): Failure | undefined {
  const guarded = file.kernel.rules.guardsRange
    ? (checkRange(file, startPage, endPage) ?? checkPersonality(port))
    : undefined;
  if (guarded) return guarded;
  for (const enclave of file.enclavesIn(startPage, endPage)) {
    const refused = checkLimit(enclave, startPage, endPage, access);
    if (refused) return refused;
  }
  return undefined;
}

function checkPersonality(port: ProcessPort): Failure | undefined {
  if (!port.readImpliesExec()) return undefined;
  return fail(Errno.EACCES, why('the personality has no READ_IMPLIES_EXEC', 'not set', 'set'));
}

const hex = (address: number): string => `0x${address.toString(16)}`;
