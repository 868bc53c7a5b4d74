/** Moves that change pages after INIT: the SGX2 ioctls, alone and with what the enclave does before and after. */
import { PageType } from '../../src/abi/sgx-arch.ts';
import { EnclaveModifyTypes, EnclaveRemovePages, EnclaveRestrictPermissions } from '../../src/abi/sgx-uapi.ts';
import type { EnclaveFile } from '../../src/kernel/enclave.ts';
import { At, Do, hex, PAGE, PT_REG, PT_TCS, R, RW, RWX, RX } from '../cases/language.ts';
import { accept, enterTo, threadOf } from './accesses.ts';
import { Place, tcsBytes } from './build.ts';
import type { Choices } from './choices.ts';
import type { World } from './world.ts';

const PENDING = 8;
const MODIFIED = 0x10;
const RESTRICTED = 0x20;
const { TRIM, TCS, REG } = PageType;

interface Range {
  readonly fd: number;
  readonly file: EnclaveFile;
  readonly start: number;
  readonly pages: number;
}

/** Pages of an enclave that has a descriptor, mostly such that are there. */
function range(world: World, choices: Choices): Range | undefined {
  const fd = choices.pick(world.enclaveFds().filter((one) => world.process.enclave(one).created));
  if (fd === undefined) return undefined;
  const file = world.process.enclave(fd);
  const spare = world.pages(file).filter((page) => page >= file.base + At.READ_ONLY && !world.isSaveArea(file, page));
  const odd = [At.DATA, At.TCS, At.CODE, At.SSA, Place.HOLE + PAGE, 0x1_f000].map((offset) => file.base + offset);
  const start = spare.length === 0 || choices.rarely(4) ? choices.pick(odd)! : choices.pick(spare)!;
  const pages = choices.pick([1, 1, 2, 3, 8]);
  if (world.isInUse(file, start, pages)) return undefined;
  return { fd, file, start, pages };
}

/** Offset and length, which the driver may dislike, too. */
function struct({ file, start, pages }: Range, choices: Choices): { offset: bigint; length: bigint; count: bigint } {
  const offset = BigInt(start - file.base);
  return {
    offset: choices.usually(offset, [offset + 8n, BigInt(file.sizeBytes), 0xffff_ffff_ffff_f000n], 16),
    length: BigInt(choices.usually(pages * PAGE, [0, 0x800], 16)),
    count: BigInt(choices.usually(0, [1], 20)),
  };
}

function restrict(world: World, choices: Choices): void {
  const at = range(world, choices);
  if (at === undefined) return;
  const permissions = choices.usually(choices.pick([R, RW, RX, 0, RWX]), [2, 8, 0x100], 10);
  const gives = world.ioctl(at.fd, 'SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS', EnclaveRestrictPermissions, {
    ...struct(at, choices),
    permissions: BigInt(permissions),
    result: BigInt(choices.usually(0, [1], 20)),
  });
  if (gives === '0' && !choices.rarely(3)) {
    accept(
      world,
      choices,
      at.file,
      at.start,
      choices.usually(PT_REG | RESTRICTED | permissions, [PT_REG | RESTRICTED | R]),
    );
  }
}

function modifyTypes(world: World, choices: Choices, type?: PageType): Range | undefined {
  const at = range(world, choices);
  if (at === undefined) return undefined;
  const pageType = type ?? choices.usually(TRIM, [TCS, REG, 3, 0x100]);
  const gives = world.ioctl(at.fd, 'SGX_IOC_ENCLAVE_MODIFY_TYPES', EnclaveModifyTypes, {
    ...struct(at, choices),
    pageType: BigInt(pageType),
  });
  return gives === '0' ? at : undefined;
}

function remove(world: World, at: Range, choices: Choices): void {
  world.ioctl(at.fd, 'SGX_IOC_ENCLAVE_REMOVE_PAGES', EnclaveRemovePages, struct(at, choices));
}

function removeOdd(world: World, choices: Choices): void {
  const at = range(world, choices);
  if (at !== undefined) remove(world, at, choices);
}

/** TRIM, EACCEPT, REMOVE; some of it may be left out. */
function trim(world: World, choices: Choices): void {
  const at = modifyTypes(world, choices, TRIM);
  if (at === undefined) return;
  for (let page = 0; page < at.pages && !choices.rarely(6); page++) {
    accept(world, choices, at.file, at.start + page * PAGE, (TRIM << 8) | MODIFIED);
  }
  if (!choices.rarely(6)) remove(world, at, choices);
}

/** A page that grows where nothing is: by a touch from outside, by EACCEPT itself or by EACCEPTCOPY. */
function grow(world: World, choices: Choices): void {
  const tcs = threadOf(world, choices);
  if (tcs === undefined) return;
  const page =
    tcs.file.base + choices.pick([Place.HOLE, Place.HOLE + PAGE, Place.HOLE + 2 * PAGE, 0x1_5000, Place.LAST]);
  const how = choices.below(4);
  if (how === 3) {
    const source = tcs.file.base + choices.pick([At.DATA, At.CODE, At.READ_ONLY]);
    accept(world, choices, tcs.file, page, PT_REG | choices.pick([RW, RX, RWX]), { copyOf: source });
    return;
  }
  if (how > 0) world.mayFault(`touch ${hex(page + 0x800)} ${choices.pick(['r', 'w'])}`);
  accept(world, choices, tcs.file, page, PT_REG | RW | PENDING);
}

/** A page of the enclave becomes a TCS with a save area that is there, and is entered. */
function thread(world: World, choices: Choices): void {
  const tcs = threadOf(world, choices);
  const fd = choices.pick(world.enclaveFds().filter((one) => world.process.enclave(one) === tcs?.file));
  if (tcs === undefined || fd === undefined) return;
  const { file } = tcs;
  // Two of them would share a save area.
  if (world.pages(file, TCS).length > 2) return;
  const page = file.base + choices.pick([Place.HOLE, At.DATA + PAGE, Place.HOLE + 3 * PAGE]);
  if (page >= file.base + Place.HOLE) accept(world, choices, file, page, PT_REG | RW | PENDING);
  const fields = new BigUint64Array(tcsBytes(Place.SSA3).slice(0, 72).buffer);
  for (const [index, value] of fields.entries()) {
    if (value !== 0n && !choices.rarely(40)) enterTo(world, choices, tcs, Do.WRITE, page + index * 8, value);
  }
  const gives = world.ioctl(fd, 'SGX_IOC_ENCLAVE_MODIFY_TYPES', EnclaveModifyTypes, {
    offset: BigInt(page - file.base),
    length: BigInt(PAGE),
    pageType: BigInt(TCS),
  });
  if (gives !== '0') return;
  if (!choices.rarely(5)) accept(world, choices, file, page, PT_TCS | MODIFIED);
  enterTo(world, choices, { address: page }, Do.READ, file.base + At.DATA + 0x800, 0n);
}

export const changeMoves = {
  restrict: { weight: 5, move: restrict },
  modifyTypes: { weight: 4, move: (world: World, choices: Choices) => void modifyTypes(world, choices) },
  removeOdd: { weight: 3, move: removeOdd },
  trim: { weight: 4, move: trim },
  grow: { weight: 6, move: grow },
  thread: { weight: 3, move: thread },
};
