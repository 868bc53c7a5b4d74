/** Threads entering, leaving and working inside enclaves: what the processor model has to say about it. */
import { Enclu } from '../../abi/sgx-arch.ts';
import { Event, Refusal, STUB_NO_FRAME, Verdict } from '../../abi/stub.ts';
import { Errno } from '../../lib/errno.ts';
import { generalProtection, why, type Fault, type LeafResult } from '../../lib/outcome.ts';
import { busyTcs, noFrame, usedFrame, type TcsParameters } from '../../processor/enclu/check-enter.ts';
import { encluName, namedOperands, type EncluOperands } from '../../processor/enclu/enclu.ts';
import { pageOf, USER_ADDRESS_END } from '../../lib/units.ts';
import { outcomeOf, type TraceKind } from '../../trace/events.ts';
import { leaveIfDead } from '../dead-threads.ts';
import { DONE, faulted, hex, refused, trace, type Caller, type Reply } from './reply.ts';

const notCanonical = (operand: string, value: number): Fault =>
  generalProtection(why(`${operand} is an address of the program`, `below ${hex(USER_ADDRESS_END)}`, hex(value)));

/** ENTER(TCS address, AEP, leaf): whether the thread may enter, and all that the stub needs to let it. */
export function enter(caller: Caller): Reply {
  const { session, mm, box } = caller;
  const tcsAddress = box.arg(0);
  const aep = box.bigArg(1);
  const leaf = box.arg(2);
  const checked = checkEntry(caller, tcsAddress, aep, leaf);
  if (checked.kind !== 'ok') {
    const fault = checked.kind === 'fault' ? checked : generalProtection(checked.why);
    traceLeaf(caller, encluName(leaf), { tcs: tcsAddress, aep }, fault);
    return faulted(fault);
  }
  const enclave = mm.enclaveAt(pageOf(tcsAddress))!;
  const slot = session.slotFor(enclave);
  if (slot < 0) {
    session.gate.complain(`process ${session.pid} entered more enclaves than one process can have here`);
    return faulted(generalProtection(why('the process has a free enclave slot', 'at most 64 enclaves', '65')));
  }
  const tcs = checked.value;
  if (enclave.mms.size > 1)
    leaveIfDead(caller.host.machine.kernel, enclave, tcsAddress, (tid) => caller.host.isAlive(tid));
  return {
    ret: Verdict.RETRY,
    // In the order of TcsRecord.
    out: [
      tcs.base,
      tcs.sizeBytes,
      tcs.oentry,
      tcs.ossa,
      tcs.nssa,
      tcs.ssaFrameSizeBytes,
      tcs.ofsBase,
      tcs.ogsBase,
      tcs.xfrm,
      tcs.miscSelect,
      checkedFrames(tcs, leaf),
      (BigInt(session.publishedGeneration(slot)) << 32n) | BigInt(slot),
    ],
  };
}

function checkedFrames(tcs: TcsParameters, leaf: number): bigint {
  const used = usedFrame(tcs, leaf) ?? STUB_NO_FRAME;
  const next = (tcs.notify ? usedFrame(tcs, Enclu.EENTER) : undefined) ?? STUB_NO_FRAME;
  return (BigInt(next) << 32n) | BigInt(used);
}

function checkEntry({ mm }: Caller, tcsAddress: number, aep: bigint, leaf: number): LeafResult<TcsParameters> {
  if (leaf !== Enclu.EENTER && leaf !== Enclu.ERESUME) {
    return generalProtection(why('RAX is EENTER or ERESUME', '2 or 3', `${leaf}`));
  }
  if (tcsAddress >= USER_ADDRESS_END) return notCanonical('RBX', tcsAddress);
  return mm.checkEnter(tcsAddress, aep, leaf, { checkState: false });
}

/** LEAF(leaf, RBX, RCX, RDX) inside an enclave. out: RAX, and 1 when it is an SGX code (ZF). */
export function enclu(caller: Caller): Reply {
  const { box } = caller;
  const leaf = box.arg(0);
  const operands = { rbx: box.arg(1), rcx: box.arg(2), rdx: box.arg(3) };
  const startMs = performance.now();
  const result = runLeaf(caller, leaf, operands);
  traceLeaf(caller, encluName(leaf), namedOperands(leaf, operands), result, startMs);
  if (result.kind === 'fault') return faulted(result);
  return { ret: Verdict.RETRY, out: result.kind === 'code' ? [result.code, 1] : [0, 0] };
}

/** Registers above user space are outside every ELRANGE: the leaf itself refuses them. */
function runLeaf({ session, mm, box }: Caller, leaf: number, operands: EncluOperands): LeafResult {
  const enclave = session.enclaveInSlot(box.insideSlot);
  if (enclave !== undefined) return mm.enclu({ enclave, tcsAddress: box.insideTcs }, leaf, operands);
  return generalProtection(why('the thread is inside an enclave', 'one that this process has entered', 'none'));
}

type Registers = Readonly<Record<string, number | bigint>>;

function traceLeaf(caller: Caller, name: string, args: Registers, result: LeafResult<unknown>, startMs?: number): void {
  trace(caller, () => ({
    kind: 'leaf',
    name,
    args: inHex(args),
    ...outcomeOf(result),
    ...(startMs !== undefined && { durationUs: (performance.now() - startMs) * 1000 }),
  }));
}

function inHex(registers: Registers): Record<string, string> {
  return Object.fromEntries(Object.entries(registers).map(([name, value]) => [name, hex(value)]));
}

/** SYNC(enclave slot): the thread has seen a new generation and left; what changed comes with the answer. */
export function sync({ host, session, box }: Caller): Reply {
  const enclave = session.enclaveInSlot(box.arg(0));
  if (enclave === undefined || enclave.abandoned) return refused(Errno.ENOENT);
  host.acknowledge(enclave);
  return DONE;
}

/** EVENT(event, TCS, registers...): what the stub did by itself; it only tells while somebody listens. */
export function event(caller: Caller): Reply {
  const { box } = caller;
  const number = box.arg(0);
  const tcs = box.arg(1);
  const values = [box.arg(2), box.arg(3), box.arg(4)];
  if (number === Event.REFUSED) {
    traceLeaf(caller, encluName(values[0]!), { tcs }, refusal(values[0]!, values[1]!, values[2]!));
    return DONE;
  }
  trace(caller, () => {
    const { kind, name, words } = eventLines[number] ?? { kind: 'note', name: `event ${number}`, words: [] };
    const registers = words.map((word, index) => [word, values[index]!] as const);
    return { kind, name, args: inHex({ tcs, ...Object.fromEntries(registers) }) };
  });
  return DONE;
}

/** Why the stub refused an entry that the host had allowed: what it says of the state that it owns. */
function refusal(leaf: number, reason: number, found: number): Fault {
  if (reason === Refusal.BUSY) return busyTcs(found === 0 ? 'a thread' : `thread ${found}`);
  if (reason === Refusal.CSSA) return noFrame(leaf, found % 2 ** 32, Math.floor(found / 2 ** 32));
  return generalProtection(
    why(
      `SSA frame ${found} can be resumed`,
      'XSTATE_BV within SECS.XFRM, reserved bytes and MXCSR bits zero',
      'a frame that breaks one of these',
      'let the handler in the enclave leave the XSAVE header as it was',
    ),
  );
}

const eventLines: Readonly<Record<number, { kind: TraceKind; name: string; words: readonly string[] }>> = {
  [Event.EENTER]: { kind: 'enter', name: 'EENTER', words: ['rip', 'return', 'cssa'] },
  [Event.ERESUME]: { kind: 'enter', name: 'ERESUME', words: ['rip', 'rcx', 'cssa'] },
  [Event.EEXIT]: { kind: 'exit', name: 'EEXIT', words: ['target', 'aep'] },
  [Event.AEX]: { kind: 'aex', name: 'AEX', words: ['exitinfo', 'rip', 'address'] },
  [Event.SIGNAL]: { kind: 'aex', name: 'signal', words: ['signal', 'rip'] },
};
