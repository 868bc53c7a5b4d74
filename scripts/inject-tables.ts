/** The table of docs/inject.md, from the places that there are. */
import { places, type PlaceName } from '../src/kernel/injections.ts';
import { outcomesOf } from '../src/machine/injection.ts';
import { table } from './markdown.ts';

const names = Object.keys(places) as PlaceName[];

export const injectTables: Readonly<Record<string, string>> = {
  places: table(
    ['WHERE', 'met by', 'OUTCOME', 'the program gets', '`page=`'],
    names.map((name) => {
      const { met, gives, hasPage, leaf } = places[name];
      return [`\`${leaf ? name.toLowerCase() : name}\``, met, outcomesOf(name).join(', '), gives, hasPage ? 'yes' : ''];
    }),
  ),
};
