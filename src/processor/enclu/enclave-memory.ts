/** Reads and writes of a leaf at linear addresses of an enclave whose pages it has already checked. */
import { pageOf, PAGE_SIZE_BYTES, type EpcIndex } from '../../lib/units.ts';
import { Tcs } from '../../abi/sgx-arch.ts';
import type { Processor } from '../processor.ts';

export function readEnclave(cpu: Processor, secs: EpcIndex, address: number, lengthBytes: number): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  forEachPage(address, lengthBytes, (at, offset, length) => {
    cpu.contents.read(secs, pageOf(at), at % PAGE_SIZE_BYTES, bytes.subarray(offset, offset + length));
  });
  return bytes;
}

export function writeEnclave(cpu: Processor, secs: EpcIndex, address: number, bytes: Uint8Array): void {
  forEachPage(address, bytes.length, (at, offset, length) => {
    cpu.contents.write(secs, pageOf(at), at % PAGE_SIZE_BYTES, bytes.subarray(offset, offset + length));
  });
}

/** The bytes of a TCS that are fields; the rest is reserved and zero. */
const TCS_FIELD_BYTES = 88;

/** Changes fields of a TCS in the EPC. */
export function updateTcs(
  cpu: Processor,
  secs: EpcIndex,
  address: number,
  change: Partial<Pick<Tcs, 'state' | 'cssa' | 'aep'>>,
): void {
  const bytes = new Uint8Array(Tcs.sizeBytes);
  cpu.contents.read(secs, pageOf(address), 0, bytes.subarray(0, TCS_FIELD_BYTES));
  Object.assign(Tcs.view(bytes), change);
  cpu.contents.write(secs, pageOf(address), 0, bytes.subarray(0, TCS_FIELD_BYTES));
}

function forEachPage(
  address: number,
  lengthBytes: number,
  visit: (at: number, offset: number, length: number) => void,
): void {
  for (let offset = 0; offset < lengthBytes;) {
    const at = address + offset;
    const length = Math.min(lengthBytes - offset, PAGE_SIZE_BYTES - (at % PAGE_SIZE_BYTES));
    visit(at, offset, length);
    offset += length;
  }
}
