import { describe, expect, it } from 'vitest';

import {
  Attributes,
  EinitToken,
  KeyName,
  KeyRequest,
  SgxCode,
  SigStruct,
  Xfrm,
  type SigStruct as SigStructValues,
} from '../../../src/abi/sgx-arch.ts';
import { mrSigner } from '../../../src/formats/sigstruct.ts';
import { toHex } from '../../../src/lib/bytes.ts';
import { AesCmac } from '../../../src/processor/aes-cmac.ts';
import { einit } from '../../../src/processor/encls/einit.ts';
import { egetkey } from '../../../src/processor/enclu/egetkey.ts';
import { einitTokenKey } from '../../../src/processor/keys.ts';
import { testProcessor } from '../../../src/processor/testing/processor.ts';
import { BASE, FREE, NOT_EPC, Offset, outcome, SECS, signingKey, type secsBytes, TestEnclave, VA } from './enclave.ts';

const { MODE64BIT, DEBUG, INIT, KSS, EINITTOKENKEY } = Attributes.mask;
const NO_TOKEN = new Uint8Array(304);

const building = (secs: Parameters<typeof secsBytes>[0] = {}) => new TestEnclave({ initialise: false, secs });
const initWith = (enclave: TestEnclave, sigStruct: Uint8Array, token: Uint8Array = NO_TOKEN) =>
  outcome(einit(enclave.cpu, sigStruct, SECS, token));
/** EINIT with one byte or field of a good SIGSTRUCT changed after signing. */
function tampered(change: (sig: ReturnType<typeof SigStruct.view>, bytes: Uint8Array) => void): string {
  const enclave = building();
  const bytes = enclave.sign();
  change(SigStruct.view(bytes), bytes);
  return initWith(enclave, bytes);
}

describe('EINIT', () => {
  it('commits MRENCLAVE, MRSIGNER, the ISV fields and INIT', () => {
    const enclave = building({ attributes: MODE64BIT | KSS });
    const measured = enclave.cpu.secs(SECS).measurement!.current();
    const body = {
      isvProdId: 7,
      isvSvn: 9,
      isvFamilyId: new Uint8Array(16).fill(3),
      isvExtProdId: new Uint8Array(16).fill(4),
    };
    expect(outcome(enclave.init(body))).toBe('ok');
    const { fields, hidden, initialised } = enclave.cpu.secs(SECS);
    expect(initialised).toBe(true);
    expect(fields.attributes).toBe(MODE64BIT | KSS | INIT);
    expect(toHex(fields.mrEnclave)).toBe(toHex(measured));
    expect(toHex(fields.mrSigner)).toBe(toHex(mrSigner(signingKey().modulus())));
    expect(fields).toMatchObject({ isvProdId: 7, isvSvn: 9 });
    expect([hidden.isvFamilyId[0], hidden.isvExtProdId[0]]).toEqual([3, 4]);
  });

  it('leaves the enclave as it was when it refuses: it can be changed and tried again', () => {
    const enclave = building();
    expect(outcome(enclave.init({ enclaveHash: new Uint8Array(32) }))).toMatch(/^SGX_INVALID_MEASUREMENT/);
    enclave.add(Offset.HOLE, 0x203, new Uint8Array(4096));
    expect(outcome(enclave.init())).toBe('ok');
  });

  it('#PF: RCX is in the EPC', () => {
    const enclave = building();
    expect(outcome(einit(enclave.cpu, enclave.sign(), NOT_EPC, NO_TOKEN))).toBe('#PF 0x3: RCX is in the EPC');
  });
  it.each([VA, FREE])('#PF: RCX is a valid PT_SECS (EPC page %i)', (page) => {
    const enclave = building();
    expect(outcome(einit(enclave.cpu, enclave.sign(), page, NO_TOKEN))).toBe('#PF 0x8003: RCX is a valid PT_SECS');
  });
  it('#GP: SECS.ATTRIBUTES.INIT is 0', () => {
    const enclave = building();
    const sigStruct = enclave.sign();
    expect(initWith(enclave, sigStruct)).toBe('ok');
    expect(initWith(enclave, sigStruct)).toBe('#GP: SECS.ATTRIBUTES.INIT is 0');
  });

  describe('SGX_INVALID_SIG_STRUCT', () => {
    it.each<[string, (sig: ReturnType<typeof SigStruct.view>, bytes: Uint8Array) => void]>([
      ['SIGSTRUCT.HEADER is the constant', (sig) => (sig.header[0]! ^= 1)],
      ['SIGSTRUCT.VENDOR is 0 or 8086H', (sig) => (sig.vendor = 1)],
      ['SIGSTRUCT.HEADER2 is the constant', (sig) => (sig.header2[15]! ^= 1)],
      ['SIGSTRUCT.EXPONENT is 3', (sig) => (sig.exponent = 65537)],
      ['SIGSTRUCT reserved fields are zero', (_sig, bytes) => (bytes[44] = 1)],
      ['SIGSTRUCT reserved fields are zero', (_sig, bytes) => (bytes[1039] = 1)],
    ])('%s (%#)', (check, change) => {
      expect(tampered(change)).toBe(`SGX_INVALID_SIG_STRUCT: ${check}`);
    });
    it.each(['isvFamilyId', 'isvExtProdId'] as const)(
      'SIGSTRUCT.ISVFAMILYID and ISVEXTPRODID are 0 without ATTRIBUTES.KSS (%s)',
      (field) => {
        const check = 'SIGSTRUCT.ISVFAMILYID and ISVEXTPRODID are 0 without ATTRIBUTES.KSS';
        expect(outcome(building().init({ [field]: new Uint8Array(16).fill(1) }))).toBe(
          `SGX_INVALID_SIG_STRUCT: ${check}`,
        );
      },
    );
  });

  it('SGX_UNMASKED_EVENT: no interrupt is pending', () => {
    const enclave = building();
    const cpu = Object.create(enclave.cpu, { eventPending: { value: () => true } }) as typeof enclave.cpu;
    expect(outcome(einit(cpu, enclave.sign(), SECS, NO_TOKEN))).toBe('SGX_UNMASKED_EVENT: no interrupt is pending');
  });

  describe('SGX_INVALID_SIGNATURE', () => {
    it.each<[string, (sig: ReturnType<typeof SigStruct.view>) => void]>([
      ['SIGSTRUCT.SIGNATURE is below SIGSTRUCT.MODULUS', (sig) => sig.signature.fill(0xff)],
      ['SIGSTRUCT.SIGNATURE is below SIGSTRUCT.MODULUS', (sig) => sig.modulus.fill(0)],
      ['SIGSTRUCT.Q1 is floor(S^2 / N)', (sig) => (sig.q1[0]! ^= 1)],
      ['SIGSTRUCT.Q2 is floor((S^3 - Q1*S*N) / N)', (sig) => (sig.q2[0]! ^= 1)],
      ['the signature opens to the PKCS #1 v1.5 padded SHA-256 of the signed bytes', (sig) => (sig.date ^= 1)],
      ['the signature opens to the PKCS #1 v1.5 padded SHA-256 of the signed bytes', (sig) => (sig.isvSvn ^= 1)],
    ])('%s (%#)', (check, change) => {
      expect(tampered(change)).toBe(`SGX_INVALID_SIGNATURE: ${check}`);
    });
  });

  it('SGX_INVALID_MEASUREMENT: SIGSTRUCT.ENCLAVEHASH is MRENCLAVE, and both are shown', () => {
    const enclave = building();
    const measured = enclave.cpu.secs(SECS).measurement!.current();
    const result = enclave.init({ enclaveHash: new Uint8Array(32).fill(0xab) });
    expect(result).toMatchObject({
      code: SgxCode.SGX_INVALID_MEASUREMENT,
      why: { expected: 'ab'.repeat(32), found: toHex(measured) },
    });
  });

  describe('SGX_INVALID_ATTRIBUTE', () => {
    it('with ATTRIBUTES.EINITTOKENKEY, MRSIGNER is IA32_SGXLEPUBKEYHASH', () => {
      const enclave = building({ attributes: MODE64BIT | EINITTOKENKEY });
      const sigStruct = enclave.sign();
      expect(initWith(enclave, sigStruct)).toBe('ok');
      const other = building({ attributes: MODE64BIT | EINITTOKENKEY });
      const theirs = other.sign();
      other.cpu.lePubKeyHash.fill(1);
      expect(initWith(other, theirs)).toBe(
        'SGX_INVALID_ATTRIBUTE: with ATTRIBUTES.EINITTOKENKEY, MRSIGNER is IA32_SGXLEPUBKEYHASH',
      );
    });
    it.each<[string, Partial<SigStructValues>]>([
      ['SECS.ATTRIBUTES is SIGSTRUCT.ATTRIBUTES under its mask', { attributes: MODE64BIT | DEBUG }],
      ['SECS.XFRM is SIGSTRUCT.XFRM under its mask', { xfrm: 7n }],
      ['SECS.MISCSELECT is SIGSTRUCT.MISCSELECT under its mask', { miscSelect: 1, miscMask: 0xffff_ffff }],
      ['SECS.CET_ATTRIBUTES is SIGSTRUCT.CET_ATTRIBUTES under its mask', { cetAttributes: 1, cetAttributesMask: 1 }],
    ])('%s', (check, body) => {
      expect(outcome(building().init(body))).toBe(`SGX_INVALID_ATTRIBUTE: ${check}`);
    });
    it('does not look at bits outside the masks', () => {
      const free = {
        attributes: DEBUG,
        attributeMask: 0n,
        xfrm: Xfrm.mask.AVX,
        xfrmMask: 0n,
        miscSelect: 1,
        cetAttributes: 1,
      };
      expect(outcome(building().init(free))).toBe('ok');
    });
  });

  describe('launch control', () => {
    it('SGX_INVALID_EINITTOKEN: without an EINITTOKEN, MRSIGNER is IA32_SGXLEPUBKEYHASH', () => {
      const enclave = building();
      const sigStruct = enclave.sign();
      enclave.cpu.lePubKeyHash.fill(0);
      expect(initWith(enclave, sigStruct)).toBe(
        'SGX_INVALID_EINITTOKEN: without an EINITTOKEN, MRSIGNER is IA32_SGXLEPUBKEYHASH',
      );
    });

    type TokenView = ReturnType<typeof EinitToken.view>;
    /** EINIT with a token that a launch enclave made; `before` changes what it vouches for, `after` what was made. */
    function withToken(
      before: (token: TokenView) => void,
      after: (token: TokenView, bytes: Uint8Array) => void = () => {},
    ): string {
      const enclave = building();
      const sigStruct = enclave.sign();
      const { cpu } = enclave;
      cpu.lePubKeyHash.fill(0x55);
      const { attributes, xfrm } = cpu.secs(SECS).fields;
      const values = {
        valid: 1,
        attributes,
        xfrm,
        mrEnclave: cpu.secs(SECS).measurement!.current(),
        mrSigner: mrSigner(signingKey().modulus()),
        cpuSvnLe: cpu.fuses.cpuSvn,
      };
      const bytes = EinitToken.encode(values);
      const token = EinitToken.view(bytes);
      before(token);
      token.mac = new AesCmac(einitTokenKey(cpu, bytes)).mac(bytes.subarray(0, 192));
      after(token, bytes);
      return initWith(enclave, sigStruct, bytes);
    }

    it('a token that a launch enclave made with the key it got by EGETKEY replaces the MSRs', () => {
      const enclave = building();
      const { cpu } = enclave;
      const sigStruct = enclave.sign();
      const { attributes, xfrm } = cpu.secs(SECS).fields;
      const mrEnclave = cpu.secs(SECS).measurement!.current();
      const ourSigner = mrSigner(signingKey().modulus());
      const launch = new TestEnclave({ initialise: false, secs: { attributes: MODE64BIT | EINITTOKENKEY } });
      expect(outcome(launch.init({ isvProdId: 3, isvSvn: 4 }))).toBe('ok');
      const request = KeyRequest.encode({
        keyName: KeyName.EINIT_TOKEN,
        isvSvn: 4,
        cpuSvn: cpu.fuses.cpuSvn,
        attributeMask: MODE64BIT,
        keyId: new Uint8Array(32).fill(7),
      });
      launch.write(Offset.DATA, request);
      expect(outcome(egetkey(launch.cpu, launch.access, BASE + Offset.DATA, BASE + Offset.DATA2))).toBe('ok');
      const bytes = EinitToken.encode({
        valid: 1,
        attributes,
        xfrm,
        mrEnclave,
        mrSigner: ourSigner,
        cpuSvnLe: cpu.fuses.cpuSvn,
        isvProdIdLe: 3,
        isvSvnLe: 4,
        maskedAttributesLe: MODE64BIT | INIT, // INIT is in every key
        keyId: new Uint8Array(32).fill(7),
      });
      EinitToken.view(bytes).mac = new AesCmac(launch.read(Offset.DATA2, 16)).mac(bytes.subarray(0, 192));
      // The MSRs name the launch enclave's signer, here the same.
      expect(initWith(enclave, sigStruct, bytes)).toBe('ok');
      const elsewhere = building();
      const theirs = elsewhere.sign();
      elsewhere.cpu.lePubKeyHash.fill(0x66);
      expect(initWith(elsewhere, theirs, bytes)).toBe(
        "SGX_INVALID_EINITTOKEN: EINITTOKEN.MAC is one of this processor's",
      );
    });
    it("the MSRs hold the hash of Intel's key after reset", () => {
      expect(toHex(testProcessor().cpu.lePubKeyHash)).toBe(
        'acb77012053e05a63d413b8bbae8fb6c5d73b3f2996d91c43bbbf90959c0f8d4',
      );
    });
    it('a token is looked at where VALID is 1 even if the signer owns the MSRs', () => {
      const enclave = building();
      const token = EinitToken.encode({ valid: 1 });
      expect(initWith(enclave, enclave.sign(), token)).toMatch(/^SGX_INVALID_EINITTOKEN: EINITTOKEN.MAC/);
    });
    it('a token with VALID 0 is not looked at', () => {
      const enclave = building();
      expect(initWith(enclave, enclave.sign(), new Uint8Array(304).fill(0xff).fill(0xfe, 0, 1))).toBe('ok');
    });
    it('a token of this processor for this enclave replaces the MSRs', () => {
      expect(withToken(() => {})).toBe('ok');
    });
    it.each<[string, (token: TokenView) => void, ((token: TokenView, bytes: Uint8Array) => void)?]>([
      [
        'SGX_INVALID_EINITTOKEN: a debug launch enclave launches debug enclaves only',
        (t) => (t.maskedAttributesLe = DEBUG),
      ],
      ['SGX_INVALID_EINITTOKEN: EINITTOKEN reserved fields are zero', () => {}, (_t, bytes) => (bytes[4] = 1)],
      ['SGX_INVALID_EINITTOKEN: EINITTOKEN.VALID bits 31:1 are zero', (t) => (t.valid = 3)],
      ['SGX_INVALID_CPUSVN: EINITTOKEN.CPUSVNLE is not beyond the current CPUSVN', (t) => (t.cpuSvnLe[15] = 5)],
      ["SGX_INVALID_EINITTOKEN: EINITTOKEN.MAC is one of this processor's", () => {}, (t) => (t.mac[0]! ^= 1)],
      ["SGX_INVALID_EINITTOKEN: EINITTOKEN.MAC is one of this processor's", () => {}, (t) => (t.isvSvnLe = 1)],
      ['SGX_INVALID_MEASUREMENT: EINITTOKEN is for this MRENCLAVE', (t) => (t.mrEnclave[0]! ^= 1)],
      ['SGX_INVALID_MEASUREMENT: EINITTOKEN is for this MRSIGNER', (t) => (t.mrSigner[0]! ^= 1)],
      ['SGX_INVALID_ATTRIBUTE: EINITTOKEN is for these ATTRIBUTES', (t) => (t.attributes |= DEBUG)],
      ['SGX_INVALID_ATTRIBUTE: EINITTOKEN is for these ATTRIBUTES', (t) => (t.xfrm = 7n)],
    ])('%s (%#)', (expected, before, after) => {
      expect(withToken(before, after)).toBe(expected);
    });
  });
});
