// Refuses an old Node with a sentence instead of a syntax error, then runs the command line: a clone's sources as they
// are, an installed package's build. Plain JavaScript, since it must run on the old Node too.
import { existsSync } from 'node:fs';

if (Number(process.versions.node.split('.')[0]) < 24) {
  process.stderr.write(
    `vitrine: this needs Node 24 or later, and this is ${process.version}. ` +
      'In a clone, `npm start` once fetches one into the clone.\n',
  );
  process.exit(2);
}
const sources = new URL('../src/cli/main.ts', import.meta.url);
await import(existsSync(sources) ? sources.href : new URL('../dist/cli/main.js', import.meta.url).href);
