// `npm run build`: what the published package holds. dist/ is the compiled TypeScript, prebuilds/linux-x64/ the native programs.

import { chmodSync, cpSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { root, runShown } from './tools.ts';

function must(program: string, ...args: string[]): void {
  if (runShown(program, args) !== 0) process.exit(1);
}

for (const folder of ['dist', 'prebuilds']) rmSync(path.join(root, folder), { recursive: true, force: true });
must('tsc', '-p', 'tsconfig.build.json');
must('make', '-s', '-C', 'native');
const prebuilds = path.join(root, 'prebuilds', 'linux-x64');
mkdirSync(prebuilds, { recursive: true });
for (const program of ['vitrine-stub', 'vitrine-probe']) {
  cpSync(path.join(root, 'native', 'build', program), path.join(prebuilds, program));
  chmodSync(path.join(prebuilds, program), 0o755);
}
