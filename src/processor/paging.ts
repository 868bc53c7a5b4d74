/**
 * The seal around an evicted page: AES-128-GCM whose IV is the version in the VA slot, so that an old copy cannot
 * come back, and whose additional data bind the page to its enclave, its address and its EPCM entry.
 * Spec: SDM "EWB" and "ELDB/ELDU", the MAC header.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';

import { layout, reserved, u64 } from '../lib/layout.ts';

export const MAC_BYTES = 16;
const ALGORITHM = 'aes-128-gcm';
const IV_BYTES = 12;

/** SDM "MAC header" of EWB: EID and linear address (both 0 for SECS and VA pages), and the SECINFO of the PCMD. */
const PagingHeader = layout(
  'PAGING_HEADER',
  128,
  { source: 'SDM "EWB", TMP_HEADER' },
  {
    enclaveId: u64(0, 'EID'),
    linAddr: u64(8, ''),
    reserved1: reserved(16, 48),
    flags: u64(64, 'SECINFO.FLAGS'),
    reserved2: reserved(72, 56),
  },
);

export interface PageIdentity {
  readonly enclaveId: bigint;
  readonly linAddr: bigint;
  /** SECINFO.FLAGS: type, rights, PENDING, MODIFIED, PR. */
  readonly flags: bigint;
}

export function sealPage(
  key: Uint8Array,
  version: bigint,
  identity: PageIdentity,
  page: Uint8Array,
): { sealed: Uint8Array; mac: Uint8Array } {
  const cipher = createCipheriv(ALGORITHM, key, iv(version)).setAAD(header(identity));
  const sealed = cipher.update(page);
  cipher.final();
  return { sealed, mac: cipher.getAuthTag() };
}

/** The page's bytes, or undefined when anything about it is not as it was sealed. */
export function openPage(
  key: Uint8Array,
  version: bigint,
  identity: PageIdentity,
  sealed: Uint8Array,
  mac: Uint8Array,
): Uint8Array | undefined {
  const decipher = createDecipheriv(ALGORITHM, key, iv(version), { authTagLength: MAC_BYTES });
  decipher.setAAD(header(identity)).setAuthTag(mac);
  const page = decipher.update(sealed);
  try {
    decipher.final();
  } catch {
    return undefined; // node:crypto says "does not authenticate" by throwing
  }
  return page;
}

function iv(version: bigint): Uint8Array {
  const bytes = Buffer.alloc(IV_BYTES);
  bytes.writeBigUInt64LE(version);
  return bytes;
}

function header({ enclaveId, linAddr, flags }: PageIdentity): Uint8Array {
  const bytes = new Uint8Array(PagingHeader.sizeBytes);
  const view = PagingHeader.view(bytes); // not `encode`, whose checks take longer than the rest of EWB
  view.enclaveId = enclaveId;
  view.linAddr = linAddr;
  view.flags = flags;
  return bytes;
}
