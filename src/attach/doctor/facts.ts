/** What this host is and what it answered when it was asked to do what Vitrine needs. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { arch, release, type } from 'node:os';
import { deviceNodes } from '../../abi/traps.ts';
import { findNative } from '../stub-file.ts';

/** One answer of native/probe/probe.c. */
export type Answer =
  | { readonly kind: 'ok' }
  /** The call failed. */
  | { readonly kind: 'errno'; readonly errno: number }
  /** It was killed for trying. */
  | { readonly kind: 'signal'; readonly signal: number }
  /** Nothing failed, but what should have happened did not. */
  | { readonly kind: 'no-effect' }
  | { readonly kind: 'value'; readonly value: number }
  /** The probe did not come so far. */
  | { readonly kind: 'missing' };

export interface HostFacts {
  /** `Linux 6.12.1`. */
  readonly kernel: string;
  /** Node's name of it, `x64`. */
  readonly architecture: string;
  /** Path of the stub; undefined when it was not built. */
  readonly stub: string | undefined;
  /** By the probe's names; a name that is not there is a question that was not answered. */
  readonly answers: ReadonlyMap<string, Answer>;
  /** Why the probe itself could not run or end. */
  readonly probeFailure: string | undefined;
  /** Device nodes of real SGX. */
  readonly devices: readonly string[];
}

/** All of the probe takes a tenth of a second. */
const PATIENCE_MS = 20_000;

export function gatherFacts(): HostFacts {
  return {
    kernel: `${type()} ${release()}`,
    architecture: arch(),
    stub: findNative('vitrine-stub'),
    ...runProbe(findNative('vitrine-probe')),
    devices: deviceNodes.map(({ path }) => path).filter((path) => existsSync(path)),
  };
}

function runProbe(probe: string | undefined): Pick<HostFacts, 'answers' | 'probeFailure'> {
  if (probe === undefined) return { answers: new Map(), probeFailure: 'it was not built' };
  const { stdout, signal, status, error } = spawnSync(probe, { encoding: 'utf8', timeout: PATIENCE_MS });
  const failure = error?.message ?? (signal === null ? (status === 0 ? undefined : `exit code ${status}`) : signal);
  return { answers: parseAnswers(stdout ?? ''), probeFailure: failure };
}

/** Lines `NAME=ok`, `NAME=errno 22`, `NAME=signal 4`, `NAME=no-effect`, `NAME=value 0xe7`. Throws on any other. */
export function parseAnswers(text: string): Map<string, Answer> {
  const lines = text.split('\n').filter((line) => line !== '');
  return new Map(
    lines.map((line) => {
      const [, name, kind, number] = /^([a-z0-9-]+)=(ok|errno|signal|no-effect|value)(?: (\w+))?$/.exec(line) ?? [];
      if (name === undefined) throw new Error(`vitrine-probe says "${line}"`);
      return [name, answerOf(kind as Answer['kind'], Number(number))];
    }),
  );
}

function answerOf(kind: Answer['kind'], number: number): Answer {
  switch (kind) {
    case 'errno':
      return { kind, errno: number };
    case 'signal':
      return { kind, signal: number };
    case 'value':
      return { kind, value: number };
    default:
      return { kind };
  }
}
