// A program of somebody who has installed the package: uses the library with its types.
import {
  Enclave,
  load,
  Machine,
  store,
  SGX_IOC_ENCLAVE_INIT,
  type Left,
  type MachineOptions,
  type TraceEvent,
} from 'vitrine';

const options: MachineOptions = { cpu: 'icelake', epc: '64M', seed: 1 };
const machine = new Machine(options);
const names: string[] = [];
machine.onEvent((event: TraceEvent) => names.push(event.name));
const builder = machine.process();
const enclave = Enclave.load(builder);
const [tcs = 0] = enclave.tcs;
const left: Left<bigint> = builder.thread().run(tcs, function* () {
  yield* store(enclave.data, 42n);
  return yield* load(enclave.data);
});
const { ret } = builder.call(enclave.fd, SGX_IOC_ENCLAVE_INIT, { sigStruct: 0 });
// @ts-expect-error: the structure has no such field; without declarations anything would do.
builder.call(enclave.fd, SGX_IOC_ENCLAVE_INIT, { signature: 0 });
console.log(left.kind === 'exit' ? left.value : left.kind, builder.explain(ret).split(':')[0], names.at(-1));
