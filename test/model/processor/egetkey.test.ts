import { describe, expect, it } from 'vitest';

import { Attributes, KeyName, KeyRequest, type Secs } from '../../../src/abi/sgx-arch.ts';
import type { ValuesOf } from '../../../src/lib/layout.ts';
import { eaug } from '../../../src/processor/encls/eaug.ts';
import { eblock } from '../../../src/processor/encls/eblock.ts';
import { emodpr } from '../../../src/processor/encls/emodpr.ts';
import { emodt } from '../../../src/processor/encls/emodt.ts';
import { egetkey } from '../../../src/processor/enclu/egetkey.ts';
import { BASE, Flags, FREE, Offset, outcome, secInfo, SECS, SIZE, TestEnclave } from './enclave.ts';

const { MODE64BIT, KSS, PROVISIONKEY, EINITTOKENKEY } = Attributes.mask;
const REQUEST = BASE + Offset.DATA;
const KEY = BASE + Offset.DATA2 + 16;

type Request = ValuesOf<typeof KeyRequest>;

/** An initialized enclave, ISVSVN 5. */
function build(secs: ValuesOf<typeof Secs> = {}, profileName = 'sapphire-rapids'): TestEnclave {
  const enclave = new TestEnclave({ secs, profileName, initialise: false });
  expect(outcome(enclave.init({ isvSvn: 5 }))).toBe('ok');
  return enclave;
}

function getKey(enclave: TestEnclave, request: Request | Uint8Array, rbx = REQUEST, rcx = KEY): string {
  enclave.write(Offset.DATA, request instanceof Uint8Array ? request : KeyRequest.encode(request));
  return outcome(egetkey(enclave.cpu, enclave.access, rbx, rcx));
}

const keyOf = (enclave: TestEnclave) => enclave.read(Offset.DATA2 + 16, 16);
const seal: Request = { keyName: KeyName.SEAL };

describe('EGETKEY', () => {
  it.each(Object.entries(KeyName))('writes the 16 bytes of a key, and no more: %s', (_name, keyName) => {
    const enclave = build({ attributes: MODE64BIT | PROVISIONKEY | EINITTOKENKEY });
    const before = enclave.read(Offset.DATA2);
    expect(getKey(enclave, { keyName })).toBe('ok');
    const after = enclave.read(Offset.DATA2);
    expect(after.subarray(16, 32)).not.toEqual(before.subarray(16, 32));
    after.set(before.subarray(16, 32), 16);
    expect(after).toEqual(before);
  });

  it('gives the same key for the same request, also to another enclave that is the same', () => {
    const [one, two] = [build(), build()];
    getKey(one, seal);
    const first = keyOf(one);
    getKey(one, seal);
    getKey(two, seal);
    expect(keyOf(one)).toEqual(first);
    expect(keyOf(two)).toEqual(first);
  });

  it('takes request and key on one page, and from a page that is readable only', () => {
    const enclave = build();
    enclave.readOnly.add(Offset.DATA);
    expect(getKey(enclave, seal)).toBe('ok');
    enclave.readOnly.clear();
    expect(getKey(enclave, seal, REQUEST, REQUEST + 512)).toBe('ok');
  });

  describe('RBX', () => {
    it('#GP: RBX is 512-byte aligned', () => {
      expect(getKey(build(), seal, REQUEST + 256)).toBe('#GP: RBX is 512-byte aligned');
    });
    it.each([BASE - 512, BASE + SIZE])('#GP: RBX is in ELRANGE (%i)', (rbx) => {
      expect(getKey(build(), seal, rbx)).toBe('#GP: RBX is in ELRANGE');
    });
    it('#PF: RBX is in the EPC and mapped (not present: error code without P and W)', () => {
      expect(getKey(build(), seal, BASE + Offset.HOLE)).toBe('#PF 0x4 @0x7f0000008000: RBX is in the EPC and mapped');
    });
    it.each<[string, (enclave: TestEnclave) => unknown]>([
      ['VALID', (enclave) => enclave.cpu.epcm.remove(enclave.at(Offset.DATA))],
      ['BLOCKED', (enclave) => eblock(enclave.cpu, enclave.at(Offset.DATA))],
      ['R', (enclave) => emodpr(enclave.cpu, secInfo(0), enclave.at(Offset.DATA))],
      ['MODIFIED', (enclave) => emodt(enclave.cpu, secInfo(Flags.TRIM), enclave.at(Offset.DATA))],
      ['ENCLAVEADDRESS', (enclave) => enclave.pages.set(Offset.DATA, enclave.at(Offset.DATA2))],
      [
        'ENCLAVESECS',
        (enclave) =>
          enclave.cpu.epcm.add(
            enclave.at(Offset.DATA),
            Flags.REG_RW,
            FREE,
            enclave.cpu.epcm.page(enclave.at(Offset.DATA)),
          ),
      ],
    ])('#PF: EPCM lets the enclave use RBX (%s)', (_field, spoil) => {
      const enclave = build();
      enclave.write(Offset.DATA, KeyRequest.encode(seal));
      spoil(enclave);
      expect(outcome(egetkey(enclave.cpu, enclave.access, REQUEST, KEY))).toBe(
        '#PF 0x8005 @0x7f0000004000: EPCM lets the enclave use 0x7f0000004000',
      );
    });
    it('#PF: EPCM lets the enclave use RBX (PT_TCS)', () => {
      expect(getKey(build(), seal, BASE + Offset.TCS)).toMatch(/^#PF 0x8005 @0x7f0000000000: EPCM lets/);
    });
    it('#GP instead of these #PF on a processor with SGX1 only', () => {
      expect(getKey(build({}, 'skylake'), seal, BASE + Offset.TCS)).toBe(
        '#GP: EPCM lets the enclave use 0x7f0000000000',
      );
    });
  });

  describe('RCX', () => {
    it('#GP: RCX is 16-byte aligned', () => {
      expect(getKey(build(), seal, REQUEST, KEY + 8)).toBe('#GP: RCX is 16-byte aligned');
    });
    it.each([BASE - 16, BASE + SIZE])('#GP: RCX is in ELRANGE (%i)', (rcx) => {
      expect(getKey(build(), seal, REQUEST, rcx)).toBe('#GP: RCX is in ELRANGE');
    });
    it('#PF: RCX is in the EPC and mapped (a write: error code W)', () => {
      expect(getKey(build(), seal, REQUEST, BASE + Offset.HOLE)).toBe(
        '#PF 0x6 @0x7f0000008000: RCX is in the EPC and mapped',
      );
    });
    it('#PF: the mapping of RCX can be written (without the SGX bit)', () => {
      const enclave = build();
      enclave.readOnly.add(Offset.DATA2);
      expect(getKey(enclave, seal)).toBe('#PF 0x7 @0x7f0000005000: the mapping of RCX can be written');
    });
    it('#PF: EPCM lets the enclave use RCX (W)', () => {
      expect(getKey(build(), seal, REQUEST, BASE + Offset.CODE)).toMatch(/^#PF 0x8007 @0x7f0000003000: EPCM lets/);
    });
    it('#PF: EPCM lets the enclave use RCX (PENDING)', () => {
      const enclave = build();
      eaug(enclave.cpu, { linAddr: BASE + Offset.HOLE, secInfo: undefined, secs: SECS }, FREE);
      enclave.pages.set(Offset.HOLE, FREE);
      expect(getKey(enclave, seal, REQUEST, BASE + Offset.HOLE)).toMatch(/^#PF 0x8007 @0x7f0000008000: EPCM lets/);
    });
  });

  describe('KEYREQUEST', () => {
    it.each([7, 78, 511])('#GP: KEYREQUEST reserved fields are zero (byte %i)', (offset) => {
      expect(getKey(build(), KeyRequest.encode(seal).with(offset, 1))).toBe('#GP: KEYREQUEST reserved fields are zero');
    });
    it('#GP: KEYREQUEST reserved fields are zero (CET_ATTRIBUTES_MASK, which no profile has)', () => {
      expect(getKey(build(), { ...seal, cetAttributesMask: 1 })).toBe('#GP: KEYREQUEST reserved fields are zero');
    });
    it.each([0x40, 0x8000])('#GP: KEYREQUEST reserved fields are zero (KEYPOLICY 0x%s)', (keyPolicy) => {
      const enclave = build({ attributes: MODE64BIT | KSS });
      expect(getKey(enclave, { ...seal, keyPolicy })).toBe('#GP: KEYREQUEST reserved fields are zero');
    });
    const KSS_CHECK = 'without ATTRIBUTES.KSS, KEYPOLICY is MRENCLAVE and MRSIGNER at most and CONFIGSVN is 0';
    it.each<Request>([{ keyPolicy: 4 }, { keyPolicy: 8 }, { keyPolicy: 0x10 }, { keyPolicy: 0x20 }, { configSvn: 1 }])(
      `#GP: ${KSS_CHECK} (%o)`,
      (change) => {
        expect(getKey(build(), { ...seal, ...change })).toBe(`#GP: ${KSS_CHECK}`);
        expect(getKey(build({ attributes: MODE64BIT | KSS, configSvn: 1 }), { ...seal, ...change })).toBe('ok');
      },
    );
    it.each([5, 0xffff])('SGX_INVALID_KEYNAME: KEYREQUEST.KEYNAME names a key (%i)', (keyName) => {
      expect(getKey(build(), { keyName })).toBe('SGX_INVALID_KEYNAME: KEYREQUEST.KEYNAME names a key');
    });
    it.each([
      ['EINITTOKEN', KeyName.EINIT_TOKEN, PROVISIONKEY],
      ['PROVISION', KeyName.PROVISION, EINITTOKENKEY],
      ['PROVISION_SEAL', KeyName.PROVISION_SEAL, EINITTOKENKEY],
    ])('SGX_INVALID_ATTRIBUTE: SECS.ATTRIBUTES entitles to the key (%s)', (_name, keyName, other) => {
      const enclave = build({ attributes: MODE64BIT | other });
      expect(getKey(enclave, { keyName })).toBe('SGX_INVALID_ATTRIBUTE: SECS.ATTRIBUTES entitles to the key');
    });

    const entitled = () => build({ attributes: MODE64BIT | KSS | PROVISIONKEY | EINITTOKENKEY, configSvn: 3 });
    const versioned = ['EINIT_TOKEN', 'PROVISION', 'PROVISION_SEAL', 'SEAL'] as const;
    it.each(versioned)('SGX_INVALID_CPUSVN: KEYREQUEST.CPUSVN is not beyond the current CPUSVN (%s)', (name) => {
      const cpuSvn = new Uint8Array(16).fill(4);
      expect(getKey(entitled(), { keyName: KeyName[name], cpuSvn })).toBe('ok');
      expect(getKey(entitled(), { keyName: KeyName[name], cpuSvn: cpuSvn.with(15, 5) })).toBe(
        'SGX_INVALID_CPUSVN: KEYREQUEST.CPUSVN is not beyond the current CPUSVN',
      );
    });
    it.each(versioned)('SGX_INVALID_ISVSVN: KEYREQUEST.ISVSVN is at most SECS.ISVSVN (%s)', (name) => {
      expect(getKey(entitled(), { keyName: KeyName[name], isvSvn: 5 })).toBe('ok');
      expect(getKey(entitled(), { keyName: KeyName[name], isvSvn: 6 })).toBe(
        'SGX_INVALID_ISVSVN: KEYREQUEST.ISVSVN is at most SECS.ISVSVN',
      );
    });
    it('SGX_INVALID_ISVSVN: KEYREQUEST.CONFIGSVN is at most SECS.CONFIGSVN (SEAL only)', () => {
      expect(getKey(entitled(), { ...seal, configSvn: 3 })).toBe('ok');
      expect(getKey(entitled(), { ...seal, configSvn: 4 })).toBe(
        'SGX_INVALID_ISVSVN: KEYREQUEST.CONFIGSVN is at most SECS.CONFIGSVN',
      );
      expect(getKey(entitled(), { keyName: KeyName.PROVISION_SEAL, configSvn: 4 })).toBe('ok');
    });
    it('looks at no version in a request for a REPORT key', () => {
      const cpuSvn = new Uint8Array(16).fill(0xff);
      expect(getKey(entitled(), { keyName: KeyName.REPORT, isvSvn: 0xffff, configSvn: 0xffff, cpuSvn })).toBe('ok');
    });
    it('writes nothing when it gives a code', () => {
      const enclave = build();
      const before = keyOf(enclave);
      getKey(enclave, { keyName: 5 });
      getKey(enclave, { keyName: KeyName.PROVISION });
      getKey(enclave, { ...seal, isvSvn: 6 });
      expect(keyOf(enclave)).toEqual(before);
    });
  });

  it('is there on a processor with SGX1 only', () => {
    expect(getKey(build({}, 'skylake'), seal)).toBe('ok');
  });
});
