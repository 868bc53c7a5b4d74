/** What a device node counts; each node's metrics.ts says what else it shows. */
import { errnoName } from '../lib/errno.ts';

export interface IoctlCounts {
  calls: number;
  /** By errno name. */
  readonly failures: Map<string, number>;
}

export class DeviceMetrics {
  opens = 0;
  /** By name of the command. */
  readonly ioctls = new Map<string, IoctlCounts>();

  countIoctl(name: string, ret: number): void {
    let counts = this.ioctls.get(name);
    if (counts === undefined) this.ioctls.set(name, (counts = { calls: 0, failures: new Map() }));
    counts.calls++;
    if (ret >= 0) return;
    const failure = errnoName(-ret);
    counts.failures.set(failure, (counts.failures.get(failure) ?? 0) + 1);
  }
}
