// "x86/sgx: uapi change proposal" (Sean Christopherson, December 2018): CREATE on the device gives a descriptor of the enclave,
// which is all that a builder needs; mappings keep the enclave alive. Against the draft, in which they do not.
import {
  draftIoctls,
  explainLeft,
  load,
  Machine,
  MAP_FIXED,
  MAP_SHARED,
  newSigningKey,
  proposalDeviceIoctls,
  proposalEnclaveIoctls,
  readSigningKey,
  SecInfo,
  Secs,
  signSigStruct,
  Tcs,
  type Process,
} from 'vitrine';

const { SGX_ENCLAVE_CREATE } = proposalDeviceIoctls.byName;
const { SGX_ENCLAVE_ADD_PAGE, SGX_ENCLAVE_INIT } = proposalEnclaveIoctls.byName;
const base = 0x7f00_0000_0000;
const secs = Secs.encode({ size: 0x10000, baseAddr: base, ssaFrameSize: 1, attributes: 4n, xfrm: 3n });
const key = readSigningKey(newSigningKey(), 'a key');

/** TCS, SSA, code, data: what the smallest enclave has. Contents, and SECINFO.FLAGS. */
const pages = [
  [Tcs.encode({ ossa: 0x1000, nssa: 1, oentry: 0x2000, fsLimit: 0xfff, gsLimit: 0xfff }), 0x100],
  [new Uint8Array(0x1000), 0x203],
  [new Uint8Array(0x1000).fill(0xcc), 0x205],
  [new Uint8Array(0x1000).fill(7), 0x203],
] as const;
const added = (process: Process, index: number) => {
  const [bytes, flags] = pages[index]!;
  const secInfo = process.put(SecInfo.encode({ flags }));
  // All sixteen chunks of 256 bytes are measured.
  return { addr: base + index * 0x1000, src: process.put(bytes), secInfo, mrMask: 0xffff };
};

/** A SIGSTRUCT for what has been built. */
function sign(process: Process, fd: number): Uint8Array {
  const { fields, measurement } = process.machine.machine.processor.secs(process.enclave(fd).secs!);
  const all = 2n ** 64n - 1n;
  const { attributes, xfrm } = fields;
  return signSigStruct(
    { attributes, attributeMask: all, xfrm, xfrmMask: all, enclaveHash: measurement!.current(), date: 0x20181219 },
    key,
  );
}

console.log('proposal-2018');
const machine = new Machine({ sgxUapi: 'proposal-2018', seed: 1 });
const owner = machine.process();
const sgxFd = owner.must(owner.open('/dev/sgx'), 'open');
const enclaveFd = owner.must(owner.call(sgxFd, SGX_ENCLAVE_CREATE, { src: owner.put(secs) }).ret, 'CREATE');

// The builder gets the enclave, and never had the device.
const builder = machine.process();
const theirs = builder.must(owner.passDescriptor(enclaveFd, builder), 'SCM_RIGHTS');
for (const index of pages.keys())
  builder.must(builder.call(theirs, SGX_ENCLAVE_ADD_PAGE, added(builder, index)).ret, 'ADD_PAGE');
builder.must(builder.call(theirs, SGX_ENCLAVE_INIT, { sigStruct: builder.put(sign(builder, theirs)) }).ret, 'INIT');
builder.exit();

owner.must(owner.mmap(base, 0x10000, 7, MAP_SHARED | MAP_FIXED, enclaveFd), 'mmap');
owner.close(enclaveFd);
owner.close(sgxFd);
console.log('by its mapping alone:', explainLeft(owner.thread().run(base, () => load(base + 0x3000))));

console.log('draft-2018');
const other = new Machine({ sgxUapi: 'draft-2018', seed: 1 }).process();
const device = other.must(other.open('/dev/sgx'), 'open');
other.must(other.mmap(base, 0x10000, 7, MAP_SHARED | MAP_FIXED, device), 'mmap');
const { SGX_IOC_ENCLAVE_CREATE, SGX_IOC_ENCLAVE_ADD_PAGE, SGX_IOC_ENCLAVE_INIT } = draftIoctls.byName;
const handle = other.must(other.call(device, SGX_IOC_ENCLAVE_CREATE, { src: other.put(secs) }).ret, 'CREATE');
for (const index of pages.keys()) {
  other.must(
    other.call(device, SGX_IOC_ENCLAVE_ADD_PAGE, { enclaveFd: handle, ...added(other, index) }).ret,
    'ADD_PAGE',
  );
}
const init = { enclaveFd: handle, sigStruct: other.put(sign(other, handle)) };
other.must(other.call(device, SGX_IOC_ENCLAVE_INIT, init).ret, 'INIT');
console.log('while its handle is open:', explainLeft(other.thread().run(base, () => load(base + 0x3000))));
other.close(handle);
console.log('then:', explainLeft(other.thread().run(base, () => load(base + 0x3000))));
