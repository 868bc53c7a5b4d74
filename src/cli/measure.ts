/** `vitrine measure ENCLAVE.elf`: what MRENCLAVE this file has, and which pages it becomes. */
import { readFileSync } from 'node:fs';

import type { Command } from 'commander';

import { Attributes, MiscSelect, SecInfoFlags, Xfrm } from '../abi/sgx-arch.ts';
import { buildSteps, readEnclaveImage, type EnclaveImage } from '../formats/enclave-image.ts';
import { FormatError } from '../formats/format-error.ts';
import { toHex } from '../lib/bytes.ts';
import { PAGE_SIZE_BYTES } from '../lib/units.ts';
import { Measurement } from '../processor/measurement.ts';
import { ExitCode } from './exit-codes.ts';

export const exitCodesHelp = `
Exit codes:
  0  done
  1  the command line is wrong
  ${ExitCode.FILE}  a file cannot be read or written
  ${ExitCode.ENCLAVE}  the enclave is not a valid enclave ELF; the message names field and offset
  ${ExitCode.KEY}  the key cannot sign enclaves`;

export function registerMeasure(program: Command): void {
  program
    .command('measure')
    .summary('print the MRENCLAVE of an enclave ELF')
    .description('Measures an enclave ELF as the processor does while the enclave is built, and lists its pages.')
    .argument('<enclave.elf>', 'static-pie ELF with a Vitrine note (examples/common/enclave-layout.h)')
    .option('--json', 'print one JSON object')
    .addHelpText('after', exitCodesHelp)
    .action((path: string, options: { json?: true }, command: Command) => {
      const image = loadEnclave(command, path);
      const mrEnclave = measure(image);
      console.log(options.json ? JSON.stringify(asJson(image, mrEnclave), undefined, 2) : asText(image, mrEnclave));
    });
}

/** MRENCLAVE of the enclave that a loader following `buildSteps` builds, 32 bytes. */
export function measure(image: EnclaveImage): Uint8Array {
  const measurement = new Measurement();
  for (const step of buildSteps(image)) {
    if (step.kind === 'ecreate') {
      measurement.create(step.ssaFrameSize, step.sizeBytes);
      continue;
    }
    measurement.add(step.offset, step.secInfoFlags);
    if (step.measured) measurement.extendPage(step.offset, step.content);
  }
  return measurement.current();
}

/** Reads a file, or ends the command with the reason. */
export function readInput(command: Command, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    return command.error(`error: cannot read ${path}: ${(error as Error).message}`, { exitCode: ExitCode.FILE });
  }
}

/** Reads an enclave ELF, or ends the command with the reason. */
export function loadEnclave(command: Command, path: string): EnclaveImage {
  const bytes = readInput(command, path);
  try {
    return readEnclaveImage(bytes, path);
  } catch (error) {
    if (error instanceof FormatError) return command.error(`error: ${error.message}`, { exitCode: ExitCode.ENCLAVE });
    throw error;
  }
}

function asText(image: EnclaveImage, mrEnclave: Uint8Array): string {
  const areas = image.areas.map(({ name, offset, lengthBytes, secInfoFlags, measured }) => {
    const pages = String(lengthBytes / PAGE_SIZE_BYTES).padStart(6);
    const kind = SecInfoFlags.format(secInfoFlags).padEnd(12);
    return `  +0x${offset.toString(16).padEnd(9)}${pages}  ${kind}${measured ? 'measured    ' : 'not measured'}  ${name}`;
  });
  return [
    `MRENCLAVE   ${toHex(mrEnclave)}`,
    `SIZE        0x${image.sizeBytes.toString(16)}`,
    `ATTRIBUTES  ${Attributes.format(image.attributes)}`,
    `XFRM        ${Xfrm.format(image.xfrm)}`,
    `MISCSELECT  ${MiscSelect.format(image.miscSelect)}`,
    `SSA frame   ${image.ssaFrameSize} page(s)`,
    '  offset      pages  SECINFO     EEXTEND       what',
    ...areas,
  ].join('\n');
}

function asJson(image: EnclaveImage, mrEnclave: Uint8Array): unknown {
  const { sizeBytes, ssaFrameSize, miscSelect, attributes, xfrm } = image;
  return {
    mrEnclave: toHex(mrEnclave),
    sizeBytes,
    ssaFrameSize,
    miscSelect,
    attributes: hex(attributes),
    xfrm: hex(xfrm),
    areas: image.areas.map(({ name, offset, lengthBytes, secInfoFlags, measured }) => ({
      name,
      offset,
      lengthBytes,
      secInfoFlags,
      measured,
    })),
  };
}

/** 64-bit values are text in JSON: its numbers are doubles. */
export function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}
