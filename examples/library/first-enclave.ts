// The shortest way into an enclave, and what the rest of its process sees of it.
import { Enclave, explainLeft, load, Machine, store } from 'vitrine';

const machine = new Machine({ cpu: 'icelake', epc: '64M', seed: 1 });
const process = machine.process();
const enclave = Enclave.load(process);

const left = process.thread().run(enclave.tcs[0]!, function* () {
  yield* store(enclave.data, 42n);
  return (yield* load(enclave.data)) + 1n;
});
console.log('inside:', explainLeft(left));
console.log('outside:', ...process.read(enclave.data, 8).bytes);
console.log(`${machine.usedPages} of ${machine.usage().pages} pages of EPC in use`);
process.exit();
console.log(`${machine.usedPages} after the process has ended`);
