// Enclaves for the bench: a TCS, its save area, a few instructions, a page of operands, and in a large one more pages;
// signed with a key of the moment.

import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { KeyName, KeyRequest, PageType, SecInfo, SecInfoFlags, Tcs } from '../src/abi/sgx-arch.ts';
import { bcdDate, newSigningKey, readSigningKey, signSigStruct } from '../src/formats/sigstruct.ts';
import { clone } from './batch-program.ts';

const PAGE_BYTES = 4096;
const CHUNK_BYTES = 256;

/** Executes leaf RSI with RBX = R8, RCX = R9 and RDX, RDI times, then leaves. */
const CODE = Buffer.from(
  [
    '4989ca', //       mov r10, rcx   where EENTER came from
    '4885ff', // next: test rdi, rdi
    '7410', //         jz out
    '89f0', //         mov eax, esi
    '4c89c3', //       mov rbx, r8
    '4c89c9', //       mov rcx, r9
    '0f01d7', //       enclu
    '48ffcf', //       dec rdi
    'ebeb', //         jmp next
    '4c89d3', // out:  mov rbx, r10
    'b804000000', //   mov eax, 4     EEXIT
    '0f01d7', //       enclu
  ].join(''),
  'hex',
);
/** Where bench/native/enclave.c finds the operands in their page; the others are zero, and outputs. */
const KEY_REQUEST_OFFSET = 0;

interface Page {
  readonly flags: number;
  readonly content: Uint8Array;
}

/** What an enclave consists of. */
export interface EnclaveSize {
  readonly elrangeBytes: number;
  /** Measured; the rest of a large enclave is heap that is not. */
  readonly measuredPages: number;
  readonly heapPages: number;
}

const SMALLEST: EnclaveSize = { elrangeBytes: 4 * PAGE_BYTES, measuredPages: 4, heapPages: 0 };

function imagePages(count: number): Page[] {
  const tcs = Tcs.encode({
    ossa: BigInt(PAGE_BYTES),
    nssa: 1,
    oentry: BigInt(2 * PAGE_BYTES),
    fsLimit: 0xfff,
    gsLimit: 0xfff,
  });
  const code = Buffer.alloc(PAGE_BYTES);
  CODE.copy(code);
  const operands = Buffer.alloc(PAGE_BYTES);
  operands.set(KeyRequest.encode({ keyName: KeyName.SEAL, keyPolicy: 1 }), KEY_REQUEST_OFFSET);
  const regular = PageType.REG << 8;
  const { R, W, X } = SecInfoFlags.bit;
  return [
    { flags: PageType.TCS << 8, content: tcs },
    { flags: regular | R | W, content: Buffer.alloc(PAGE_BYTES) },
    { flags: regular | R | X, content: code },
    { flags: regular | R | W, content: operands },
    ...Array.from({ length: count - 4 }, () => ({ flags: regular | R | X, content: Buffer.alloc(PAGE_BYTES, 0x5a) })),
  ];
}

/** MRENCLAVE by the SDM's text alone, so that a bench that runs has also checked the measurement. */
function measure(image: readonly Page[], { elrangeBytes, heapPages }: EnclaveSize): Uint8Array {
  const hash = createHash('sha256');
  const record = (tag: string, fill: (block: Buffer) => void): void => {
    const block = Buffer.alloc(64);
    block.write(tag, 'ascii');
    fill(block);
    hash.update(block);
  };
  record('ECREATE', (block) => {
    block.writeUInt32LE(1, 8);
    block.writeBigUInt64LE(BigInt(elrangeBytes), 12);
  });
  const add = (index: number, flags: number): void =>
    record('EADD', (block) => {
      block.writeBigUInt64LE(BigInt(index * PAGE_BYTES), 8);
      block.set(SecInfo.encode({ flags: BigInt(flags) }).subarray(0, 48), 16);
    });
  image.forEach(({ flags, content }, index) => {
    add(index, flags);
    for (let offset = 0; offset < PAGE_BYTES; offset += CHUNK_BYTES) {
      record('EEXTEND', (block) => block.writeBigUInt64LE(BigInt(index * PAGE_BYTES + offset), 8));
      hash.update(content.subarray(offset, offset + CHUNK_BYTES));
    }
  });
  const { R, W } = SecInfoFlags.bit;
  for (let index = 0; index < heapPages; index++) add(image.length + index, (PageType.REG << 8) | R | W);
  return hash.digest();
}

/** Writes the measured pages and the SIGSTRUCT; returns their paths, as enclave.c takes them. */
export function writeEnclave(size: EnclaveSize = SMALLEST): [image: string, sigStruct: string] {
  const folder = path.join(clone, '.cache', 'bench');
  mkdirSync(folder, { recursive: true });
  const image = imagePages(size.measuredPages);
  const key = readSigningKey(newSigningKey(), 'the bench');
  const signed = signSigStruct({ date: bcdDate(new Date()), enclaveHash: measure(image, size) }, key);
  const files: [string, string] = [
    path.join(folder, `enclave-${size.elrangeBytes}.image`),
    path.join(folder, `enclave-${size.elrangeBytes}.sig`),
  ];
  writeFileSync(files[0], Buffer.concat(image.map((page) => page.content)));
  writeFileSync(files[1], signed);
  return files;
}
