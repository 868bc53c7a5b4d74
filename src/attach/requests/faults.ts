/** Touches of enclave pages that did not work: the model mends them or says which exception they are. */
import { Verdict } from '../../abi/stub.ts';
import { resultOf, type FaultVerdict } from '../../kernel/fault.ts';
import { loadPage } from '../../kernel/paging.ts';
import { addressOf, pageOf, USER_ADDRESS_END } from '../../lib/units.ts';
import { faulted, hex, trace, type Caller, type Reply } from './reply.ts';

const PAGE_FAULT = 14;
const accesses = ['read', 'write', 'exec'] as const;

/** FAULT(address, access, inside, RIP). */
export function fault(caller: Caller): Reply {
  const { host, mm, box } = caller;
  const address = box.arg(0);
  const access = accesses[box.arg(1)] ?? 'read';
  const inside = box.arg(2) !== 0;
  const rip = box.arg(3);
  if (address >= USER_ADDRESS_END) return { ret: Verdict.NOT_OURS };
  const startMs = performance.now();
  const enclave = mm.enclaveAt(pageOf(address));
  if (enclave !== undefined) host.acknowledge(enclave);
  const verdict = mm.fault({ page: pageOf(address), access, inside, via: 'access' });
  trace(caller, () => ({
    kind: 'fault',
    name: '#PF',
    args: { access, address: hex(address), from: inside ? 'inside' : 'outside', rip: hex(rip) },
    durationUs: (performance.now() - startMs) * 1000,
    ...resultOf(verdict),
  }));
  return replyTo(verdict, address);
}

/** LOAD(address): the stub itself needs the page (TCS, SSA frame) to be there. */
export function load({ session, mm, box }: Caller): Reply {
  const address = box.arg(0);
  if (address >= USER_ADDRESS_END) return { ret: Verdict.NOT_OURS };
  const ending = session.enclaveInSlot(box.insideSlot);
  if (ending?.abandoned === true) {
    // No mapping shows it any more; the thread that leaves it needs its frame all the same.
    return { ret: loadPage(mm.kernel, ending, pageOf(address))?.kind === 'ok' ? Verdict.RETRY : Verdict.BUS };
  }
  return replyTo(mm.fault({ page: pageOf(address), access: 'read', inside: true, via: 'leaf' }), address);
}

function replyTo(verdict: FaultVerdict, address: number): Reply {
  switch (verdict.kind) {
    case 'retry':
      return { ret: Verdict.RETRY };
    case 'fault':
      return faulted(verdict.fault);
    case 'bus':
      return { ret: Verdict.BUS, out: [PAGE_FAULT, verdict.errorCode, addressOf(pageOf(address))] };
    case 'abort-page':
      return { ret: Verdict.ABORT_PAGE };
    case 'not-ours':
      return { ret: Verdict.NOT_OURS };
  }
}
