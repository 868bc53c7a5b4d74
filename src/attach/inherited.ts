/** Which descriptors a program gets. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/**
 * What the program inherits: standard input, output and error, and every other descriptor that we were given. Node has
 * marked those close-on-exec, so they must be named. Node's own are event descriptors, /dev/null, and pipes of which
 * both ends are here.
 */
export function inheritedDescriptors(): ('ignore' | number)[] {
  const found = readdirSync('/proc/self/fd').map(Number).flatMap(describeDescriptor);
  const isPipeOfNode = (target: string): boolean =>
    target.startsWith('pipe:') &&
    new Set(found.filter((other) => other.target === target).map(({ access }) => access)).size > 1;
  const stdio: ('ignore' | number)[] = [0, 1, 2];
  for (const { fd, target, closeOnExec } of found) {
    const isNodes = target.startsWith('anon_inode:') || target === '/dev/null' || isPipeOfNode(target);
    if (fd > 2 && closeOnExec && !isNodes) stdio[fd] = fd;
  }
  // Not sparse: spawn would close the gaps.
  return Array.from(stdio, (fd) => fd ?? 'ignore');
}

interface Descriptor {
  readonly fd: number;
  /** What /proc calls it: a path, or `pipe:[4711]`. */
  readonly target: string;
  /** O_RDONLY, O_WRONLY or O_RDWR. */
  readonly access: number;
  readonly closeOnExec: boolean;
}

/** Nothing for the descriptor with which /proc was being read. */
function describeDescriptor(fd: number): Descriptor[] {
  try {
    const flags = Number.parseInt(
      /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? '',
      8,
    );
    const target = readlinkSync(`/proc/self/fd/${fd}`);
    return [{ fd, target, access: flags & 3, closeOnExec: (flags & 0o2000000) !== 0 }];
  } catch {
    return [];
  }
}
