/**
 * EINIT: verify an enclave against its signature and make it enterable.
 * Spec: SDM "EINIT - Initialize an Enclave for Execution".
 */
import { Attributes, EinitToken, MiscSelect, PageType, SgxCode, SigStruct, Xfrm } from '../../abi/sgx-arch.ts';
import { equalBytes, isZero, toHex } from '../../lib/bytes.ts';
import { ok, sgxCode, why, type Code, type LeafResult } from '../../lib/outcome.ts';
import type { EpcIndex } from '../../lib/units.ts';
import { AesCmac } from '../aes-cmac.ts';
import { checkEpcPage, checkNotInitialised, checkType } from '../checks.ts';
import { einitTokenKey, isBeyondCpuSvn } from '../keys.ts';
import type { Processor } from '../processor.ts';
import type { SecsPage } from '../secs.ts';
import { checkSignature, checkSigStructFormat, mrSigner as signerOf, SIGNATURE_PADDING } from '../sigstruct.ts';

/** Bytes of an EINITTOKEN under its MAC. */
const EINITTOKEN_MACED_BYTES = 192;
const RESIGN = 'build and sign again, or find what was loaded differently';

/**
 * @param sigStruct 1808 bytes
 * @param einitToken 304 bytes; VALID=0 where launch control goes by the LEPUBKEYHASH MSRs
 *
 * #PF: `secsIndex` is not in the EPC or no valid SECS. #GP: already initialized.
 * SGX_INVALID_SIG_STRUCT, SGX_UNMASKED_EVENT, SGX_INVALID_SIGNATURE, SGX_INVALID_MEASUREMENT, SGX_INVALID_ATTRIBUTE,
 * SGX_INVALID_EINITTOKEN, SGX_INVALID_CPUSVN: the enclave is as it was and may go on being built.
 */
export function einit(cpu: Processor, sigStruct: Uint8Array, secsIndex: EpcIndex, einitToken: Uint8Array): LeafResult {
  const refused =
    checkEpcPage(cpu, secsIndex, 'RCX') ??
    checkSigStructFormat(sigStruct) ??
    checkEvents(cpu) ??
    checkSignature(sigStruct) ??
    checkType(cpu, secsIndex, PageType.SECS, 'RCX');
  if (refused) return refused;
  const secs = cpu.secs(secsIndex);
  const initialised = checkNotInitialised(secs);
  if (initialised) return initialised;

  const mrEnclave = secs.measurement!.current();
  const mrSigner = signerOf(sigStruct);
  const denied =
    checkFamily(secs, sigStruct) ??
    checkMeasurement(sigStruct, mrEnclave) ??
    checkLaunchKey(cpu, secs, mrSigner) ??
    checkAttributes(secs, sigStruct) ??
    checkLaunchControl(cpu, secs, einitToken, mrEnclave, mrSigner);
  if (denied) return denied;

  commit(secs, sigStruct, mrEnclave, mrSigner);
  return ok();
}

function checkEvents(cpu: Processor): Code | undefined {
  if (!cpu.eventPending()) return undefined;
  return sgxCode(SgxCode.SGX_UNMASKED_EVENT, why('no interrupt is pending', 'none', 'one', 'run EINIT again'));
}

function checkFamily(secs: SecsPage, sigStruct: Uint8Array): Code | undefined {
  if ((secs.fields.attributes & Attributes.mask.KSS) !== 0n) return undefined;
  const { isvFamilyId, isvExtProdId } = SigStruct.view(sigStruct);
  if (isZero(isvFamilyId) && isZero(isvExtProdId)) return undefined;
  return sgxCode(
    SgxCode.SGX_INVALID_SIG_STRUCT,
    why(
      'SIGSTRUCT.ISVFAMILYID and ISVEXTPRODID are 0 without ATTRIBUTES.KSS',
      'KSS or zeros',
      `ISVFAMILYID=${toHex(isvFamilyId)} ISVEXTPRODID=${toHex(isvExtProdId)}`,
    ),
  );
}

function checkMeasurement(sigStruct: Uint8Array, mrEnclave: Uint8Array): Code | undefined {
  const { enclaveHash } = SigStruct.view(sigStruct);
  if (equalBytes(enclaveHash, mrEnclave)) return undefined;
  return sgxCode(
    SgxCode.SGX_INVALID_MEASUREMENT,
    why('SIGSTRUCT.ENCLAVEHASH is MRENCLAVE', toHex(enclaveHash), toHex(mrEnclave), RESIGN),
  );
}

/** An enclave that may make EINITTOKENs must come from the owner of the launch key. */
function checkLaunchKey(cpu: Processor, secs: SecsPage, mrSigner: Uint8Array): Code | undefined {
  if ((secs.fields.attributes & Attributes.mask.EINITTOKENKEY) === 0n || equalBytes(mrSigner, cpu.lePubKeyHash)) {
    return undefined;
  }
  return sgxCode(
    SgxCode.SGX_INVALID_ATTRIBUTE,
    why('with ATTRIBUTES.EINITTOKENKEY, MRSIGNER is IA32_SGXLEPUBKEYHASH', toHex(cpu.lePubKeyHash), toHex(mrSigner)),
  );
}

/** The enclave is what its signer allows: under the masks, SECS and SIGSTRUCT say the same. */
function checkAttributes(secs: SecsPage, sigStruct: Uint8Array): Code | undefined {
  const sig = SigStruct.view(sigStruct);
  const { attributes, xfrm, miscSelect } = secs.fields;
  const unequal = (name: string, wanted: string, found: string, mask: string) =>
    sgxCode(
      SgxCode.SGX_INVALID_ATTRIBUTE,
      why(`SECS.${name} is SIGSTRUCT.${name} under its mask`, wanted, found, `the signer enforces ${mask}`),
    );
  const flagsMask = sig.attributeMask;
  if ((attributes & flagsMask) !== (sig.attributes & flagsMask)) {
    const { format } = Attributes;
    return unequal('ATTRIBUTES', format(sig.attributes & flagsMask), format(attributes & flagsMask), format(flagsMask));
  }
  if ((xfrm & sig.xfrmMask) !== (sig.xfrm & sig.xfrmMask)) {
    const { format } = Xfrm;
    return unequal('XFRM', format(sig.xfrm & sig.xfrmMask), format(xfrm & sig.xfrmMask), format(sig.xfrmMask));
  }
  if ((miscSelect & sig.miscMask) !== (sig.miscSelect & sig.miscMask)) {
    const { format } = MiscSelect;
    const masked = (value: number) => format((value & sig.miscMask) >>> 0);
    return unequal('MISCSELECT', masked(sig.miscSelect), masked(miscSelect), format(sig.miscMask));
  }
  const cetFound = secs.fields.cetAttributes & sig.cetAttributesMask;
  const cetWanted = sig.cetAttributes & sig.cetAttributesMask;
  if (cetFound !== cetWanted) {
    return unequal('CET_ATTRIBUTES', `${cetWanted}`, `${cetFound}`, `${sig.cetAttributesMask}`);
  }
  return undefined;
}

/** May this signer's enclaves run? By the MSRs, or by a token that a launch enclave made. */
function checkLaunchControl(
  cpu: Processor,
  secs: SecsPage,
  tokenBytes: Uint8Array,
  mrEnclave: Uint8Array,
  mrSigner: Uint8Array,
): Code | undefined {
  const token = EinitToken.view(tokenBytes);
  const invalid = (check: string, expected: string, found: string, advice?: string) =>
    sgxCode(SgxCode.SGX_INVALID_EINITTOKEN, why(check, expected, found, advice));
  if ((token.valid & 1) === 0) {
    if (equalBytes(mrSigner, cpu.lePubKeyHash)) return undefined;
    return invalid(
      'without an EINITTOKEN, MRSIGNER is IA32_SGXLEPUBKEYHASH',
      toHex(cpu.lePubKeyHash),
      toHex(mrSigner),
      'the kernel writes the MSRs before EINIT where the processor has flexible launch control',
    );
  }

  const debug = (secs.fields.attributes & Attributes.mask.DEBUG) !== 0n;
  if ((token.maskedAttributesLe & Attributes.mask.DEBUG) !== 0n && !debug) {
    return invalid('a debug launch enclave launches debug enclaves only', 'ATTRIBUTES.DEBUG', 'a production enclave');
  }
  const dirty = EinitToken.firstNonzeroReserved(tokenBytes);
  if (dirty) return invalid('EINITTOKEN reserved fields are zero', '0', `byte ${dirty.offset} is not`);
  if (token.valid !== 1) return invalid('EINITTOKEN.VALID bits 31:1 are zero', '1', `${token.valid}`);
  if (isBeyondCpuSvn(cpu, token.cpuSvnLe)) {
    return sgxCode(
      SgxCode.SGX_INVALID_CPUSVN,
      why('EINITTOKEN.CPUSVNLE is not beyond the current CPUSVN', toHex(cpu.fuses.cpuSvn), toHex(token.cpuSvnLe)),
    );
  }
  const mac = new AesCmac(einitTokenKey(cpu, tokenBytes)).mac(tokenBytes.subarray(0, EINITTOKEN_MACED_BYTES));
  if (!equalBytes(mac, token.mac)) {
    return invalid("EINITTOKEN.MAC is one of this processor's", toHex(mac), toHex(token.mac));
  }
  const otherEnclave = !equalBytes(token.mrEnclave, mrEnclave);
  if (otherEnclave || !equalBytes(token.mrSigner, mrSigner)) {
    const [wanted, found] = otherEnclave ? [token.mrEnclave, mrEnclave] : [token.mrSigner, mrSigner];
    return sgxCode(
      SgxCode.SGX_INVALID_MEASUREMENT,
      why(`EINITTOKEN is for this ${otherEnclave ? 'MRENCLAVE' : 'MRSIGNER'}`, toHex(wanted), toHex(found)),
    );
  }
  if (token.attributes !== secs.fields.attributes || token.xfrm !== secs.fields.xfrm) {
    return sgxCode(
      SgxCode.SGX_INVALID_ATTRIBUTE,
      why(
        'EINITTOKEN is for these ATTRIBUTES',
        `${Attributes.format(token.attributes)}, XFRM ${Xfrm.format(token.xfrm)}`,
        `${Attributes.format(secs.fields.attributes)}, XFRM ${Xfrm.format(secs.fields.xfrm)}`,
      ),
    );
  }
  return undefined;
}

function commit(secs: SecsPage, sigStruct: Uint8Array, mrEnclave: Uint8Array, mrSigner: Uint8Array): void {
  const sig = SigStruct.view(sigStruct);
  const { fields, hidden } = secs;
  fields.mrEnclave = mrEnclave;
  fields.mrSigner = mrSigner;
  fields.isvProdId = sig.isvProdId;
  fields.isvSvn = sig.isvSvn;
  hidden.isvFamilyId = sig.isvFamilyId;
  hidden.isvExtProdId = sig.isvExtProdId;
  hidden.padding = SIGNATURE_PADDING;
  fields.attributes |= Attributes.mask.INIT;
  secs.measurement!.end();
  secs.measurement = undefined;
}
