// What `npm start` shows: builds this example, runs it under `vitrine run --trace`, and says what happened.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { styleText } from 'node:util';

import { mrSigner, parseSigStruct } from '../../src/formats/sigstruct.ts';
import { toHex } from '../../src/lib/bytes.ts';

const root = path.join(import.meta.dirname, '..', '..');
const example = 'examples/hello-enclave';
const host = `${example}/build/host`;

// styleText leaves the escapes out when standard output is not a terminal.
const heading = (text: string): string => styleText('bold', text);
const command = (text: string): string => styleText('cyan', text);
const quiet = (text: string): string => styleText('dim', text);

/** Runs a command in front of the reader; ends the program with its exit code and `remedy` when it fails. */
function show(remedy: string, program: string, ...args: string[]): void {
  console.log(quiet(`$ ${[program, ...args].join(' ')}`));
  const { status, signal, error } = spawnSync(program, args, { cwd: root, stdio: 'inherit' });
  if (status === 0) return;
  const reason = error?.message ?? (signal ? `ended by ${signal}` : `exit code ${status}`);
  console.error(`\n${styleText('red', `${program} failed: ${reason}`, { stream: process.stderr })}. ${remedy}`);
  process.exit(status ?? 1);
}

console.log(heading('Building a host program and its enclave'));
show(
  'The message above says why; the example needs gcc and make (Debian: apt-get install gcc make libc6-dev).',
  'make',
  '--silent',
  '-C',
  example,
);

console.log(`\n${heading('Running the host, which builds, enters and leaves the enclave')}`);
show('The message above says why.', 'bin/vitrine', 'run', '--trace', '--', host);

const file = `${example}/build/enclave.sigstruct`;
const { enclaveHash, modulus } = parseSigStruct(readFileSync(path.join(root, file)), file);

console.log(`
${heading('What happened')}
  gcc made an ordinary program (host) and the code that is to be protected (enclave.elf). Vitrine measured every page
  of that code, ${toHex(enclaveHash).slice(0, 16)}... (MRENCLAVE), and signed it with a key made for this example,
  ${toHex(mrSigner(modulus)).slice(0, 16)}... (MRSIGNER).
  The host opened /dev/sgx_enclave, which this machine need not have: Vitrine answered in the place of Linux's driver
  and of the processor. In the trace, CREATE reserved a range of addresses, ADD_PAGES filled it and measured it again,
  and INIT compared the result with the signature; had one bit differed, the enclave could not be entered.
  EENTER then took the host's thread into the enclave. Its code ran natively on this processor, added two numbers to a
  sum that it keeps to itself, and EEXIT brought the thread back. Above, the host says what it found when it looked
  for that sum from outside.
  With a key that only this enclave on this machine can get (EGETKEY) it sealed a count of its runs into a file; run it
  again and it counts on. A second enclave, in another process, checked a report (EREPORT) that the first one is genuine.

${heading('What to try next')}
  ${command(`npx vitrine run --trace -- ${host} --tamper`)}
      flips one bit on the way in, and the trace says which check refused it, with what it expected and found
  ${command(`npx vitrine measure ${example}/build/enclave.elf`)}
      the pages of the enclave, and what of them is measured
  ${command('npx vitrine run -- PROGRAM')}
      any program of yours that uses /dev/sgx_enclave, unmodified
  ${example}/README.md explains the files; change a number in enclave.c, run npm start, and compare MRENCLAVE.

${styleText('green', 'enclave entered')}`);
