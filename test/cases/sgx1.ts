/** SGX1: the commands of SGX2 are not there, whatever else is wrong, and a hole is a hole. */
import { defineCase, FD, ioctl, Memory, open, read, ready, At, step, touch } from './language.ts';

const commands = [
  'SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS',
  'SGX_IOC_ENCLAVE_MODIFY_TYPES',
  'SGX_IOC_ENCLAVE_REMOVE_PAGES',
] as const;

export const sgx1Cases = [
  ...commands.flatMap((name) => [
    defineCase(
      `${name}: ENODEV on a fresh file, before the argument is read`,
      open(),
      ioctl(name, 'ENODEV', Memory.NOWHERE),
    ),
    defineCase(`${name}: ENODEV on an initialized enclave`, ready(), ioctl(name, 'ENODEV')),
  ]),
  defineCase('ENOTTY comes before ENODEV', open(), step(`ioctl ${FD} 0xc028a407 0`, 'ENOTTY')),
  defineCase(
    'SIGBUS: a hole of an initialized enclave, from inside',
    ready(),
    read(At.HOLE, 'SIGBUS'),
    read(At.DATA, '0'),
  ),
  defineCase(
    'SIGBUS: a hole of an initialized enclave, from outside',
    ready(),
    touch(At.HOLE, 'r', 'SIGBUS'),
    touch(At.HOLE, 'w', 'SIGBUS'),
  ),
  defineCase('enclaves are built and entered as ever', ready(), read(At.DATA, '0')),
];
