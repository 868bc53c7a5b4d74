/** Device files: opening them, and telling the stub which descriptor is one. */
import { STUB_NOT_A_DEVICE } from '../../abi/stub.ts';
import { deviceNodes } from '../../abi/traps.ts';
import { OpenFlags } from '../../abi/linux.ts';
import { Errno } from '../../lib/errno.ts';
import { outcomeOf } from '../../trace/events.ts';
import { refused, trace, type Caller, type Reply } from './reply.ts';

/**
 * OPEN(node index, open flags): the descriptor goes by SCM_RIGHTS.
 * ENXIO: there is no such node. ENOENT: it is of another generation. ENFILE: this host process has no descriptors left.
 */
export function open(caller: Caller): Reply {
  const { host, session, box } = caller;
  const nodeIndex = box.arg(0);
  const flags = box.arg(1) % 2 ** 32;
  const node = deviceNodes[nodeIndex];
  if (node === undefined) return refused(Errno.ENXIO);
  // What was closed a moment ago gives its EPC back before more is asked for.
  host.sweep();
  const opened = host.machine.devices.open(node.path, session.port!, flags);
  trace(caller, () => ({
    kind: 'open',
    name: 'open',
    args: { path: node.path, flags: OpenFlags.format(flags) },
    ...outcomeOf(opened),
  }));
  if (opened.kind === 'errno') {
    session.missedNode ??= node.path;
    return refused(opened.errno);
  }
  session.opened = true;
  const created = host.files.create(node.path, opened.value, flags);
  if (created === undefined) {
    host.machine.devices.release(opened.value);
    return refused(Errno.ENFILE);
  }
  const { deviceFile, programFd } = created;
  host.sweepSoon();
  return { ret: 0, out: [deviceFile.inode], descriptor: { fd: programFd, closeAfter: true } };
}

/** IDENTIFY(inode): the node index, or -STUB_NOT_A_DEVICE; out: what it is open for. */
export function identify({ host, box }: Caller): Reply {
  const file = host.files.find(box.arg(0))?.file;
  if (file === undefined) return { ret: -STUB_NOT_A_DEVICE };
  const { readable, writable } = file.access;
  const mode = (readable ? 1 : 0) | (writable ? 2 : 0);
  return { ret: deviceNodes.findIndex(({ path }) => path === file.node), out: [mode] };
}

/** ALIAS(enclave slot): our own description of the contents, which counts as nobody's reference; out: base, size. */
export function alias({ host, session, box }: Caller): Reply {
  const enclave = session.enclaveInSlot(box.arg(0));
  const fd = enclave === undefined ? undefined : host.files.fdOf(enclave.memory);
  if (enclave === undefined || fd === undefined) return refused(Errno.ENOENT);
  return { ret: 0, out: [enclave.base, enclave.sizeBytes], descriptor: { fd, closeAfter: false } };
}
