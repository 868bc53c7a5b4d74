// `npm run check`: everything about the sources that can be said without running them.

import { runCheck, sourceChecks, tidinessChecks } from './tools.ts';

const failed = [...sourceChecks, ...tidinessChecks].filter((check) => !runCheck(check));
process.exitCode = failed.length === 0 ? 0 : 1;
