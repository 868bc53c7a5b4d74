/** Unix sockets with descriptors in their messages. No call blocks. */
import { closeSync } from 'node:fs';
import { Errno } from '../../lib/errno.ts';
import { declare, declareChecked, HostError, lastErrno } from './library.ts';
import { addressOfBytes } from './memory.ts';

const socketpair = declareChecked('int socketpair(int, int, int, void *)');
const socketCall = declareChecked('int socket(int, int, int)');
const bind = declareChecked('int bind(int, void *, uint)');
const listen = declareChecked('int listen(int, int)');
const connect = declareChecked('int connect(int, void *, uint)');
const accept4 = declare('int accept4(int, void *, void *, int)');
const getsockopt = declareChecked('int getsockopt(int, int, int, void *, void *)');
const setsockopt = declareChecked('int setsockopt(int, int, int, void *, uint)');
const sendmsg = declare('int64 sendmsg(int, void *, int)');
const recvmsg = declare('int64 recvmsg(int, void *, int)');

const AF_UNIX = 1;
const SOCK_STREAM_CLOEXEC_NONBLOCK = 0x80801;
const SOCK_SEQPACKET_CLOEXEC = 0x80005;
const SOCK_CLOEXEC_NONBLOCK = 0x80800;
/** As many commands as may come before a busy machine looks; the kernel lowers it to net.core.somaxconn. */
const BACKLOG = 4096;
/** sizeof sun_path, without the NUL at its end. */
const MAX_PATH_BYTES = 107;
const SOL_SOCKET = 1;
const SO_PASSCRED = 16;
const SO_PEERCRED = 17;
const SCM_RIGHTS = 1;
const SCM_CREDENTIALS = 2;
const MSG_DONTWAIT_NOSIGNAL = 0x4040;
const MSG_DONTWAIT_CMSG_CLOEXEC = 0x4000_0040;

/** Two sockets connected to each other. Only the calls of this file do not block on them. */
export function socketPair(): [number, number] {
  const pair = new Int32Array(2);
  socketpair(AF_UNIX, SOCK_SEQPACKET_CLOEXEC, 0, new Uint8Array(pair.buffer));
  return [pair[0]!, pair[1]!];
}

/** A stream socket that others connect to by `path`, which is made. Throws EADDRINUSE. */
export function listenAt(path: string): number {
  const fd = socketCall(AF_UNIX, SOCK_STREAM_CLOEXEC_NONBLOCK, 0);
  const address = unixAddress(path);
  bind(fd, address, address.length);
  listen(fd, BACKLOG);
  return fd;
}

/** Throws a HostError: ENOENT, ECONNREFUSED when nobody listens there, EAGAIN when nobody accepts. */
export function connectTo(path: string): number {
  const fd = socketCall(AF_UNIX, SOCK_STREAM_CLOEXEC_NONBLOCK, 0);
  const address = unixAddress(path);
  try {
    connect(fd, address, address.length);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}

/** The next connection; undefined when none waits, or when no number is left for it. */
export function accept(fd: number): number | undefined {
  const connection = accept4(fd, null, null, SOCK_CLOEXEC_NONBLOCK);
  return connection < 0 ? undefined : connection;
}

/** struct sockaddr_un. Throws ENAMETOOLONG. */
function unixAddress(path: string): Uint8Array {
  const bytes = Buffer.from(path);
  if (bytes.length > MAX_PATH_BYTES) throw new HostError('bind', Errno.ENAMETOOLONG);
  return Uint8Array.of(AF_UNIX, 0, ...bytes, 0);
}

/** From now on messages received there say who sent them. */
export function askForSenders(fd: number): void {
  setsockopt(fd, SOL_SOCKET, SO_PASSCRED, new Uint8Array(Uint32Array.of(1).buffer), 4);
}

/** Who made the other end, as the kernel says; pid 0 for what has none. Throws ENOTSOCK. */
export function peerOf(fd: number): { readonly pid: number; readonly uid: number } {
  const credentials = new Uint32Array(3);
  const length = new Uint32Array([12]);
  getsockopt(fd, SOL_SOCKET, SO_PEERCRED, new Uint8Array(credentials.buffer), new Uint8Array(length.buffer));
  return { pid: credentials[0]!, uid: credentials[1]! };
}

/*
 * One struct msghdr with room for one iovec and eight descriptors, built once: name, namelen, iov, iovlen, control,
 * controllen, flags. The model is one thread, and no call here blocks.
 */
const MAX_FDS = 8;
const CMSG_HEADER = 16;
const iovec = new BigUint64Array(2);
/** Rights, and before them the sender: pid, uid and gid, padded to 16 bytes. */
const control = new Uint8Array(CMSG_HEADER + 16 + CMSG_HEADER + 4 * MAX_FDS);
const controlView = new DataView(control.buffer);
const header = new BigUint64Array(7);
const headerBytes = new Uint8Array(header.buffer);
header[2] = BigInt(addressOfBytes(new Uint8Array(iovec.buffer)));
header[3] = 1n;
const controlAddress = BigInt(addressOfBytes(control));

function prepare(bytes: Uint8Array, controlBytes: number): void {
  iovec[0] = BigInt(addressOfBytes(bytes));
  iovec[1] = BigInt(bytes.length);
  header[4] = controlBytes === 0 ? 0n : controlAddress;
  header[5] = BigInt(controlBytes);
  header[6] = 0n;
}

/** Sends one message, whole, with a descriptor in it when one is given. `full`: the peer does not read its messages. */
export function send(fd: number, bytes: Uint8Array, descriptor?: number): 'sent' | 'full' | 'gone' {
  prepare(bytes, descriptor === undefined ? 0 : CMSG_HEADER + 8);
  if (descriptor !== undefined) {
    controlView.setBigUint64(0, BigInt(CMSG_HEADER + 4), true);
    controlView.setInt32(8, SOL_SOCKET, true);
    controlView.setInt32(12, SCM_RIGHTS, true);
    controlView.setInt32(CMSG_HEADER, descriptor, true);
    controlView.setInt32(CMSG_HEADER + 4, 0, true);
  }
  if (sendmsg(fd, headerBytes, MSG_DONTWAIT_NOSIGNAL) === bytes.length) return 'sent';
  return lastErrno() === Errno.EAGAIN ? 'full' : 'gone';
}

export interface Received {
  /** Bytes in the message; 0 = the peer closed. */
  readonly lengthBytes: number;
  /** Owned by the caller. */
  readonly descriptors: readonly number[];
  /** The process that sent it, as the kernel says; 0 where `askForSenders` was not called. */
  readonly senderPid: number;
}

/** Receives one message, or what there is of a stream. Undefined when nothing waits. */
export function receive(fd: number, into: Uint8Array): Received | undefined {
  prepare(into, control.length);
  const lengthBytes = recvmsg(fd, headerBytes, MSG_DONTWAIT_CMSG_CLOEXEC);
  if (lengthBytes < 0) {
    if (lastErrno() === Errno.EAGAIN) return undefined;
    return { lengthBytes: 0, descriptors: [], senderPid: 0 };
  }
  const descriptors: number[] = [];
  let senderPid = 0;
  const controlEnd = Math.min(Number(header[5]!), control.length);
  for (let at = 0; at + CMSG_HEADER <= controlEnd;) {
    const cmsgBytes = Number(controlView.getBigUint64(at, true));
    const end = Math.min(at + cmsgBytes, controlEnd);
    const type = controlView.getInt32(at + 12, true);
    const data = at + CMSG_HEADER;
    if (type === SCM_CREDENTIALS) senderPid = controlView.getInt32(data, true);
    if (type === SCM_RIGHTS) {
      for (let each = data; each + 4 <= end; each += 4) descriptors.push(controlView.getInt32(each, true));
    }
    at += Math.max(CMSG_HEADER, Math.ceil(cmsgBytes / 8) * 8);
  }
  return { lengthBytes, descriptors, senderPid };
}
