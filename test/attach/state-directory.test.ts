import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { changeIdentity, readIdentity, systemEntropy } from '../../src/attach/identity-store.ts';
import { StateDirectory, stateDirectory, StateError } from '../../src/attach/state-directory.ts';
import { newIdentity } from '../../src/machine/identity.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-state-'));
afterAll(() => rmSync(folder, { recursive: true }));

let count = 0;
const fresh = () => ({ directory: path.join(folder, `${count++}`, 'below'), chosen: true });
const modeOf = (file: string): number => statSync(file).mode & 0o777;

describe('where the state directory is', () => {
  const env = { VITRINE_STATE_DIR: '/v', XDG_STATE_HOME: '/x', HOME: folder };

  it.each([
    ['named', '/n', env, { directory: '/n', chosen: true }],
    ['$VITRINE_STATE_DIR', undefined, env, { directory: '/v', chosen: true }],
    ['$XDG_STATE_HOME', undefined, { ...env, VITRINE_STATE_DIR: '' }, { directory: '/x/vitrine', chosen: false }],
    ['the home', undefined, { HOME: folder }, { directory: `${folder}/.local/state/vitrine`, chosen: false }],
    [
      'not a relative XDG_STATE_HOME',
      undefined,
      { XDG_STATE_HOME: 'x', HOME: folder },
      { directory: `${folder}/.local/state/vitrine`, chosen: false },
    ],
  ])('%s', (_, named, variables, place) => {
    expect(stateDirectory(named, variables)).toEqual(place);
  });

  it('nowhere, where the home is only a name', () => {
    expect(() => stateDirectory(undefined, { HOME: path.join(folder, 'none') })).toThrow('there is no home directory');
    expect(() => stateDirectory(undefined, { HOME: 'relative' })).toThrow('there is no home directory');
  });
});

describe('a state directory', () => {
  it('is made with its parents, all private, and so are its files', async () => {
    const place = fresh();
    await new StateDirectory(place).locked((directory) => directory.write('a', 'text'));
    expect(modeOf(path.dirname(place.directory))).toBe(0o700);
    expect(modeOf(place.directory)).toBe(0o700);
    expect(readdirSync(place.directory).map((name) => [name, modeOf(path.join(place.directory, name))])).toEqual([
      ['a', 0o600],
      ['lock', 0o600],
    ]);
  });

  it('is not made by reading', () => {
    const place = fresh();
    expect(new StateDirectory(place).read('a')).toBeUndefined();
    expect(() => statSync(path.dirname(place.directory))).toThrow('ENOENT');
  });

  it('replaces a file as a whole: who has the old one open reads the old one; half a new one is in nobody’s way', async () => {
    const place = fresh();
    const state = new StateDirectory(place);
    await state.locked((directory) => directory.write('a', 'old'));
    const { ino } = statSync(path.join(place.directory, 'a'));
    writeFileSync(path.join(place.directory, 'a.new'), 'half of one that was being writ', { mode: 0o644 });
    expect(state.read('a')).toBe('old');
    await state.locked((directory) => directory.write('a', 'new'));
    expect(state.read('a')).toBe('new');
    expect(statSync(path.join(place.directory, 'a')).ino).not.toBe(ino);
    expect(modeOf(path.join(place.directory, 'a'))).toBe(0o600);
    expect(readdirSync(place.directory)).toEqual(['a', 'lock']);
  });

  it('is free again when a change throws, and keeps what was there', async () => {
    const state = new StateDirectory(fresh());
    await state.locked((directory) => directory.write('a', 'old'));
    const failing = state.locked(() => {
      throw new Error('half way');
    });
    await expect(failing).rejects.toThrow('half way');
    await state.locked((directory) => directory.write('b', directory.read('a')!));
    expect(state.read('b')).toBe('old');
  });

  it('below a file cannot be', async () => {
    writeFileSync(path.join(folder, 'file'), '');
    const place = { directory: path.join(folder, 'file', 'below'), chosen: true };
    expect(() => new StateDirectory(place).read('a')).toThrow(StateError);
    await expect(new StateDirectory(place).locked(() => {})).rejects.toThrow(/cannot be used \(ENOTDIR.*--state DIR/);
  });
});

describe('the identity store', () => {
  it('loses no change of many at once', async () => {
    const place = fresh();
    mkdirSync(place.directory, { recursive: true, mode: 0o700 });
    const update = () =>
      changeIdentity(place, (found = newIdentity(systemEntropy)) => ({ ...found, cpuSvn: found.cpuSvn + 1 }));
    await Promise.all(Array.from({ length: 20 }, update));
    expect(readIdentity(place)!.cpuSvn).toBe(21);
  });

  it('writes nothing when nothing changes', async () => {
    const place = fresh();
    await changeIdentity(place, () => newIdentity(systemEntropy));
    const before = statSync(path.join(place.directory, 'identity.json'));
    const text = readFileSync(path.join(place.directory, 'identity.json'), 'utf8');
    await changeIdentity(place, (found) => found!);
    expect(statSync(path.join(place.directory, 'identity.json')).ino).toBe(before.ino);
    expect(readFileSync(path.join(place.directory, 'identity.json'), 'utf8')).toBe(text);
  });
});
