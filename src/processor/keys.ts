/**
 * Derived keys.
 * Spec: SDM "EGETKEY - Retrieves a Cryptographic Key", "Key Derivation".
 */
import { createHash } from 'node:crypto';

import { EinitToken, KeyName } from '../abi/sgx-arch.ts';
import { layout, bytes, reserved, u16, u32, u64, type ValuesOf } from '../lib/layout.ts';
import { aesCmac } from './aes-cmac.ts';
import type { Processor } from './processor.ts';
import { SIGNATURE_PADDING_BYTES } from './secs.ts';
import { SIGNATURE_PADDING } from './sigstruct.ts';

/**
 * What a key depends on.
 * Model: the order and the sizes are ours; hardware's are not published, and only stability can be seen.
 */
const KeyDependencies = layout(
  'KEY_DEPENDENCIES',
  512,
  { source: 'SDM "Key Derivation"' },
  {
    keyName: u16(0, 'KeyName'),
    isvProdId: u16(2, ''),
    isvSvn: u16(4, ''),
    reserved1: reserved(6, 2),
    ownerEpoch: bytes(8, 16, ''),
    attributes: u64(24, ''),
    xfrm: u64(32, ''),
    mrSigner: bytes(40, 32, ''),
    keyId: bytes(72, 32, ''),
    sealFuses: bytes(104, 16, ''),
    cpuSvn: bytes(120, 16, ''),
    miscSelect: u32(136, ''),
    padding: bytes(140, SIGNATURE_PADDING_BYTES, 'of the signature, constant'),
    reserved2: reserved(492, 20),
  },
);

/** The key under which a launch enclave with the identity in the token makes EINITTOKENs. 16 bytes. */
export function einitTokenKey(cpu: Processor, tokenBytes: Uint8Array): Uint8Array {
  const token = EinitToken.view(tokenBytes);
  return derive(cpu, {
    keyName: KeyName.EINIT_TOKEN,
    isvProdId: token.isvProdIdLe,
    isvSvn: token.isvSvnLe,
    ownerEpoch: cpu.fuses.ownerEpoch,
    attributes: token.maskedAttributesLe,
    xfrm: token.maskedXfrmLe,
    mrSigner: cpu.lePubKeyHash,
    keyId: token.keyId,
    sealFuses: cpu.fuses.sealFuses,
    cpuSvn: token.cpuSvnLe,
    miscSelect: token.maskedMiscSelectLe,
    padding: SIGNATURE_PADDING,
  });
}

function derive(cpu: Processor, dependencies: ValuesOf<typeof KeyDependencies>): Uint8Array {
  const deviceKey = createHash('sha256')
    .update('vitrine device key')
    .update(cpu.fuses.sealFuses)
    .digest()
    .subarray(0, 16);
  return aesCmac(deviceKey, KeyDependencies.encode(dependencies));
}
