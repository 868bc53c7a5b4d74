/**
 * EREPORT: a statement of who the enclave is, that one other enclave on this processor can verify.
 * Spec: SDM "EREPORT - Create a Cryptographic Report of the Enclave".
 */
import { Report, REPORT_DATA_BYTES, REPORT_MACED_BYTES, TargetInfo } from '../../abi/sgx-arch.ts';
import { generalProtection, ok, why, type Fault, type LeafResult } from '../../lib/outcome.ts';
import { AesCmac } from '../aes-cmac.ts';
import { reportKey } from '../keys.ts';
import type { Processor } from '../processor.ts';
import type { SecsPage } from '../secs.ts';
import { checkOperand, type EnclaveAccess } from './access.ts';
import { readEnclave, writeEnclave } from './enclave-memory.ts';

/**
 * Writes a REPORT for the enclave in the TARGETINFO at `rbx`, with the 64 bytes at `rcx`, to the 432 bytes at `rdx`.
 *
 * #GP: alignment, an operand outside ELRANGE, reserved fields of TARGETINFO. #PF: an operand is not present or mapped
 * read-only (error code without SGX), or the EPCM forbids its use. A TARGETINFO that fits no enclave is no error.
 */
export function ereport(cpu: Processor, access: EnclaveAccess, rbx: number, rcx: number, rdx: number): LeafResult {
  const untargeted = checkOperand(cpu, access, rbx, { name: 'RBX', alignBytes: TargetInfo.alignBytes });
  if (untargeted) return untargeted;
  const targetBytes = readEnclave(cpu, access.secs, rbx, TargetInfo.sizeBytes);
  const refused =
    checkReserved(targetBytes) ??
    checkOperand(cpu, access, rcx, { name: 'RCX', alignBytes: 128 }) ??
    checkOperand(cpu, access, rdx, { name: 'RDX', alignBytes: Report.alignBytes, written: true });
  if (refused) return refused;

  const report = describeEnclave(cpu, cpu.secs(access.secs), readEnclave(cpu, access.secs, rcx, REPORT_DATA_BYTES));
  const key = reportKey(cpu, TargetInfo.view(targetBytes), cpu.reportKeyId);
  Report.view(report).mac = new AesCmac(key).mac(report.subarray(0, REPORT_MACED_BYTES));
  writeEnclave(cpu, access.secs, rdx, report);
  return ok();
}

/** No profile offers CET, so its field counts as reserved. */
function checkReserved(bytes: Uint8Array): Fault | undefined {
  const refuse = (found: string) => generalProtection(why('TARGETINFO reserved fields are zero', '0', found));
  const dirty = TargetInfo.firstNonzeroReserved(bytes);
  if (dirty) return refuse(`byte ${dirty.offset} is not`);
  return TargetInfo.view(bytes).cetAttributes === 0 ? undefined : refuse('CET_ATTRIBUTES is not');
}

/** The whole REPORT but its MAC. */
function describeEnclave(cpu: Processor, { fields, hidden }: SecsPage, reportData: Uint8Array): Uint8Array {
  return Report.encode({
    cpuSvn: cpu.fuses.cpuSvn,
    miscSelect: fields.miscSelect,
    isvExtProdId: hidden.isvExtProdId,
    attributes: fields.attributes,
    xfrm: fields.xfrm,
    mrEnclave: fields.mrEnclave,
    mrSigner: fields.mrSigner,
    configId: fields.configId,
    isvProdId: fields.isvProdId,
    isvSvn: fields.isvSvn,
    configSvn: fields.configSvn,
    isvFamilyId: hidden.isvFamilyId,
    reportData,
    keyId: cpu.reportKeyId,
  });
}
