// The example without a machine: what gcc makes of it, measured and signed, is accepted by the processor model.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { SecInfo, Secs, SgxCode } from '../../src/abi/sgx-arch.ts';
import { measure } from '../../src/cli/measure.ts';
import { sigStructBody } from '../../src/cli/sign.ts';
import { Elf } from '../../src/formats/elf.ts';
import { buildSteps, readEnclaveImage, type EnclaveImage } from '../../src/formats/enclave-image.ts';
import { mrSigner, newSigningKey, readSigningKey, signSigStruct } from '../../src/formats/sigstruct.ts';
import { toHex } from '../../src/lib/bytes.ts';
import type { LeafResult } from '../../src/lib/outcome.ts';
import { epcIndex } from '../../src/lib/units.ts';
import { eadd } from '../../src/processor/encls/eadd.ts';
import { ecreate } from '../../src/processor/encls/ecreate.ts';
import { eextendPage } from '../../src/processor/encls/eextend.ts';
import { einit } from '../../src/processor/encls/einit.ts';
import type { Processor } from '../../src/processor/processor.ts';
import { testProcessor } from '../../src/processor/testing/processor.ts';

const example = path.join(import.meta.dirname, '..', '..', 'examples', 'hello-enclave');
const build = mkdtempSync(path.join(tmpdir(), 'vitrine-hello-'));
const elfPath = path.join(build, 'enclave.elf');
let image: EnclaveImage;

beforeAll(() => {
  const targets = [elfPath, path.join(build, 'host')];
  const made = spawnSync('make', ['-C', example, `BUILD=${build}`, ...targets], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`make: ${made.stderr}`);
  image = readEnclaveImage(readFileSync(elfPath), elfPath);
});
afterAll(() => rmSync(build, { recursive: true }));

const BASE = 0x7f00_0000_0000;
const SECS_PAGE = epcIndex(0);

/** Does what a loader does, by way of the leaves, with a bit of the page at `tamperOffset` flipped. */
function load(cpu: Processor, tamperOffset?: number): void {
  const done = (result: LeafResult) => expect(result).toMatchObject({ kind: 'ok' });
  const { ssaFrameSize, miscSelect, attributes, xfrm } = image;
  let page = 1;
  for (const step of buildSteps(image)) {
    if (step.kind === 'ecreate') {
      const srcPage = Secs.encode({
        size: BigInt(step.sizeBytes),
        baseAddr: BigInt(BASE),
        ssaFrameSize,
        miscSelect,
        attributes,
        xfrm,
      });
      done(ecreate(cpu, { linAddr: 0n, srcPage, secInfo: SecInfo.encode({}), secs: 0n }, SECS_PAGE));
      continue;
    }
    const srcPage = step.content.slice();
    if (step.offset === tamperOffset) srcPage[4095]! ^= 1;
    const secInfo = SecInfo.encode({ flags: BigInt(step.secInfoFlags) });
    done(eadd(cpu, { linAddr: BASE + step.offset, srcPage, secInfo, secs: SECS_PAGE }, epcIndex(page)));
    if (step.measured) done(eextendPage(cpu, SECS_PAGE, epcIndex(page)));
    page++;
  }
}

/** Signs the image and lets the processor judge, with launch control open to this signer as Linux does it. */
function initialise(cpu: Processor): LeafResult {
  const key = readSigningKey(newSigningKey(), 'new key');
  const body = sigStructBody(image, { isvProdId: 1, isvSvn: 2, date: new Date('2026-01-31'), debug: true });
  cpu.lePubKeyHash.set(mrSigner(key.modulus()));
  return einit(cpu, signSigStruct(body, key), SECS_PAGE, new Uint8Array(304));
}

describe('examples/hello-enclave', () => {
  it('is built by gcc and make into an enclave of known shape', () => {
    expect(image).toMatchObject({ sizeBytes: 0x20000, ssaFrameSize: 1, attributes: 4n, xfrm: 3n });
    expect(image.areas.map(({ name }) => name).filter((name) => !name.startsWith('segment'))).toEqual([
      'stack 0',
      'TCS 0',
      'SSA 0',
    ]);
  });

  it('enters at the symbol that entry.S defines', () => {
    const elf = new Elf(readFileSync(elfPath), elfPath);
    expect(elf.symbol('enclave_entry')?.address).toBe(elf.entry);
  });

  it('is measured as the SDM describes it', () => {
    const hash = createHash('sha256');
    const block = (name: string, fill: (data: DataView) => void) => {
      const bytes = new Uint8Array(64);
      bytes.set(Buffer.from(name));
      fill(new DataView(bytes.buffer));
      hash.update(bytes);
    };
    for (const step of buildSteps(image)) {
      if (step.kind === 'ecreate') {
        block('ECREATE', (data) => {
          data.setUint32(8, step.ssaFrameSize, true);
          data.setBigUint64(12, BigInt(step.sizeBytes), true);
        });
        continue;
      }
      block('EADD', (data) => {
        data.setBigUint64(8, BigInt(step.offset), true);
        data.setBigUint64(16, BigInt(step.secInfoFlags), true);
      });
      for (let at = 0; step.measured && at < 4096; at += 256) {
        block('EEXTEND', (data) => data.setBigUint64(8, BigInt(step.offset + at), true));
        hash.update(step.content.subarray(at, at + 256));
      }
    }
    expect(toHex(measure(image))).toBe(hash.digest('hex'));
  });

  it('is accepted by EINIT with a signature of ours', () => {
    const { cpu } = testProcessor();
    load(cpu);
    expect(initialise(cpu)).toMatchObject({ kind: 'ok' });
    expect(cpu.secs(SECS_PAGE).fields).toMatchObject({ isvProdId: 1, isvSvn: 2 });
    expect(toHex(cpu.secs(SECS_PAGE).fields.mrEnclave)).toBe(toHex(measure(image)));
  });

  it('is refused by EINIT with SGX_INVALID_MEASUREMENT when one bit differs', () => {
    const { cpu } = testProcessor();
    load(cpu, 0x1000);
    expect(initialise(cpu)).toMatchObject({ kind: 'code', code: SgxCode.SGX_INVALID_MEASUREMENT });
  });

  it('has a host that says what is missing when the enclave was not signed', () => {
    const { status, stderr } = spawnSync(path.join(build, 'host'), { encoding: 'utf8' });
    expect(status).toBe(1);
    expect(stderr).toContain(`${build}/enclave.sigstruct (build it with make): No such file or directory`);
  });
});
