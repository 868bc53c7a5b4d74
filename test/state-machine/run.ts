/** Runs random histories, and listens to what came of them. */
import * as fc from 'fast-check';
import type { TraceEvent } from '../../src/trace/events.ts';
import { uapis } from './interface.ts';
import { histories } from './steps.ts';
import { World, type WorldOptions } from './world.ts';

const HISTORY_STEPS = 150;

/** Every generation, with AEX-Notify and room in EPC, and without and with hardly any. */
export const worlds: readonly WorldOptions[] = uapis.flatMap((uapi) => [
  { uapi, cpu: 'sapphire-rapids', epcPages: 256 },
  { uapi, cpu: 'icelake', epcPages: 72 },
]);

/** Leaves of ENCLU that the model performs, those first that a running enclave is changed by. */
export const leafNames = [
  'EACCEPT',
  'EMODPE',
  'EACCEPTCOPY',
  'EREPORT',
  'EGETKEY',
  'EDECCSSA',
  'EENTER',
  'ERESUME',
  'EEXIT',
];

export interface RunOptions {
  /** Left out: another one each time. */
  readonly seed?: number;
  readonly listener?: (event: TraceEvent) => void;
}

/** At least so many steps. Throws what fast-check says of the smallest history that breaks an invariant. Returns the number of steps. */
export function runHistories(options: WorldOptions, steps: number, { seed, listener }: RunOptions = {}): number {
  const done = { steps: 0 };
  const property = fc.property(histories(HISTORY_STEPS), (history) => {
    const world = new World(options);
    if (listener) world.machine.onEvent(listener);
    fc.modelRun(() => ({ model: {}, real: world }), history);
    done.steps += world.steps;
    world.end();
  });
  for (let round = 0; done.steps < steps; round++) {
    const numRuns = Math.ceil((steps - done.steps) / (HISTORY_STEPS / 2));
    fc.assert(property, { numRuns, ...(seed !== undefined && { seed: seed + round }) });
  }
  return done.steps;
}

/** How often each call and leaf came, and how often it succeeded. */
export class Heard {
  readonly #times = new Map<string, { times: number; successes: number }>();

  readonly listener = ({ name, kind, outcome }: TraceEvent): void => {
    const isSuccess = outcome === 'ok' || kind === 'enter' || kind === 'exit' || kind === 'aex';
    this.#count(name, 1, isSuccess ? 1 : 0);
  };

  /** `EACCEPT 12 of 30`. */
  readonly share = (name: string): string => `${name} ${this.successes(name)} of ${this.#times.get(name)?.times ?? 0}`;

  successes(name: string): number {
    return this.#times.get(name)?.successes ?? 0;
  }

  add(other: Heard): void {
    for (const [name, { times, successes }] of other.#times) this.#count(name, times, successes);
  }

  #count(name: string, times: number, successes: number): void {
    const before = this.#times.get(name) ?? { times: 0, successes: 0 };
    this.#times.set(name, { times: before.times + times, successes: before.successes + successes });
  }
}
