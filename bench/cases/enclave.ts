// Entering and leaving an enclave, an ioctl, and building with measurement, each under `vitrine run`.

import { createHash } from 'node:crypto';
import { AesCmac } from '../../src/processor/aes-cmac.ts';
import { batchProgram, inProcess, nativeProgram, vitrineRun, type Measure } from '../batch-program.ts';
import type { BenchCase } from '../case.ts';
import { writeEnclave } from '../enclave-image.ts';

const microseconds = (nanoseconds: number): number => nanoseconds / 1e3;
const perSecond = (nanoseconds: number): number => 1e9 / nanoseconds;

function enclaveProgram(mode: 'calls' | 'ioctls' | 'keys' | 'reports'): Measure {
  return batchProgram([...vitrineRun, nativeProgram('enclave'), mode, ...writeEnclave()]);
}

export const encluRoundTrip: BenchCase = {
  name: 'enclu-round-trip',
  summary: 'EENTER and EEXIT through the vDSO, against one bare SIGILL trap',
  unit: 'us',
  rounds: 31,
  bar: { of: 'ratio', is: '<=', limit: 1.25 },
  convert: microseconds,
  subject: () => enclaveProgram('calls'),
  yardstick: () => batchProgram([nativeProgram('sigill')]),
};

export const ioctlRoundTrip: BenchCase = {
  name: 'ioctl-round-trip',
  summary: 'an ioctl there and back, against a ping-pong of two C processes over a Unix socket',
  unit: 'us',
  rounds: 31,
  bar: { of: 'ratio', is: '<=', limit: 2.5 },
  convert: microseconds,
  subject: () => enclaveProgram('ioctls'),
  yardstick: () => batchProgram([nativeProgram('ping-pong')]),
};

/** EGETKEY and EREPORT each take one: of the key's dependencies, of the report's body. */
function cmac(lengthBytes: number): number {
  const key = new AesCmac(new Uint8Array(16).fill(1));
  const message = new Uint8Array(lengthBytes).fill(2);
  const times = 2000;
  const start = performance.now();
  for (let index = 0; index < times; index++) key.mac(message);
  return ((performance.now() - start) * 1e6) / times;
}

function leaf(name: string, mode: 'keys' | 'reports', summary: string): BenchCase {
  return {
    name,
    summary: `${summary} a second inside an enclave, against AES-CMAC of 384 bytes in the host`,
    unit: 'ops/s',
    rounds: 15,
    bar: { of: 'value', is: '>=', limit: 10_000 },
    convert: perSecond,
    subject: () => enclaveProgram(mode),
    yardstick: () => inProcess(() => cmac(384)),
  };
}

export const getKey = leaf('egetkey', 'keys', 'EGETKEY of a seal key');
export const makeReport = leaf('ereport', 'reports', 'EREPORT');

/** What is hashed of a measured page: the EADD block, and 16 EEXTEND blocks with 256 bytes each. */
const HASHED_BYTES_PER_PAGE = 64 + 16 * (64 + 256);
const PAGES = 2048;

function hashPages(): number {
  const page = Buffer.alloc(HASHED_BYTES_PER_PAGE, 0x5a);
  const hash = createHash('sha256');
  const start = performance.now();
  for (let index = 0; index < PAGES; index++) hash.update(page);
  hash.digest();
  return ((performance.now() - start) * 1e6) / PAGES;
}

export const measuredPages: BenchCase = {
  name: 'measured-pages',
  summary: 'measured pages added, against the raw SHA-256 rate of node:crypto over the bytes hashed a page',
  unit: 'pages/s',
  rounds: 15,
  bar: { of: 'ratio', is: '>=', limit: 0.75 },
  convert: perSecond,
  subject: () => batchProgram([...vitrineRun, nativeProgram('enclave'), 'pages']),
  yardstick: () => inProcess(hashPages),
};

const GIBIBYTE_PAGES = 2 ** 30 / 4096;
/** 2 % of the enclave: its code and data. */
const GIBIBYTE_MEASURED_PAGES = 5243;

/** Room for the SECS and the VA pages, too, so that nothing is evicted. */
const largeMachine = [...vitrineRun.slice(0, -1), '--epc', '1100M', '--'];

export const buildGibibyte: BenchCase = {
  name: 'build-1g',
  summary:
    'building and initialising an enclave of 1 GiB, 2 % measured, against the second write of 1 GiB into a memfd',
  unit: 's',
  rounds: 5,
  bar: { of: 'ratio', is: '<=', limit: 3 },
  convert: (nanoseconds) => (nanoseconds * GIBIBYTE_PAGES) / 1e9,
  subject: () =>
    batchProgram([
      ...largeMachine,
      nativeProgram('large-enclave'),
      ...writeEnclave({
        elrangeBytes: 2 ** 30,
        measuredPages: GIBIBYTE_MEASURED_PAGES,
        heapPages: GIBIBYTE_PAGES - GIBIBYTE_MEASURED_PAGES,
      }),
      String(GIBIBYTE_MEASURED_PAGES),
    ]),
  yardstick: () => batchProgram([nativeProgram('memfd-write')]),
};
