/**
 * The checks of EENTER and ERESUME, in the SDM's order; one place for virtual threads, whose TCS.STATE and CSSA are
 * ours, and for real ones, whose stub owns them.
 * Spec: SDM "EENTER - Enters an Enclave" and "ERESUME - Re-Enters an Enclave".
 */
import { Attributes, Enclu, Gprsgx, PageType, Tcs, TcsFlags, TcsState, Xfrm } from '../../abi/sgx-arch.ts';
import { generalProtection, ok, why, type Fault, type LeafResult } from '../../lib/outcome.ts';
import { PAGE_SIZE_BYTES, pageOf, type EpcIndex } from '../../lib/units.ts';
import { isCanonical } from '../canonical.ts';
import { checkInitialised, ENCLU_WRITE_ERROR_CODE, hex } from '../checks.ts';
import { RWX } from '../epcm.ts';
import type { Processor } from '../processor.ts';
import type { ViewOf } from '../../lib/layout.ts';
import type { SecsPage } from '../secs.ts';
import { checkAligned, checkOrdinaryPage, checkWritable, operandFault, resolve, type EnclaveAccess } from './access.ts';

/** What entering needs of a TCS and its SECS. Offsets are from `base`; all in bytes unless named otherwise. */
export interface TcsParameters {
  readonly base: number;
  readonly sizeBytes: number;
  readonly oentry: number;
  readonly ossa: number;
  readonly nssa: number;
  readonly ssaFrameSizeBytes: number;
  readonly ofsBase: number;
  readonly ogsBase: number;
  readonly fsLimit: number;
  readonly gsLimit: number;
  /** TCS.FLAGS. */
  readonly flags: bigint;
  readonly xfrm: bigint;
  readonly miscSelect: number;
  readonly attributes: bigint;
  /** CSSA as it was read; where the stub owns it, no more than a hint. */
  readonly cssa: number;
  /** An ERESUME that does not resume the interrupted frame but tells the enclave of the exit: it enters, like EENTER. */
  readonly notify: boolean;
}

export interface CheckEnterOptions {
  /** false: TCS.STATE, CSSA against NSSA and the resumed RIP are left to whoever owns them. */
  readonly checkState: boolean;
  /** CSSA where the caller knows better than the TCS page. */
  readonly cssa?: number;
}

const RW = RWX & 3;

/** Address of the first byte of frame `index`. */
export function frameAddress(tcs: TcsParameters, index: number): number {
  return tcs.base + tcs.ossa + index * tcs.ssaFrameSizeBytes;
}

/** The address at an offset of the TCS; offsets wrap like additions in the processor. */
export function offsetAddress(tcs: TcsParameters, offset: number): bigint {
  return BigInt.asUintN(64, BigInt(tcs.base) + BigInt(offset));
}

export function gprsgxAddress(tcs: TcsParameters, index: number): number {
  return frameAddress(tcs, index) + tcs.ssaFrameSizeBytes - Gprsgx.sizeBytes;
}

/**
 * @param tcsAddress RBX
 * @param aep RCX
 * @param leaf Enclu.EENTER or Enclu.ERESUME
 *
 * #GP: alignment, canonical form, TCS.FLAGS, enclave not initialized, XFRM, AEXNOTIFY, CSSA, a busy TCS.
 * #PF: the TCS or a page of the SSA frame is not present or not usable; `address` says which.
 */
export function checkEnter(
  cpu: Processor,
  access: EnclaveAccess,
  tcsAddress: number,
  aep: bigint,
  leaf: typeof Enclu.EENTER | typeof Enclu.ERESUME,
  options: CheckEnterOptions,
): LeafResult<TcsParameters> {
  const misaligned = checkAligned(tcsAddress, PAGE_SIZE_BYTES, 'RBX');
  if (misaligned) return misaligned;
  const tcsPage = resolve(access, tcsAddress, 'the TCS');
  if (tcsPage.kind !== 'ok') return tcsPage;
  const refused =
    (isCanonical(aep) ? undefined : generalProtection(why('the AEP is canonical', 'a canonical address', hex(aep)))) ??
    checkTcsPage(cpu, access, tcsPage.value, tcsAddress);
  if (refused) return refused;

  const secs = cpu.secs(access.secs);
  const { tcs, parameters } = readTcs(cpu, access, tcsAddress, options.cssa);
  const denied =
    checkAlignedOffset(tcs.ossa, 'TCS.OSSA') ??
    checkAlignedOffset(tcs.ofsBase, 'TCS.OFSBASE') ??
    checkAlignedOffset(tcs.ogsBase, 'TCS.OGSBASE') ??
    checkFlags(tcs.flags) ??
    checkInitialised(secs) ??
    checkMode(cpu, secs) ??
    checkAexNotify(secs, tcs.flags) ??
    checkCssa(parameters, leaf, options) ??
    checkFrameIfAny(cpu, access, parameters, usedFrame(parameters, leaf));
  if (denied) return denied;
  const frame = usedFrame(parameters, leaf);
  const notify = leaf === Enclu.ERESUME && frame !== undefined && wantsNotice(cpu, access, parameters, frame);
  const refusedNow =
    (notify ? checkNextFrame(cpu, access, parameters, options) : undefined) ??
    checkTargets(cpu, access, parameters, notify ? Enclu.EENTER : leaf, options) ??
    (options.checkState ? checkInactive(tcs.state) : undefined);
  return refusedNow ?? ok({ ...parameters, notify });
}

/** What the (checked) TCS page says. */
export function readTcs(
  cpu: Processor,
  access: EnclaveAccess,
  tcsAddress: number,
  cssa?: number,
): { readonly tcs: ViewOf<typeof Tcs>; readonly parameters: TcsParameters } {
  const secs = cpu.secs(access.secs);
  const { fields } = secs;
  const bytes = new Uint8Array(PAGE_SIZE_BYTES);
  cpu.contents.read(access.secs, pageOf(tcsAddress), 0, bytes);
  const tcs = Tcs.view(bytes);
  const parameters = {
    base: secs.baseAddress,
    sizeBytes: secs.sizeBytes,
    oentry: Number(tcs.oentry),
    ossa: Number(tcs.ossa),
    nssa: tcs.nssa,
    ssaFrameSizeBytes: fields.ssaFrameSize * PAGE_SIZE_BYTES,
    ofsBase: Number(tcs.ofsBase),
    ogsBase: Number(tcs.ogsBase),
    fsLimit: tcs.fsLimit,
    gsLimit: tcs.gsLimit,
    flags: tcs.flags,
    xfrm: fields.xfrm,
    miscSelect: fields.miscSelect,
    attributes: fields.attributes,
    cssa: cssa ?? tcs.cssa,
    notify: false,
  };
  return { tcs, parameters };
}

/** AEX-Notify: the TCS allows it and the interrupted frame asks for it. */
function wantsNotice(cpu: Processor, access: EnclaveAccess, tcs: TcsParameters, frame: number): boolean {
  if ((tcs.flags & TcsFlags.mask.AEXNOTIFY) === 0n) return false;
  const address = gprsgxAddress(tcs, frame) + Gprsgx.offsetOf('aexNotify');
  const byte = new Uint8Array(1);
  cpu.contents.read(access.secs, pageOf(address), address % PAGE_SIZE_BYTES, byte);
  return (byte[0]! & 1) !== 0;
}

/** An ERESUME that notifies needs a free frame, for the next exit. */
function checkNextFrame(
  cpu: Processor,
  access: EnclaveAccess,
  tcs: TcsParameters,
  options: CheckEnterOptions,
): Fault | undefined {
  return checkCssa(tcs, Enclu.EENTER, options) ?? checkFrameIfAny(cpu, access, tcs, usedFrame(tcs, Enclu.EENTER));
}

function checkFrameIfAny(
  cpu: Processor,
  access: EnclaveAccess,
  tcs: TcsParameters,
  index: number | undefined,
): Fault | undefined {
  return index === undefined ? undefined : checkFrame(cpu, access, tcs, index);
}

/** #PF unless the page is a TCS of the enclave, at this address, ready for use. */
export function checkTcsPage(
  cpu: Processor,
  access: EnclaveAccess,
  page: EpcIndex,
  address: number,
): Fault | undefined {
  const { epcm } = cpu;
  const usable =
    epcm.typeIfValid(page) === PageType.TCS &&
    !epcm.blocked(page) &&
    epcm.secsOf(page) === access.secs &&
    epcm.page(page) === pageOf(address) &&
    !epcm.pending(page) &&
    !epcm.modified(page);
  if (usable) return undefined;
  const expected = 'valid PT_TCS, not BLOCKED, PENDING or MODIFIED, at this address';
  return operandFault(cpu, page, address, 'RBX is a TCS', expected);
}

function checkAlignedOffset(offset: bigint, field: string): Fault | undefined {
  if (offset % BigInt(PAGE_SIZE_BYTES) === 0n) return undefined;
  return generalProtection(why(`${field} is page-aligned`, 'a multiple of 0x1000', hex(offset)));
}

function checkFlags(flags: bigint): Fault | undefined {
  if ((flags & ~TcsFlags.known) === 0n) return undefined;
  return generalProtection(
    why('TCS.FLAGS reserved bits are zero', `a part of ${TcsFlags.format(TcsFlags.known)}`, TcsFlags.format(flags)),
  );
}

/** The thread runs 64-bit code, so the enclave must be of that mode, and XFRM must be enabled in XCR0. */
function checkMode(cpu: Processor, secs: SecsPage): Fault | undefined {
  const { attributes, xfrm } = secs.fields;
  if ((attributes & Attributes.mask.MODE64BIT) === 0n) {
    return generalProtection(
      why('the thread is in the mode of SECS.ATTRIBUTES.MODE64BIT', 'MODE64BIT', Attributes.format(attributes)),
    );
  }
  if ((xfrm & ~cpu.profile.xcr0) === 0n) return undefined;
  return generalProtection(
    why('SECS.XFRM is enabled in XCR0', `a part of ${Xfrm.format(cpu.profile.xcr0)}`, Xfrm.format(xfrm)),
  );
}

function checkAexNotify(secs: SecsPage, flags: bigint): Fault | undefined {
  const inSecs = (secs.fields.attributes & Attributes.mask.AEXNOTIFY) !== 0n;
  const inTcs = (flags & TcsFlags.mask.AEXNOTIFY) !== 0n;
  if (inSecs === inTcs || (flags & TcsFlags.mask.DBGOPTIN) !== 0n) return undefined;
  return generalProtection(why('TCS.FLAGS.AEXNOTIFY is SECS.ATTRIBUTES.AEXNOTIFY', `${inSecs}`, `${inTcs}`));
}

function checkCssa(tcs: TcsParameters, leaf: number, { checkState }: CheckEnterOptions): Fault | undefined {
  if (!checkState || (leaf === Enclu.EENTER ? tcs.cssa < tcs.nssa : tcs.cssa > 0)) return undefined;
  return noFrame(leaf, tcs.cssa, tcs.nssa);
}

/** The #GP of an EENTER without a free SSA frame, or of an ERESUME without one in use. */
export function noFrame(leaf: number, cssa: number, nssa: number): Fault {
  if (leaf === Enclu.ERESUME) {
    const advice = 'ERESUME only after an AEX, and once for each';
    return generalProtection(why('TCS.CSSA is not 0', 'an interrupted entry to resume', '0', advice));
  }
  const advice = 'ERESUME an interrupted entry first, or build with more SSA frames';
  return generalProtection(why('TCS.CSSA is below TCS.NSSA', `less than ${nssa}`, `${cssa}`, advice));
}

/** #PF unless every page of the frame's XSAVE area, and the page of GPRSGX, can be read and written. */
export function checkFrame(
  cpu: Processor,
  access: EnclaveAccess,
  tcs: TcsParameters,
  index: number,
): Fault | undefined {
  const start = frameAddress(tcs, index);
  const addresses = [];
  for (let at = 0; at < cpu.profile.xsaveSizeBytes(tcs.xfrm); at += PAGE_SIZE_BYTES) addresses.push(start + at);
  const gprPage = start + tcs.ssaFrameSizeBytes - PAGE_SIZE_BYTES;
  if (addresses.at(-1) !== gprPage) addresses.push(gprPage);
  for (const address of addresses) {
    const page = resolve(access, address, `SSA frame ${index}`);
    if (page.kind !== 'ok') return page as Fault;
    const unusable =
      checkWritable(access, address, `SSA frame ${index}`) ??
      checkOrdinaryPage(cpu, access, page.value, address, RW, ENCLU_WRITE_ERROR_CODE);
    if (unusable) return unusable;
  }
  return undefined;
}

/** The frame that EENTER or ERESUME uses; undefined where the owner of CSSA will refuse. */
export function usedFrame(tcs: TcsParameters, leaf: number): number | undefined {
  const frame = leaf === Enclu.EENTER ? tcs.cssa : tcs.cssa - 1;
  return frame >= 0 && frame < tcs.nssa ? frame : undefined;
}

/** Where execution goes, and the segment bases it will have. */
function checkTargets(
  cpu: Processor,
  access: EnclaveAccess,
  tcs: TcsParameters,
  leaf: number,
  { checkState }: CheckEnterOptions,
): Fault | undefined {
  let target = offsetAddress(tcs, tcs.oentry);
  let fsBase = offsetAddress(tcs, tcs.ofsBase);
  let gsBase = offsetAddress(tcs, tcs.ogsBase);
  if (leaf === Enclu.ERESUME) {
    if (!checkState) return undefined;
    const address = gprsgxAddress(tcs, usedFrame(tcs, leaf)!);
    const bytes = new Uint8Array(Gprsgx.sizeBytes);
    cpu.contents.read(access.secs, pageOf(address), address % PAGE_SIZE_BYTES, bytes);
    ({ rip: target, fsBase, gsBase } = Gprsgx.decode(bytes));
  }
  return (
    checkCanonical(target, 'the target RIP') ?? checkCanonical(fsBase, 'FS base') ?? checkCanonical(gsBase, 'GS base')
  );
}

function checkCanonical(address: bigint, name: string): Fault | undefined {
  if (isCanonical(address)) return undefined;
  return generalProtection(why(`${name} is canonical`, 'a canonical address', hex(address)));
}

function checkInactive(state: bigint): Fault | undefined {
  return state === TcsState.INACTIVE ? undefined : busyTcs('a thread');
}

/** The #GP of entering through a TCS that is in use. */
export function busyTcs(holder: string): Fault {
  const advice = 'give every thread a TCS of its own, or let it wait until the other has left';
  return generalProtection(why('TCS.STATE is INACTIVE', 'a TCS that no thread is in', `ACTIVE, by ${holder}`, advice));
}
