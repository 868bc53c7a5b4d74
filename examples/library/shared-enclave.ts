// "Intel SGX driver" (Sean Christopherson, December 2018): every open gives an enclave of its own; mappings are MAP_SHARED
// only; children and whoever gets the descriptor share the enclave and execute in it; with SGX2 threads are added on demand.
import { Enclave, explainLeft, load, Machine, MAP_FIXED, MAP_PRIVATE, pause, PROT_READ, store } from 'vitrine';

const machine = new Machine({ cpu: 'icelake', epc: '64M', seed: 1 });
const parent = machine.process();

const first = parent.must(parent.open('/dev/sgx_enclave'), 'open');
const second = parent.must(parent.open('/dev/sgx_enclave'), 'open');
console.log('unique:', parent.file(first) !== parent.file(second));
console.log(
  'MAP_PRIVATE:',
  parent.explain(parent.mmap(0x7000_0000, 0x1000, PROT_READ, MAP_PRIVATE | MAP_FIXED, first)),
);

// A child by fork, and a stranger that got the descriptor over a socket: three processes, one enclave with two TCSs.
const enclave = Enclave.load(parent, { threads: 2 });
const [tcsA, tcsB] = enclave.tcs as [number, number];
const child = parent.fork();
const stranger = machine.process();
enclave.in(stranger, parent.passDescriptor(enclave.fd, stranger)).mapAs(stranger);

/** Adds to a counter, with a moment in between in which others may come. */
function* count() {
  const before = yield* load(enclave.data);
  yield* pause();
  yield* store(enclave.data, before + 1n);
}
const threads = [child.thread(), stranger.thread()];
console.log('entered:', [tcsA, tcsB].map((tcs, i) => threads[i]!.enter(tcs, count).kind).join(' '));
console.log('a busy TCS:', explainLeft(parent.thread().run(tcsA, count)));
// An instruction of each in turn: both read 0, and one addition is lost.
while (threads.some(({ running }) => running)) for (const thread of threads) if (thread.running) thread.step();
console.log('counted:', explainLeft(parent.thread().run(tcsA, () => load(enclave.data))));

// Whoever built it may go; the enclave is there as long as anybody has the descriptor or a mapping.
parent.exit();
child.exit();
stranger.close(3);
console.log('by its mapping alone:', explainLeft(stranger.thread().run(tcsB, () => load(enclave.data))));
stranger.munmap(enclave.base, enclave.sizeBytes);
console.log('EPC in use at last:', machine.usedPages);
