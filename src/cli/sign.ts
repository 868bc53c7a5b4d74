/** `vitrine sign ENCLAVE.elf` makes its SIGSTRUCT, `vitrine keygen` a key to do it with. */
import { writeFileSync } from 'node:fs';

import { InvalidArgumentError, type Command } from 'commander';

import { Attributes } from '../abi/sgx-arch.ts';
import type { EnclaveImage } from '../formats/enclave-image.ts';
import {
  bcdDate,
  mrSigner,
  newSigningKey,
  readSigningKey,
  type SigningKey,
  SigningKeyError,
  signSigStruct,
  type SigStructBody,
} from '../formats/sigstruct.ts';
import { toHex } from '../lib/bytes.ts';
import { ExitCode } from './exit-codes.ts';
import { exitCodesHelp, hex, loadEnclave, measure, readInput } from './measure.ts';

interface SignOptions {
  readonly key: string;
  readonly output: string;
  readonly isvProdId: number;
  readonly isvSvn: number;
  readonly date?: Date;
  readonly debug: boolean;
  readonly json?: true;
}

export function registerSign(program: Command): void {
  program
    .command('sign')
    .summary('sign an enclave ELF: writes its SIGSTRUCT')
    .description('Measures an enclave ELF and signs the measurement: the result is what SGX_IOC_ENCLAVE_INIT wants.')
    .argument('<enclave.elf>', 'static-pie ELF with a Vitrine note (examples/common/enclave-layout.h)')
    .requiredOption('--key <key.pem>', 'RSA-3072 private key with public exponent 3; see `vitrine keygen`')
    .requiredOption('--output <enclave.sigstruct>', 'where to write the 1808 bytes')
    .option('--isv-prod-id <number>', 'ISVPRODID, what product this is', u16, 0)
    .option('--isv-svn <number>', 'ISVSVN, its security version', u16, 0)
    .option('--date <yyyy-mm-dd>', 'DATE (default: today)', isoDate)
    .option('--no-debug', 'refuse to start as a debug enclave (default: ATTRIBUTES.DEBUG is left to the loader)')
    .option('--json', 'print one JSON object')
    .addHelpText('after', exitCodesHelp)
    .action((path: string, options: SignOptions, command: Command) => {
      const key = loadKey(command, options.key);
      const image = loadEnclave(command, path);
      const body = sigStructBody(image, options);
      writeOutput(command, options.output, signSigStruct(body, key));
      const identity = { mrEnclave: toHex(body.enclaveHash), mrSigner: toHex(mrSigner(key.modulus())) };
      if (options.json) {
        const { isvProdId, isvSvn, attributes, attributeMask, xfrm, xfrmMask } = body;
        const masks = {
          attributes: hex(attributes),
          attributeMask: hex(attributeMask),
          xfrm: hex(xfrm),
          xfrmMask: hex(xfrmMask),
        };
        console.log(JSON.stringify({ ...identity, isvProdId, isvSvn, ...masks, output: options.output }, undefined, 2));
      } else {
        console.log(
          `MRENCLAVE   ${identity.mrEnclave}\nMRSIGNER    ${identity.mrSigner}\nwritten to  ${options.output}`,
        );
      }
    });

  program
    .command('keygen')
    .summary('make a key that can sign enclaves')
    .description('Writes a new RSA-3072 private key with public exponent 3. Anybody who has it can sign as you.')
    .argument('<key.pem>', 'where to write it; an existing file is never replaced')
    .addHelpText('after', exitCodesHelp)
    .action((path: string, _options: unknown, command: Command) => {
      const pem = newSigningKey();
      writeOutput(command, path, pem, { mode: 0o600, flag: 'wx' });
      console.log(`MRSIGNER    ${toHex(mrSigner(readSigningKey(pem, path).modulus()))}\nwritten to  ${path}`);
    });
}

const ALL_BITS = 0xffff_ffff_ffff_ffffn;

/** Everything the enclave is must be as signed; only whether it may be debugged can be left open. */
export function sigStructBody(
  image: EnclaveImage,
  options: Pick<SignOptions, 'isvProdId' | 'isvSvn' | 'date' | 'debug'>,
) {
  return {
    date: bcdDate(options.date ?? new Date()),
    miscSelect: image.miscSelect,
    miscMask: 0xffff_ffff,
    attributes: options.debug ? image.attributes : image.attributes & ~Attributes.mask.DEBUG,
    attributeMask: options.debug ? ALL_BITS & ~Attributes.mask.DEBUG : ALL_BITS,
    xfrm: image.xfrm,
    xfrmMask: ALL_BITS,
    enclaveHash: measure(image),
    isvProdId: options.isvProdId,
    isvSvn: options.isvSvn,
  } satisfies SigStructBody;
}

function loadKey(command: Command, path: string): SigningKey {
  const pem = readInput(command, path);
  try {
    return readSigningKey(pem, path);
  } catch (error) {
    if (error instanceof SigningKeyError) return command.error(`error: ${error.message}`, { exitCode: ExitCode.KEY });
    throw error;
  }
}

function writeOutput(
  command: Command,
  path: string,
  content: Uint8Array | string,
  options: { mode?: number; flag?: string } = {},
): void {
  try {
    writeFileSync(path, content, options);
  } catch (error) {
    command.error(`error: cannot write ${path}: ${(error as Error).message}`, { exitCode: ExitCode.FILE });
  }
}

function u16(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isInteger(value) || value < 0 || value > 0xffff)
    throw new InvalidArgumentError('Expected a number from 0 to 65535.');
  return value;
}

function isoDate(text: string): Date {
  const date = new Date(`${text}T00:00:00Z`);
  // Date takes February 30 for March 2.
  if (Number.isNaN(date.getTime()) || date.toISOString().slice(0, 10) !== text) {
    throw new InvalidArgumentError('Expected a date such as 2026-01-31.');
  }
  return date;
}
