// "SGX page type" (Reinette Chatre, December 2021): REG becomes TCS and another thread enters; REG and TCS become TRIM,
// can still be evicted, fault with the SGX bit, are accepted and removed.
import {
  eaccept,
  Enclave,
  explainLeft,
  load,
  Machine,
  PageType,
  SecInfo,
  SecInfoFlags,
  store,
  tcsPage,
  write,
} from 'vitrine';

const PAGE = 0x1000;
const { R, W, PENDING, MODIFIED } = SecInfoFlags.bit;
const kind = (type: number, bits = 0): number => (type << 8) | bits;

const machine = new Machine({ cpu: 'icelake', epc: '1M', seed: 1 });
const process = machine.process();
const enclave = Enclave.load(process);
const thread = process.thread();
const [tcs] = enclave.tcs as [number];
const newTcs = enclave.room;
const frames = newTcs + PAGE;

/** EACCEPT of a page; the SECINFO is in the enclave's data. */
function* accept(page: number, flags: number) {
  yield* write(enclave.data, SecInfo.encode({ flags }));
  return yield* eaccept(enclave.data, page);
}

// Three pages by EAUG: one to become the TCS, two for its SSA frames. EACCEPT of a page that is not there brings it.
const grown = thread.run(tcs, function* () {
  for (const page of [newTcs, frames, frames + PAGE]) yield* accept(page, kind(PageType.REG, R | W | PENDING));
  yield* write(newTcs, tcsPage({ ossa: frames - enclave.base, nssa: 2, oentry: enclave.code - enclave.base }));
});
console.log('three pages added:', explainLeft(grown), enclave.epcmEntry(newTcs));

// 1. Change the type.
console.log('to TCS:', enclave.modifyTypes(newTcs, PAGE, PageType.TCS), enclave.epcmEntry(newTcs));
console.log('before EACCEPT:', explainLeft(process.thread().run(newTcs, () => load(enclave.data))));
// 2. Approve it from within.
console.log('EACCEPT:', explainLeft(thread.run(tcs, () => accept(newTcs, kind(PageType.TCS, MODIFIED)))));
console.log('the new thread:', explainLeft(process.thread().run(newTcs, () => store(enclave.data + 8, 7n))));

// And away: TRIM is the first step. Until the page is removed any access faults with the SGX bit, EACCEPT excepted.
console.log('to TRIM:', enclave.modifyTypes(newTcs, PAGE, PageType.TRIM), enclave.epcmEntry(newTcs));
console.log('touched:', explainLeft(thread.run(tcs, () => load(newTcs))));
console.log('with a page that nobody added:', enclave.modifyTypes(frames + PAGE, 2 * PAGE, PageType.TRIM));
console.log('removed before EACCEPT:', process.explain(enclave.removePages(newTcs, PAGE).ret));

// It may be swapped out meanwhile: another enclave that needs more EPC than there is.
const greedy = Enclave.load(machine.process(), { dataPages: 600 });
console.log('in EPC:', enclave.epcmEntry(newTcs) ?? 'no, evicted');
greedy.process.exit();
console.log('EACCEPT:', explainLeft(process.thread().run(tcs, () => accept(newTcs, kind(PageType.TRIM, MODIFIED)))));
console.log('removed:', enclave.removePages(newTcs, PAGE));
