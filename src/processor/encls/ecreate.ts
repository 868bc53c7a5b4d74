/**
 * ECREATE: make an SECS, and with it an enclave.
 * Spec: SDM "ECREATE - Create an SECS page in the Enclave Page Cache".
 */
import { Attributes, Gprsgx, Exinfo, MiscSelect, PageType, Secs, Xfrm, pageTypeName } from '../../abi/sgx-arch.ts';
import { generalProtection, ok, why, type LeafResult } from '../../lib/outcome.ts';
import { linPage, PAGE_SIZE_BYTES, type EpcIndex } from '../../lib/units.ts';
import { checkEpcPage, checkSecInfoReserved, checkUnused, flagsOf, hex, typeOf } from '../checks.ts';
import { isCanonical } from '../canonical.ts';
import { Measurement } from '../measurement.ts';
import type { Processor } from '../processor.ts';
import { SecsPage } from '../secs.ts';
import { illegalXfrm } from '../xsave.ts';

export interface EcreateOperands {
  /** PAGEINFO.LINADDR, must be 0. */
  readonly linAddr: bigint;
  /** The SECS, 4096 bytes; copied. */
  readonly srcPage: Uint8Array;
  /** 64 bytes. */
  readonly secInfo: Uint8Array;
  /** PAGEINFO.SECS, must be 0. */
  readonly secs: bigint;
}

/**
 * Makes `page` the SECS of a new enclave. Faults:
 * #PF: `page` is not in the EPC or in use. #GP: everything else.
 */
export function ecreate(cpu: Processor, operands: EcreateOperands, page: EpcIndex): LeafResult {
  const refused =
    checkEpcPage(cpu, page, 'the destination') ??
    checkPageInfo(operands) ??
    checkSecInfoReserved(operands.secInfo) ??
    checkSecInfoType(operands.secInfo) ??
    checkUnused(cpu, page) ??
    checkSecs(cpu, operands.srcPage);
  if (refused) return refused;

  const secs = new SecsPage(page, operands.srcPage.slice());
  const { fields, hidden } = secs;
  fields.mrEnclave.fill(0);
  fields.mrSigner.fill(0);
  fields.isvProdId = 0;
  fields.isvSvn = 0;
  hidden.enclaveId = cpu.takeEnclaveId();
  secs.epoch = 1;
  secs.measurement = new Measurement(cpu.sha256());
  secs.measurement.create(fields.ssaFrameSize, secs.sizeBytes);
  cpu.secsPages.set(page, secs);
  cpu.epcm.add(page, PageType.SECS << 8, page, linPage(0));
  return ok();
}

function checkPageInfo({ linAddr, secs }: EcreateOperands) {
  if (linAddr !== 0n) return generalProtection(why('PAGEINFO.LINADDR is 0', '0', hex(linAddr)));
  if (secs !== 0n) return generalProtection(why('PAGEINFO.SECS is 0', '0', hex(secs)));
  return undefined;
}

function checkSecInfoType(secInfo: Uint8Array) {
  const type = typeOf(flagsOf(secInfo));
  if (type === PageType.SECS) return undefined;
  return generalProtection(why('SECINFO.FLAGS.PT is PT_SECS', 'PT_SECS', pageTypeName(type)));
}

function checkSecs(cpu: Processor, bytes: Uint8Array) {
  const secs = Secs.view(bytes);
  const { size, baseAddr, attributes, xfrm, miscSelect, ssaFrameSize } = secs;
  const { profile } = cpu;
  const X87_SSE = Xfrm.mask.X87 | Xfrm.mask.SSE;
  if ((xfrm & X87_SSE) !== X87_SSE) {
    return generalProtection(why('SECS.XFRM has X87 and SSE', Xfrm.format(X87_SSE), Xfrm.format(xfrm)));
  }
  const illegal = illegalXfrm(xfrm, profile.xfrm);
  if (illegal) return generalProtection(illegal);

  // CET is not offered by any profile, so its fields count as reserved.
  if (secs.cetLegBitmapOffset !== 0n) {
    return generalProtection(why('SECS.CET_LEG_BITMAP_OFFSET is 0 without CET', '0', hex(secs.cetLegBitmapOffset)));
  }
  if (secs.cetAttributes !== 0) {
    return generalProtection(why('SECS.CET_ATTRIBUTES is 0 without CET', '0', hex(secs.cetAttributes)));
  }

  if ((miscSelect & ~profile.miscSelect) !== 0) {
    return generalProtection(
      why(
        'SECS.MISCSELECT is supported',
        `a part of ${MiscSelect.format(profile.miscSelect)}`,
        MiscSelect.format(miscSelect),
        'CPUID.12H.0:EBX shows what is supported',
      ),
    );
  }
  const miscBytes = (miscSelect & MiscSelect.bit.EXINFO) === 0 ? 0 : Exinfo.sizeBytes;
  const frameBytes = profile.xsaveSizeBytes(xfrm) + miscBytes + Gprsgx.sizeBytes;
  if (ssaFrameSize * PAGE_SIZE_BYTES < frameBytes) {
    return generalProtection(
      why(
        'SECS.SSAFRAMESIZE holds XSAVE area, MISC and GPRSGX',
        `${Math.ceil(frameBytes / PAGE_SIZE_BYTES)} pages for ${frameBytes} bytes`,
        `${ssaFrameSize}`,
      ),
    );
  }

  const mode64 = (attributes & Attributes.mask.MODE64BIT) !== 0n;
  if (mode64 && !isCanonical(baseAddr)) {
    return generalProtection(why('SECS.BASEADDR is canonical', 'a canonical address', hex(baseAddr)));
  }
  if (!mode64 && baseAddr >> 32n !== 0n) {
    return generalProtection(
      why('SECS.BASEADDR of a 32-bit enclave is below 4 GiB', 'less than 0x100000000', hex(baseAddr)),
    );
  }
  const maxLog2 = mode64 ? profile.maxEnclaveSizeLog2_64 : profile.maxEnclaveSizeLog2_32;
  if (size >> BigInt(maxLog2) !== 0n) {
    return generalProtection(
      why('SECS.SIZE is below the largest enclave size (CPUID.12H.0:EDX)', `less than 2^${maxLog2}`, hex(size)),
    );
  }
  if (size < 2n * BigInt(PAGE_SIZE_BYTES) || (size & (size - 1n)) !== 0n) {
    return generalProtection(
      why('SECS.SIZE is a power of two of at least two pages', 'a power of two from 0x2000', hex(size)),
    );
  }
  if ((baseAddr & (size - 1n)) !== 0n) {
    return generalProtection(
      why(
        'SECS.BASEADDR is aligned to SECS.SIZE',
        `a multiple of ${hex(size)}`,
        hex(baseAddr),
        'reserve twice the size and trim',
      ),
    );
  }
  if ((attributes & ~profile.attributes) !== 0n) {
    return generalProtection(
      why(
        'SECS.ATTRIBUTES is supported',
        `a part of ${Attributes.format(profile.attributes)}`,
        Attributes.format(attributes),
        'CPUID.12H.1:EBX:EAX shows what is supported; INIT is set by EINIT alone',
      ),
    );
  }
  const dirty = Secs.firstNonzeroReserved(bytes);
  if (dirty) return generalProtection(why('SECS reserved fields are zero', '0', `byte ${dirty.offset} is not`));
  if ((attributes & Attributes.mask.KSS) === 0n) {
    if (secs.configSvn !== 0 || secs.configId.some((byte) => byte !== 0)) {
      return generalProtection(
        why('CONFIGID and CONFIGSVN are 0 without ATTRIBUTES.KSS', 'KSS or zeros', Attributes.format(attributes)),
      );
    }
  }
  return undefined;
}
