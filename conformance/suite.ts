// What a suite is: a foreign program or a foreign source that judges Vitrine, with a name and one line of result.

import type { KernelSource } from './kernel-source.ts';

export interface SuiteContext {
  /** Obtained when it is first asked for. */
  readonly kernel: KernelSource;
  /** Ignored folder for what is built and logged; exists. */
  readonly workDir: string;
  readonly repeat: number;
  /** The unprivileged account for suites that change to one. */
  readonly user: string;
}

export interface SuiteResult {
  readonly passed: number;
  readonly total: number;
  readonly skipped: number;
  /** What went wrong, in full sentences; empty exactly when the suite holds. */
  readonly problems: readonly string[];
  /** Said after the counts, e.g. how many repetitions. */
  readonly note?: string;
}

export interface Suite {
  readonly name: string;
  readonly summary: string;
  /** It judges by itself, and can do so where no kernel source is to be had. */
  readonly withoutKernel?: true;
  /** How many cases must skip themselves; none, when left out. */
  readonly skips?: number;
  /** Why this suite cannot say anything new here; then it is not run unless asked for by name. */
  readonly redundant?: () => string | undefined;
  run(context: SuiteContext): Promise<SuiteResult>;
}

/** Something the machine lacks: no verdict about Vitrine. */
export class NotObtainable extends Error {
  override name = 'NotObtainable';
}
