import { createHash, generateKeyPairSync } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';

import { SigStruct } from '../abi/sgx-arch.ts';
import { toHex } from '../lib/bytes.ts';
import {
  bcdDate,
  mrSigner,
  newSigningKey,
  parseSigStruct,
  readSigningKey,
  signSigStruct,
  sigStructIsValid,
} from './sigstruct.ts';

let pem = '';
let signed: Uint8Array = new Uint8Array();

const body = {
  date: 0x20260131,
  attributes: 4n,
  attributeMask: ~2n & (2n ** 64n - 1n),
  xfrm: 3n,
  enclaveHash: new Uint8Array(32).fill(0xab),
  isvProdId: 7,
  isvSvn: 2,
};

beforeAll(() => {
  pem = newSigningKey();
  signed = signSigStruct(body, readSigningKey(pem, 'key.pem'));
});

/** The arithmetic of the SDM, on purpose without the code under test. */
function number(offset: number): bigint {
  return signed.subarray(offset, offset + 384).reduceRight<bigint>((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

describe('signSigStruct', () => {
  it('signs the two parts with PKCS #1 v1.5: S^3 mod N is the padded digest', () => {
    const digest = createHash('sha256')
      .update(signed.subarray(0, 128))
      .update(signed.subarray(900, 1028))
      .digest('hex');
    const padded = `0001${'ff'.repeat(330)}003031300d060960864801650304020105000420${digest}`;
    expect((number(516) ** 3n % number(128)).toString(16).padStart(768, '0')).toBe(padded);
  });

  it('gives Q1 and Q2, so that S^3 - Q1*S*N - Q2*N is the same without a division', () => {
    const [n, s, q1, q2] = [number(128), number(516), number(1040), number(1424)];
    expect(q1).toBe((s * s) / n);
    expect(s ** 3n - q1 * s * n - q2 * n).toBe(s ** 3n % n);
  });

  it('puts everything where the SDM has it', () => {
    expect(signed).toHaveLength(1808);
    expect(toHex(signed.subarray(0, 40))).toBe(
      '06000000e10000000000010000000000000000003101262001010000600000006000000001000000',
    );
    expect(toHex(signed.subarray(512, 516))).toBe('03000000');
    expect(toHex(signed.subarray(928, 992))).toBe(
      `04000000000000000300000000000000fdffffffffffffff${'00'.repeat(8)}${'ab'.repeat(32)}`,
    );
    expect(toHex(signed.subarray(1024, 1028))).toBe('07000200');
    expect(parseSigStruct(signed, 'x')).toMatchObject(body);
  });

  it('has the MRSIGNER of the modulus as stored', () => {
    const expected = createHash('sha256').update(signed.subarray(128, 512)).digest('hex');
    expect(toHex(mrSigner(readSigningKey(pem, 'key.pem').modulus()))).toBe(expected);
  });
});

describe('sigStructIsValid', () => {
  it('accepts what was signed', () => {
    expect(sigStructIsValid(signed)).toBe(true);
  });

  it.each([
    ['the date', 20],
    ['the modulus', 128],
    ['the signature', 516],
    ['the measurement', 960],
    ['Q1', 1040],
    ['Q2', 1424],
  ])('notices a changed bit of %s', (_, offset) => {
    const changed = signed.slice();
    changed[offset]! ^= 1;
    expect(sigStructIsValid(changed)).toBe(false);
  });

  it('survives a modulus of zero', () => {
    expect(sigStructIsValid(signed.slice().fill(0, 128, 512))).toBe(false);
  });
});

describe('parseSigStruct', () => {
  it.each([
    ['header', 0],
    ['header2', 24],
    ['exponent', 512],
    ['reserved1', 44],
    ['reserved4', 1028],
  ] as const)('refuses a wrong %s, naming its offset', (field, offset) => {
    const changed = signed.slice();
    changed[offset]! ^= 4;
    expect(SigStruct.fields.find(({ name }) => name === field)?.offset).toBe(offset);
    expect(() => parseSigStruct(changed, 'x.sigstruct')).toThrow(
      `x.sigstruct: ${field} at offset 0x${offset.toString(16)}: `,
    );
  });

  it('refuses another length', () => {
    expect(() => parseSigStruct(signed.subarray(1), 'x')).toThrow('expected 1808 bytes, found 1807');
  });
});

describe('readSigningKey', () => {
  const rsa = (modulusLength: number, publicExponent: number) =>
    generateKeyPairSync('rsa', { modulusLength, publicExponent }).privateKey.export({ type: 'pkcs8', format: 'pem' });

  it.each([
    ['text that is no key', 'hello', 'not an unencrypted private key in PEM form'],
    [
      'an elliptic-curve key',
      generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }),
      'an ed25519 key',
    ],
    ['an RSA key of another size', rsa(2048, 3), 'an RSA key of 2048 bits'],
    ['an RSA key with another exponent', rsa(3072, 65537), 'an RSA key with public exponent 65537; SGX wants 3'],
  ])('refuses %s and says how to make a right one', (_, text, message) => {
    expect(() => readSigningKey(text, 'key.pem')).toThrow(message);
    expect(() => readSigningKey(text, 'key.pem')).toThrow('vitrine keygen KEY.pem');
  });
});

describe('bcdDate', () => {
  it('is the date in UTC, one digit in four bits', () => {
    expect(bcdDate(new Date('2026-01-31T23:59:59Z'))).toBe(0x20260131);
  });
});
