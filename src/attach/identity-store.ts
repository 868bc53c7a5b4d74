/** The identity that outlives a run: read at every start, made at the first, changed by `vitrine machine`. */
import { randomFillSync } from 'node:crypto';
import { formatIdentity, IdentityError, newIdentity, parseIdentity, type Identity } from '../machine/identity.ts';
import type { Entropy } from '../processor/ports.ts';
import { NoStateError, StateDirectory, stateDirectory, type StatePlace } from './state-directory.ts';

const FILE = 'identity.json';

export const systemEntropy: Entropy = { fill: (bytes) => void randomFillSync(bytes) };

export interface LoadedIdentity {
  readonly identity: Identity;
  /** Why it will be forgotten after this run; undefined when it is kept. */
  readonly temporaryBecause?: string;
}

/**
 * The identity of the state directory, made when there is none. Where there is no place for one, and nobody named a
 * place, it is a temporary one. Throws as `readIdentity`: a damaged identity is never replaced silently.
 */
export async function loadIdentity(named: string | undefined): Promise<LoadedIdentity> {
  try {
    const place = stateDirectory(named);
    const identity =
      readIdentity(place) ?? (await changeIdentity(place, (present) => present ?? newIdentity(systemEntropy)));
    return { identity };
  } catch (error) {
    if (!(error instanceof NoStateError)) throw error;
    return { identity: newIdentity(systemEntropy), temporaryBecause: error.message };
  }
}

/** undefined when there is none yet. Throws a StateError, or an IdentityError when it is damaged. */
export function readIdentity(place: StatePlace): Identity | undefined {
  return readFrom(new StateDirectory(place));
}

/**
 * Replaces the identity by what `change` makes of it (of nothing, when there is none yet), with nobody else changing
 * it in between. Throws as `readIdentity`, and whatever `change` throws.
 */
export function changeIdentity(
  place: StatePlace,
  change: (present: Identity | undefined) => Identity,
): Promise<Identity> {
  return new StateDirectory(place).locked((directory) => {
    const present = readFrom(directory);
    const identity = change(present);
    if (identity !== present) directory.write(FILE, formatIdentity(identity));
    return identity;
  });
}

/** Replaces the identity unseen: it may be damaged. Throws a StateError. */
export function replaceIdentity(place: StatePlace, identity: Identity): Promise<void> {
  return new StateDirectory(place).locked((directory) => directory.write(FILE, formatIdentity(identity)));
}

function readFrom(directory: StateDirectory): Identity | undefined {
  const text = directory.read(FILE);
  if (text === undefined) return undefined;
  try {
    return parseIdentity(text);
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error;
    throw new IdentityError(
      `the identity in ${directory.path} is damaged: ${error.message}. \`vitrine machine import FILE\` brings an exported ` +
        'one back; `vitrine machine reset` makes a new one, to which everything sealed so far is closed',
      { cause: error },
    );
  }
}
