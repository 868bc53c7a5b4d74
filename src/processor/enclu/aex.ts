/**
 * AEX: an interrupt or exception takes the thread out of the enclave.
 * Spec: SDM "Enclave Exiting Events", "Asynchronous Enclave Exit", "Synthetic State".
 */
import { Enclu, ExitInfo, ExitType, Exinfo, Gprsgx, MiscSelect, Tcs } from '../../abi/sgx-arch.ts';
import { Rflags, Vector } from '../../abi/x86.ts';
import { InvariantError } from '../../lib/outcome.ts';
import { PAGE_SIZE_BYTES } from '../../lib/units.ts';
import type { Processor } from '../processor.ts';
import { initialArea, savedArea } from '../xsave.ts';
import { leave } from './eexit.ts';
import { readEnclave, writeEnclave } from './enclave-memory.ts';
import type { Registers, VirtualThread } from './virtual-thread.ts';

/** An exception inside the enclave. */
export interface ExceptionEvent {
  readonly vector: number;
  /** Of #PF and #GP. */
  readonly errorCode?: number;
  /** Of #PF. */
  readonly address?: number;
}

/** Vectors that EXITINFO reports always, and those it reports with MISCSELECT.EXINFO only. */
const REPORTED: ReadonlySet<number> = new Set([
  Vector.DE,
  Vector.DB,
  Vector.BP,
  Vector.BR,
  Vector.UD,
  Vector.MF,
  Vector.AC,
  Vector.XM,
]);
const REPORTED_WITH_EXINFO: ReadonlySet<number> = new Set([Vector.GP, Vector.PF]);
const TRAPS: ReadonlySet<number> = new Set([Vector.DB, Vector.BP]);
const { CF, PF, AF, ZF, SF, TF, OF, RF } = Rflags.mask;
const CLEARED_FLAGS = CF | PF | AF | ZF | SF | OF | RF;

/**
 * Saves the thread in frame CSSA and leaves it, at the AEP, in the synthetic state from which ENCLU is ERESUME.
 * @param event the exception; none for an interrupt
 */
export function aex(cpu: Processor, thread: VirtualThread, event?: ExceptionEvent): void {
  const { inside, registers } = thread;
  if (inside === undefined) throw new InvariantError('AEX of a thread that is in no enclave');
  const { secs: index, tcsAddress, aep } = inside;
  const { fields, baseAddress } = cpu.secs(index);
  const tcs = Tcs.decode(readEnclave(cpu, index, tcsAddress, PAGE_SIZE_BYTES));
  const frameBytes = fields.ssaFrameSize * PAGE_SIZE_BYTES;
  const frame = baseAddress + Number(tcs.ossa) + tcs.cssa * frameBytes;

  writeEnclave(cpu, index, frame, savedArea(thread.xsave, fields.xfrm, cpu.profile.xsaveSizeBytes(fields.xfrm)));
  const gprAddress = frame + frameBytes - Gprsgx.sizeBytes;
  const gprBytes = readEnclave(cpu, index, gprAddress, Gprsgx.sizeBytes);
  const gpr = Gprsgx.view(gprBytes);
  const withExinfo = (fields.miscSelect & MiscSelect.bit.EXINFO) !== 0;
  Object.assign(gpr, registers);
  const fault = event !== undefined && !TRAPS.has(event.vector);
  gpr.rflags = (registers.rflags & ~TF) | (fault ? RF : 0n);
  gpr.exitInfo = event === undefined ? 0 : exitInfo(event.vector, withExinfo);
  writeEnclave(cpu, index, gprAddress, gprBytes);
  if (withExinfo && event !== undefined && REPORTED_WITH_EXINFO.has(event.vector)) {
    const exinfo = Exinfo.encode({ maddr: BigInt(event.address ?? 0), errcd: event.errorCode ?? 0 });
    writeEnclave(cpu, index, gprAddress - Exinfo.sizeBytes, exinfo);
  }

  Object.assign(registers, syntheticRegisters(tcsAddress, aep, gpr));
  registers.rflags &= ~CLEARED_FLAGS;
  thread.xsave = syntheticArea(thread.xsave.length, event?.vector);
  leave(cpu, thread, inside, { cssa: tcs.cssa + 1 });
}

function exitInfo(vector: number, withExinfo: boolean): number {
  if (!REPORTED.has(vector) && !(withExinfo && REPORTED_WITH_EXINFO.has(vector))) return 0;
  const type = vector === Vector.BP ? ExitType.SOFTWARE : ExitType.HARDWARE;
  return (ExitInfo.bit.VALID | (type << 8) | vector) >>> 0;
}

function syntheticRegisters(tcsAddress: number, aep: bigint, gpr: { ursp: bigint; urbp: bigint }): Partial<Registers> {
  const cleared = { rdx: 0n, rsi: 0n, rdi: 0n, r8: 0n, r9: 0n, r10: 0n, r11: 0n, r12: 0n, r13: 0n, r14: 0n, r15: 0n };
  return {
    ...cleared,
    rax: BigInt(Enclu.ERESUME),
    rbx: BigInt(tcsAddress),
    rcx: aep,
    rip: aep,
    rsp: gpr.ursp,
    rbp: gpr.urbp,
  };
}

/** The control and status words say that the exception happened, not how. */
function syntheticArea(lengthBytes: number, vector: number | undefined): Uint8Array {
  const x87Error = vector === Vector.MF;
  return initialArea(
    lengthBytes,
    x87Error ? 0x37e : 0x37f,
    x87Error ? 0x8081 : 0,
    vector === Vector.XM ? 0x1f01 : 0x1fb0,
  );
}
