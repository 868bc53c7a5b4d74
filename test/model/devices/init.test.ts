import { describe, expect, it } from 'vitest';

import { Attributes, SigStruct, Xfrm } from '../../../src/abi/sgx-arch.ts';
import { EnclaveInit, enclaveIoctls } from '../../../src/abi/sgx-uapi.ts';
import { toHex } from '../../../src/lib/bytes.ts';
import { mrSigner } from '../../../src/processor/sigstruct.ts';
import { At, RW_REG } from '../../support/virtual-enclave.ts';
import { answer, created, NOWHERE, opened, PAGE, ready, type Opened } from './support.ts';

const INIT = enclaveIoctls.numbers.SGX_IOC_ENCLAVE_INIT;
const { MODE64BIT, DEBUG, PROVISIONKEY, EINITTOKENKEY, KSS } = Attributes.mask;

function built(secs = {}): Opened {
  const all = opened();
  all.enclave.create(secs);
  all.enclave.addUsualPages();
  return all;
}

describe('SGX_IOC_ENCLAVE_INIT', () => {
  it('0: the enclave is initialized, MRSIGNER is the signer, who is the launch key owner', () => {
    const all = built();
    const sigStruct = all.enclave.sign();
    expect(all.enclave.init(sigStruct)).toBe(0);
    expect(all.enclave.file.initialized).toBe(true);
    const { processor } = all.machine.machine;
    expect(toHex(processor.secs(all.enclave.file.secs!).fields.mrSigner)).toBe(toHex(mrSigner(sigStruct)));
    expect(toHex(processor.lePubKeyHash)).toBe(toHex(mrSigner(sigStruct)));
  });

  it('EINVAL: not created; EINVAL: initialized; both before the argument is read', () => {
    for (const all of [opened(), ready()]) {
      expect(answer(all, all.process.ioctl(all.enclave.fd, INIT, NOWHERE))).toBe(
        'EINVAL: the enclave is created and not initialized',
      );
    }
  });

  it('EFAULT: the argument cannot be read', () => {
    const all = created();
    expect(answer(all, all.process.ioctl(all.enclave.fd, INIT, NOWHERE))).toMatch(/^EFAULT: sgx_enclave_init/);
  });

  it('EFAULT: the SIGSTRUCT cannot be read in full; it needs no alignment', () => {
    const all = built();
    const { memory } = all.process;
    const at = (address: number) =>
      answer(all, all.enclave.call('SGX_IOC_ENCLAVE_INIT', EnclaveInit, { sigStruct: BigInt(address) }).ret);
    expect(at(NOWHERE)).toBe('EFAULT: the SIGSTRUCT can be read');
    expect(at(memory.allocate(PAGE) + PAGE - 1807)).toBe('EFAULT: the SIGSTRUCT can be read');
    const shifted = new Uint8Array(1808 + 5);
    shifted.set(all.enclave.sign(), 5);
    expect(at(memory.put(shifted) + 5)).toBe('0');
  });

  it('EINVAL: the vendor is neither 0 nor 0x8086', () => {
    const all = built();
    const tampered = all.enclave.sign();
    SigStruct.view(tampered).vendor = 1;
    expect(answer(all, all.enclave.init(tampered))).toBe('EINVAL: SIGSTRUCT.VENDOR');
    expect(answer(all, all.enclave.init(all.enclave.sign({ vendor: 0x8086 })))).toBe('0');
  });

  it.each([
    ['PROVISIONKEY without permission', PROVISIONKEY],
    ['EINITTOKENKEY', EINITTOKENKEY],
  ])('EACCES: %s', (_, attribute) => {
    const all = built({ attributes: MODE64BIT | attribute });
    expect(answer(all, all.enclave.init())).toBe('EACCES: the attributes are permitted');
  });

  it('EACCES comes before EINVAL for what the SIGSTRUCT demands', () => {
    const all = built({ attributes: MODE64BIT | PROVISIONKEY });
    const demanding = all.enclave.sign({ attributes: 1n << 40n, attributeMask: 1n << 40n });
    expect(answer(all, all.enclave.init(demanding))).toMatch(/^EACCES/);
  });

  it.each([
    ['ATTRIBUTES', { attributes: 1n << 40n, attributeMask: ~0n & 0xffff_ffff_ffff_ffffn }],
    ['ATTRIBUTES', { attributes: Attributes.mask.CET, attributeMask: Attributes.mask.CET }],
    ['MISCSELECT', { miscSelect: 2, miscMask: 2 }],
    ['XFRM', { xfrm: Xfrm.mask.BNDREGS, xfrmMask: Xfrm.mask.BNDREGS }],
  ])('EINVAL: the SIGSTRUCT demands %s that this machine has not', (name, body) => {
    const all = built();
    expect(answer(all, all.enclave.init(all.enclave.sign(body)))).toBe(
      `EINVAL: SIGSTRUCT demands ${name} that this machine has`,
    );
  });

  it('what is not in the mask is not demanded', () => {
    const { enclave } = built();
    expect(enclave.init(enclave.sign({ miscSelect: 2, miscMask: 0, xfrm: 3n | (1n << 3n), xfrmMask: 3n }))).toBe(0);
  });

  it.each([
    ['SGX_INVALID_MEASUREMENT', { enclaveHash: new Uint8Array(32) }],
    ['SGX_INVALID_ATTRIBUTE', { attributes: MODE64BIT | DEBUG, attributeMask: MODE64BIT | DEBUG }],
    ['SGX_INVALID_SIG_STRUCT', { isvFamilyId: new Uint8Array(16).fill(1) }],
  ])('EPERM: EINIT says %s', (code, body) => {
    const all = built();
    expect(answer(all, all.enclave.init(all.enclave.sign(body)))).toMatch(new RegExp(`^EPERM: EINIT: .*\\(${code}\\)`));
  });

  it('EPERM: EINIT says SGX_INVALID_SIGNATURE', () => {
    const all = built();
    const tampered = all.enclave.sign();
    SigStruct.view(tampered).date ^= 1;
    expect(answer(all, all.enclave.init(tampered))).toMatch(/^EPERM: EINIT: .*\(SGX_INVALID_SIGNATURE\)/);
  });

  it('KSS has a family', () => {
    const { enclave } = built({ attributes: MODE64BIT | KSS });
    expect(enclave.init(enclave.sign({ isvFamilyId: new Uint8Array(16).fill(1) }))).toBe(0);
  });

  it('a failed INIT leaves the enclave as it was: more pages, and again', () => {
    const { enclave } = built();
    expect(enclave.init(enclave.sign({ enclaveHash: new Uint8Array(32) }))).toBeLessThan(0);
    expect(enclave.add(At.HOLE, RW_REG, new Uint8Array(PAGE)).ret).toBe(0);
    expect(enclave.init()).toBe(0);
  });
});
