import { describe, expect, it } from 'vitest';

import { Attributes } from '../../../src/abi/sgx-arch.ts';
import { toHex } from '../../../src/lib/bytes.ts';
import { mrSigner } from '../../../src/processor/sigstruct.ts';
import { answer, opened, type Opened } from './support.ts';

const { MODE64BIT, DEBUG } = Attributes.mask;

function built(): Opened {
  const all = opened();
  all.enclave.create();
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

  it.each([
    ['SGX_INVALID_MEASUREMENT', { enclaveHash: new Uint8Array(32) }],
    ['SGX_INVALID_ATTRIBUTE', { attributes: MODE64BIT | DEBUG, attributeMask: MODE64BIT | DEBUG }],
    ['SGX_INVALID_SIG_STRUCT', { isvFamilyId: new Uint8Array(16).fill(1) }],
  ])('EPERM: EINIT says %s', (code, body) => {
    const all = built();
    expect(answer(all, all.enclave.init(all.enclave.sign(body)))).toMatch(new RegExp(`^EPERM: EINIT: .*\\(${code}\\)`));
  });
});
