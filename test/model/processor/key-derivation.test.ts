/**
 * Keys against a second implementation, written from the text in src/processor/keys.ts and the SDM's tables alone, over
 * another AES-CMAC; and which inputs each key depends on.
 */
import { createHash } from 'node:crypto';
import { cmac } from '@noble/ciphers/aes.js';
import { describe, expect, it } from 'vitest';

import { Attributes } from '../../../src/abi/sgx-arch.ts';
import { toHex } from '../../../src/lib/bytes.ts';
import { egetkey } from '../../../src/processor/enclu/egetkey.ts';
import { ereport } from '../../../src/processor/enclu/ereport.ts';
import type { Fuses } from '../../../src/processor/ports.ts';
import { BASE, Offset, outcome, SECS, TestEnclave } from './enclave.ts';

const { MODE64BIT, DEBUG, KSS, PROVISIONKEY, EINITTOKENKEY } = Attributes.mask;

const filled = (lengthBytes: number, value: number): Buffer => Buffer.alloc(lengthBytes, value);

const fuses: Fuses = {
  ownerEpoch: filled(16, 0x11),
  sealFuses: filled(16, 0x12),
  provisioningKey: filled(16, 0x13),
  cpuSvn: filled(16, 0x14),
};

/** KEYREQUEST by the SDM's offsets. */
class Request {
  readonly bytes = Buffer.alloc(512);
  constructor(keyName: number, keyPolicy: number) {
    this.bytes.writeUInt16LE(keyName, 0);
    this.bytes.writeUInt16LE(keyPolicy, 2);
    this.bytes.writeUInt16LE(3, 4); // ISVSVN
    this.bytes.fill(0x0c, 8, 24); // CPUSVN
    this.bytes.writeBigUInt64LE(KSS | MODE64BIT, 24); // ATTRIBUTEMASK
    this.bytes.writeBigUInt64LE(1n, 32);
    this.bytes.fill(0x28, 40, 72); // KEYID
    this.bytes.writeUInt32LE(1, 72); // MISCMASK
    this.bytes.writeUInt16LE(2, 76); // CONFIGSVN
  }
}

const POLICY = { MRENCLAVE: 1, MRSIGNER: 2, NOISVPRODID: 4, CONFIGID: 8, ISVFAMILYID: 16, ISVEXTPRODID: 32 };
/** Everything that can be chosen is in the key. */
const ALL = 0x3b;
const NONE = POLICY.NOISVPRODID;

function enclaveWith(machine: Fuses): TestEnclave {
  const enclave = new TestEnclave({
    initialise: false,
    fuses: machine,
    secs: {
      attributes: MODE64BIT | KSS | PROVISIONKEY | EINITTOKENKEY,
      xfrm: 7n,
      miscSelect: 1,
      configId: filled(64, 0x31),
      configSvn: 4,
    },
  });
  const body = {
    isvProdId: 0x51,
    isvSvn: 5,
    isvFamilyId: filled(16, 0x41),
    isvExtProdId: filled(16, 0x42),
    miscSelect: 1,
  };
  expect(outcome(enclave.init(body))).toBe('ok');
  return enclave;
}

function keyOf(enclave: TestEnclave, request: Request): string {
  enclave.write(Offset.DATA, request.bytes);
  const result = egetkey(enclave.cpu, enclave.access, BASE + Offset.DATA, BASE + Offset.DATA2);
  expect(outcome(result)).toBe('ok');
  return toHex(enclave.read(Offset.DATA2, 16));
}

/** AES-CMAC(device key, KEY_DEPENDENCIES), from the table in keys.ts: fields by their offsets. */
function derive(machine: Fuses, fields: Readonly<Record<number, Uint8Array>>): Buffer {
  const device = createHash('sha256').update('vitrine device key').update(machine.provisioningKey).digest();
  const dependencies = Buffer.alloc(656);
  for (const [offset, bytes] of Object.entries(fields)) dependencies.set(bytes, Number(offset));
  // PADDING: the SDM's HARDCODED_PKCS1_5_PADDING.
  dependencies.set([0x00, 0x01], 296);
  dependencies.fill(0xff, 298, 298 + 330);
  dependencies.set(Buffer.from('003031300d060960864801650304020105000420', 'hex'), 298 + 330);
  return Buffer.from(cmac(dependencies, device.subarray(0, 16)));
}

const u16 = (value: number): Buffer => Buffer.from([value & 0xff, value >> 8]);
const u32 = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer);
const u64 = (...values: bigint[]): Buffer => Buffer.from(BigUint64Array.from(values).buffer);

describe('a key, against an implementation from the specification alone', () => {
  it('SEAL with every policy', () => {
    const enclave = enclaveWith(fuses);
    const { mrEnclave, mrSigner } = enclave.cpu.secs(SECS).fields;
    const expected = derive(fuses, {
      0: u16(4),
      2: u16(ALL),
      4: u16(0x51),
      6: u16(3),
      8: u16(2),
      12: u32(1),
      16: u32(0xffff_fffe),
      24: u64(1n | MODE64BIT | KSS, 1n), // INIT is always in
      40: u64(MODE64BIT | KSS, 1n),
      56: fuses.ownerEpoch,
      72: fuses.sealFuses,
      88: filled(16, 0x0c),
      104: filled(32, 0x28),
      136: mrEnclave,
      168: mrSigner,
      200: filled(16, 0x41),
      216: filled(16, 0x42),
      232: filled(64, 0x31),
    });
    expect(keyOf(enclave, new Request(4, ALL))).toBe(expected.toString('hex'));
  });

  it('SEAL with no policy', () => {
    const enclave = enclaveWith(fuses);
    const expected = derive(fuses, {
      0: u16(4),
      2: u16(NONE),
      6: u16(3),
      12: u32(1),
      16: u32(0xffff_fffe),
      24: u64(1n | MODE64BIT | KSS, 1n),
      40: u64(MODE64BIT | KSS, 1n),
      56: fuses.ownerEpoch,
      72: fuses.sealFuses,
      88: filled(16, 0x0c),
      104: filled(32, 0x28),
    });
    expect(keyOf(enclave, new Request(4, NONE))).toBe(expected.toString('hex'));
  });

  it('PROVISION', () => {
    const enclave = enclaveWith(fuses);
    const expected = derive(fuses, {
      0: u16(1),
      4: u16(0x51),
      6: u16(3),
      12: u32(1),
      16: u32(0xffff_fffe),
      24: u64(1n | MODE64BIT | KSS, 1n),
      40: u64(MODE64BIT | KSS, 1n),
      88: filled(16, 0x0c),
      168: enclave.cpu.secs(SECS).fields.mrSigner,
    });
    expect(keyOf(enclave, new Request(1, ALL))).toBe(expected.toString('hex'));
  });

  it('EINITTOKEN', () => {
    const enclave = enclaveWith(fuses);
    const expected = derive(fuses, {
      0: u16(0),
      4: u16(0x51),
      6: u16(3),
      12: u32(1),
      24: u64(1n | MODE64BIT | KSS, 1n),
      56: fuses.ownerEpoch,
      72: fuses.sealFuses,
      88: filled(16, 0x0c),
      104: filled(32, 0x28),
      168: enclave.cpu.secs(SECS).fields.mrSigner,
    });
    expect(keyOf(enclave, new Request(0, 0))).toBe(expected.toString('hex'));
  });

  it('the MAC of a REPORT: AES-CMAC over its first 384 bytes, under the key that the target gets for its KEYID', () => {
    const enclave = enclaveWith(fuses);
    const { mrEnclave, attributes } = enclave.cpu.secs(SECS).fields;
    const target = Buffer.alloc(512);
    target.set(mrEnclave, 0);
    target.set(u64(attributes, 7n), 32);
    target.writeUInt16LE(4, 50); // CONFIGSVN
    target.writeUInt32LE(1, 52); // MISCSELECT
    target.fill(0x31, 64, 128); // CONFIGID
    enclave.write(Offset.DATA, target);
    const [rbx, rcx, rdx] = [BASE + Offset.DATA, BASE + Offset.DATA + 0x800, BASE + Offset.DATA2];
    expect(outcome(ereport(enclave.cpu, enclave.access, rbx, rcx, rdx))).toBe('ok');
    const report = enclave.read(Offset.DATA2, 432);
    const [keyId, mac] = [report.subarray(384, 416), report.subarray(416)];

    const key = derive(fuses, {
      0: u16(3),
      8: u16(4),
      12: u32(1),
      24: u64(attributes, 7n),
      56: fuses.ownerEpoch,
      72: fuses.sealFuses,
      88: fuses.cpuSvn,
      104: keyId,
      136: mrEnclave,
      232: filled(64, 0x31),
    });
    expect(toHex(mac)).toBe(toHex(cmac(report.subarray(0, 384), key)));
    // And the target, which here is the enclave itself, is given that key; the rest of its request has no meaning.
    const request = new Request(3, ALL);
    request.bytes.set(keyId, 40);
    expect(keyOf(enclave, request)).toBe(key.toString('hex'));
  });
});

/** One input of a key, changed. */
interface Change {
  readonly fuses?: Partial<Fuses>;
  readonly secs?: (enclave: TestEnclave['cpu']['secsPages'] extends Map<unknown, infer Page> ? Page : never) => void;
  readonly request?: (bytes: Buffer) => void;
}

const other = filled(16, 0x15);
const inputs = {
  'fuses.provisioningKey': { fuses: { provisioningKey: other } },
  'fuses.ownerEpoch': { fuses: { ownerEpoch: other } },
  'fuses.sealFuses': { fuses: { sealFuses: other } },
  'fuses.cpuSvn': { fuses: { cpuSvn: other } },
  'SECS.ATTRIBUTES.DEBUG': { secs: (secs) => (secs.fields.attributes |= DEBUG) },
  'SECS.ATTRIBUTES under the mask': { secs: (secs) => (secs.fields.attributes &= ~MODE64BIT) },
  'SECS.ATTRIBUTES outside the mask': { secs: (secs) => (secs.fields.attributes |= 1n << 10n) },
  'SECS.XFRM under the mask': { secs: (secs) => (secs.fields.xfrm &= ~1n) },
  'SECS.XFRM outside the mask': { secs: (secs) => (secs.fields.xfrm ^= 4n) },
  'SECS.MISCSELECT under the mask': { secs: (secs) => (secs.fields.miscSelect ^= 1) },
  'SECS.MISCSELECT outside the mask': { secs: (secs) => (secs.fields.miscSelect ^= 2) },
  'SECS.MRENCLAVE': { secs: (secs) => (secs.fields.mrEnclave[31]! ^= 1) },
  'SECS.MRSIGNER': { secs: (secs) => (secs.fields.mrSigner[31]! ^= 1) },
  'SECS.ISVPRODID': { secs: (secs) => (secs.fields.isvProdId ^= 0x100) },
  'SECS.ISVSVN': { secs: (secs) => (secs.fields.isvSvn = 6) },
  'SECS.CONFIGID': { secs: (secs) => (secs.fields.configId[63]! ^= 1) },
  'SECS.CONFIGSVN': { secs: (secs) => (secs.fields.configSvn = 5) },
  'SECS.ISVFAMILYID': { secs: (secs) => (secs.hidden.isvFamilyId[15]! ^= 1) },
  'SECS.ISVEXTPRODID': { secs: (secs) => (secs.hidden.isvExtProdId[15]! ^= 1) },
  'KEYREQUEST.ISVSVN': { request: (bytes) => bytes.writeUInt16LE(4, 4) },
  'KEYREQUEST.CPUSVN': { request: (bytes) => bytes.writeUInt8(0x0d, 23) },
  'KEYREQUEST.ATTRIBUTEMASK (a bit that SECS has not)': { request: (bytes) => bytes.writeUInt8(0x80, 31) },
  'KEYREQUEST.ATTRIBUTEMASK (XFRM, a bit that SECS has not)': { request: (bytes) => bytes.writeUInt8(0x80, 39) },
  'KEYREQUEST.MISCMASK (a bit that SECS has not)': { request: (bytes) => bytes.writeUInt8(0x80, 75) },
  'KEYREQUEST.KEYID': { request: (bytes) => bytes.writeUInt8(1, 71) },
  'KEYREQUEST.CONFIGSVN': { request: (bytes) => bytes.writeUInt16LE(1, 76) },
  'KEYREQUEST.KEYPOLICY': { request: (bytes) => bytes.writeUInt16LE(bytes.readUInt16LE(2) ^ 1, 2) },
} satisfies Record<string, Change>;
type Input = keyof typeof inputs;

const versions: Input[] = ['KEYREQUEST.ISVSVN', 'KEYREQUEST.CPUSVN'];
const masked: Input[] = [
  'SECS.ATTRIBUTES.DEBUG',
  'SECS.ATTRIBUTES under the mask',
  'SECS.XFRM under the mask',
  'SECS.MISCSELECT under the mask',
];
const masks: Input[] = [
  'KEYREQUEST.ATTRIBUTEMASK (a bit that SECS has not)',
  'KEYREQUEST.ATTRIBUTEMASK (XFRM, a bit that SECS has not)',
  'KEYREQUEST.MISCMASK (a bit that SECS has not)',
];
const configuration: Input[] = ['SECS.CONFIGID', 'KEYREQUEST.CONFIGSVN', 'SECS.ISVFAMILYID', 'SECS.ISVEXTPRODID'];

/** SDM "Key Derivation", the table, with the request's policy in the second column. */
const table: readonly (readonly [name: string, keyName: number, policy: number, dependsOn: readonly Input[]])[] = [
  [
    'EINITTOKEN',
    0,
    ALL,
    [
      ...versions,
      ...masked,
      'fuses.ownerEpoch',
      'fuses.sealFuses',
      'SECS.MRSIGNER',
      'SECS.ISVPRODID',
      'KEYREQUEST.KEYID',
    ],
  ],
  ['PROVISION', 1, ALL, [...versions, ...masked, ...masks, 'SECS.MRSIGNER', 'SECS.ISVPRODID']],
  [
    'PROVISION_SEAL with all policies',
    2,
    ALL,
    [
      ...versions,
      ...masked,
      ...masks,
      ...configuration,
      'fuses.sealFuses',
      'SECS.MRSIGNER',
      'SECS.ISVPRODID',
      'KEYREQUEST.KEYPOLICY',
    ],
  ],
  [
    'PROVISION_SEAL with no policy',
    2,
    NONE,
    [...versions, ...masked, ...masks, 'fuses.sealFuses', 'SECS.MRSIGNER', 'KEYREQUEST.KEYPOLICY'],
  ],
  [
    'REPORT',
    3,
    ALL,
    [
      ...masked,
      'SECS.ATTRIBUTES outside the mask',
      'SECS.XFRM outside the mask',
      'SECS.MISCSELECT outside the mask',
      'fuses.ownerEpoch',
      'fuses.sealFuses',
      'fuses.cpuSvn',
      'SECS.MRENCLAVE',
      'SECS.CONFIGID',
      'SECS.CONFIGSVN',
      'KEYREQUEST.KEYID',
    ],
  ],
  [
    'SEAL with all policies',
    4,
    ALL,
    [
      ...versions,
      ...masked,
      ...masks,
      ...configuration,
      'fuses.ownerEpoch',
      'fuses.sealFuses',
      'SECS.MRENCLAVE',
      'SECS.MRSIGNER',
      'SECS.ISVPRODID',
      'KEYREQUEST.KEYID',
      'KEYREQUEST.KEYPOLICY',
    ],
  ],
  [
    'SEAL with no policy',
    4,
    NONE,
    [
      ...versions,
      ...masked,
      ...masks,
      'fuses.ownerEpoch',
      'fuses.sealFuses',
      'KEYREQUEST.KEYID',
      'KEYREQUEST.KEYPOLICY',
    ],
  ],
];

describe.each(table)('%s', (_name, keyName, policy, dependsOn) => {
  function keyWith(change: Change): string {
    const enclave = enclaveWith({ ...fuses, ...change.fuses });
    change.secs?.(enclave.cpu.secs(SECS));
    const request = new Request(keyName, policy);
    change.request?.(request.bytes);
    return keyOf(enclave, request);
  }
  const unchanged = keyWith({});

  it.each(Object.keys(inputs) as Input[])('%s', (input) => {
    const expected = input === 'fuses.provisioningKey' || dependsOn.includes(input);
    expect(keyWith(inputs[input]) !== unchanged).toBe(expected);
  });
});

it('keys of different names are different keys', () => {
  const enclave = enclaveWith(fuses);
  const keys = [0, 1, 2, 3, 4].map((keyName) => keyOf(enclave, new Request(keyName, 0)));
  expect(new Set(keys).size).toBe(5);
});
