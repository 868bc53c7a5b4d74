/** A device file as stat sees it. */

/** What stat says of a device file. */
export interface DeviceStat {
  /** S_IFCHR and the permissions. */
  readonly mode: number;
  readonly major: number;
  readonly minor: number;
}

/** S_IFCHR; readable and writable for everybody, since nothing is protected here. */
export const DEVICE_MODE = 0o020_666;
