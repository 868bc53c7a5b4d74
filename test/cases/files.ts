/**
 * The descriptors themselves: what a character device without read, write, llseek and poll gives. fs/, driver.c.
 * Plain read and write are not here: see DeviceFiles.create for what they give.
 */
import { defineCase, FD, hex, Memory, onlyReal, open, openProvision, PROVISION_FD, step } from './language.ts';

const nodes = [
  ['/dev/sgx_enclave', FD],
  ['/dev/sgx_provision', PROVISION_FD],
] as const;
const at = hex(Memory.ZEROS);

const perNode = nodes.flatMap(([path, fd]) => {
  const opened = step(`device ${fd} ${path} 2`);
  const refuse = (title: string, run: string, errno: string) =>
    defineCase(`${path}: ${errno}: ${title}`, opened, step(run, errno));
  return [
    refuse('pread', `pread64 ${fd} ${at} 8 0`, 'EINVAL'),
    refuse('pwrite', `pwrite64 ${fd} ${at} 8 0`, 'EINVAL'),
    refuse('preadv', `preadv ${fd} ${at} 1 0`, 'EINVAL'),
    refuse('pwritev', `pwritev ${fd} ${at} 1 0`, 'EINVAL'),
    ...[0, 1, 2].map((whence) => refuse(`lseek, whence ${whence}`, `lseek ${fd} 0 ${whence}`, 'ESPIPE')),
    refuse('ftruncate', `ftruncate ${fd} 4096`, 'EINVAL'),
    refuse('fallocate', `fallocate ${fd} 0 0 4096`, 'ENODEV'),
    refuse('fallocate: punching a hole', `fallocate ${fd} 3 0 4096`, 'ENODEV'),
    refuse('preadv2', `preadv2 ${fd} ${at} 1 0 0 0`, 'EINVAL'),
    refuse('pwritev2', `pwritev2 ${fd} ${at} 1 0 0 0`, 'EINVAL'),
    refuse('fsync', `fsync ${fd}`, 'EINVAL'),
    refuse('fdatasync', `fdatasync ${fd}`, 'EINVAL'),
    refuse('sync_file_range', `sync_file_range ${fd} 0 0 0`, 'ESPIPE'),
    refuse('readahead', `readahead ${fd} 0 4096`, 'EINVAL'),
    refuse('sendfile from it', `sendfile 1 ${fd} 0 8`, 'EINVAL'),
    refuse('splice from it', `splice ${fd} 0 1 0 8 0`, 'EINVAL'),
    refuse('copy_file_range', `copy_file_range ${fd} 0 ${fd} 0 8 0`, 'EINVAL'),
    refuse('FIONREAD', `ioctl ${fd} 0x541b ${at}`, 'ENOTTY'),
    refuse('FS_IOC_GETFLAGS', `ioctl ${fd} 0x80086601 ${at}`, 'ENOTTY'),
    refuse('FS_IOC_UNRESVSP', `ioctl ${fd} 0x4030582b ${at}`, 'ENOTTY'),
    defineCase(`${path}: EBADF: not open for reading`, step(`device ${fd} ${path} 1`), [
      step(`pread64 ${fd} ${at} 8 0`, 'EBADF'),
      step(`preadv ${fd} ${at} 1 0`, 'EBADF'),
      step(`sendfile 1 ${fd} 0 8`, 'EBADF'),
      step(`pwrite64 ${fd} ${at} 8 0`, 'EINVAL'),
    ]),
    defineCase(`${path}: EBADF: not open for writing`, step(`device ${fd} ${path} 0`), [
      step(`pwrite64 ${fd} ${at} 8 0`, 'EBADF'),
      step(`fallocate ${fd} 0 0 4096`, 'EBADF'),
      step(`ftruncate ${fd} 4096`, 'EINVAL'),
      step(`pread64 ${fd} ${at} 8 0`, 'EINVAL'),
    ]),
    defineCase(`${path}: F_GETFL`, step(`device ${fd} ${path} 0x802`), step(`fcntl ${fd} 3 0`, '0x8802')),
    refuse('open: O_DIRECT', `open ${path} 0x4002`, 'EINVAL'),
    defineCase(`${path}: /proc/self/fd opens another file of the node`, opened, [
      step(`device 103 /proc/self/fd/${fd} 2`),
      step(`close ${fd}`),
      step(`link 103`, path),
    ]),
    refuse('epoll', `epoll ${fd}`, 'EPERM'),
    defineCase(`${path}: poll: readable and writable, always`, opened, step(`poll ${fd}`, '0x5')),
    defineCase(`${path}: /proc/self/fd names the node`, opened, step(`link ${fd}`, path)),
    ...[0, 1, 2, 3].map((mode) =>
      defineCase(`${path}: open with access mode ${mode}`, step(`device ${fd} ${path} ${mode}`)),
    ),
  ];
});

export const fileCases = [
  ...perNode,
  defineCase('open: ENOENT: /dev/isgx', step('open /dev/isgx 2', 'ENOENT')),
  // Whoever opens nothing else is told which interface that node is of.
  defineCase('open: ENOENT: /dev/sgx', step('open /dev/sgx 2', 'ENOENT'), open()),
  defineCase('open: ENOENT: /dev/sgx/enclave', step('open /dev/sgx/enclave 2', 'ENOENT')),
  defineCase('open: ENOTDIR: O_DIRECTORY', step('open /dev/sgx_enclave 0x10002', 'ENOTDIR')),
  defineCase('open: EEXIST: O_CREAT and O_EXCL', step('open /dev/sgx_enclave 0xc2', 'EEXIST')),
  defineCase('two opens are two files', open(), step('device 102 /dev/sgx_enclave 2'), openProvision()),
].map(onlyReal);
