import { describe, expect, it } from 'vitest';
import { toHex } from '../lib/bytes.ts';
import { seededEntropy } from '../processor/seeded-entropy.ts';
import {
  fingerprintOf,
  formatIdentity,
  fusesOf,
  IdentityError,
  newIdentity,
  parseIdentity,
  withNewOwnerEpoch,
} from './identity.ts';

const entropy = seededEntropy();
const identity = newIdentity(entropy);
const text = formatIdentity(identity);

/** `vitrine` in ASCII. */
const MARK = '76697472696e65';

describe('an identity', () => {
  it('is visibly ours in every value, and no two are alike', () => {
    const fuses = fusesOf(identity);
    expect(Object.values(fuses).map(({ length }) => length)).toEqual([16, 16, 16, 16]);
    for (const value of Object.values(fuses)) expect(toHex(value)).toContain(MARK);
    expect(new Set(Object.values(fuses).map(toHex)).size).toBe(4);
    expect(fingerprintOf(newIdentity(entropy))).not.toBe(fingerprintOf(identity));
  });

  it('has a CPUSVN that is ordered component by component', () => {
    const [older, newer] = [1, 2].map((cpuSvn) => fusesOf({ ...identity, cpuSvn }).cpuSvn);
    expect(newer!.every((component, i) => component >= older![i]!)).toBe(true);
    expect(older!.every((component, i) => component >= newer![i]!)).toBe(false);
  });

  it('keeps everything but the owner epoch for a new owner', () => {
    const { ownerEpoch, ...kept } = withNewOwnerEpoch(identity, entropy);
    expect(identity).toMatchObject(kept);
    expect(ownerEpoch).not.toEqual(identity.ownerEpoch);
  });

  it('comes back from its text, however that is indented', () => {
    expect(parseIdentity(text)).toEqual(identity);
    expect(parseIdentity(JSON.stringify(JSON.parse(text)))).toEqual(identity);
  });

  it('does not come back when any one digit or letter is another', () => {
    for (let at = 0; at < text.length; at++) {
      if (!/[0-9a-zA-Z]/.test(text[at]!)) continue;
      const changed = text.slice(0, at) + (text[at] === '0' ? '1' : '0') + text.slice(at + 1);
      expect(() => parseIdentity(changed)).toThrow(IdentityError);
    }
  });

  it.each([
    ['a field more', { extra: 1 }, 'a field more or less'],
    ['a field less', { notice: undefined }, 'a field more or less'],
    ['a secret of another length', { sealFuses: MARK }, 'sealFuses is not'],
    ['a secret that could be a real one', { sealFuses: '0'.repeat(32) }, 'sealFuses is not Vitrine'],
    ['a CPUSVN beyond a byte', { cpuSvn: 256 }, 'cpuSvn is not a number from 0 to 255'],
    ['a CPUSVN as text', { cpuSvn: '1' }, 'a field more or less'],
    ['the version of another time', { version: 0 }, 'a field more or less'],
    ['the version of a newer Vitrine', { version: 2 }, 'a newer Vitrine wrote it'],
  ])('does not come back with %s', (_, change, sentence) => {
    const changed = JSON.stringify({ ...(JSON.parse(text) as object), ...change });
    expect(() => parseIdentity(changed)).toThrow(IdentityError);
    expect(() => parseIdentity(changed)).toThrow(sentence);
  });

  it.each(['', ' ', 'x', 'null', '7', '[]', '{}'])('does not come from %j', (other) => {
    expect(() => parseIdentity(other)).toThrow(IdentityError);
  });
});
