/** Where our native programs are: in the package as built, in a clone as made by `make -C native`. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const places = ['../../prebuilds/linux-x64', '../../native/build'];

/** undefined when it has not been built. In a clone the freshly made one wins. */
export function findNative(program: 'vitrine-stub' | 'vitrine-probe'): string | undefined {
  const inClone = import.meta.url.endsWith('.ts');
  const inOrder = inClone ? places.toReversed() : places;
  return inOrder
    .map((place) => fileURLToPath(new URL(`${place}/${program}`, import.meta.url)))
    .find((path) => existsSync(path));
}
