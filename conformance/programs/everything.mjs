// Workers, children, signals, files, compression.
import { execFileSync, fork, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { gunzipSync, gzipSync } from 'node:zlib';

const self = new URL(import.meta.url).pathname;
if (!isMainThread) {
  let sum = 0;
  for (let i = 0; i < 3e6; i++) sum += (i * workerData) % 11;
  parentPort?.postMessage(sum);
} else if (process.argv[2] === 'child') {
  process.on('message', (n) => process.send?.(Number(n) * 2));
} else {
  const workers = [1, 2, 3, 4].map((n) => once(new Worker(self, { workerData: n }), 'message'));
  console.log(
    'workers',
    (await Promise.all(workers)).map(([sum]) => sum),
  );
  const child = fork(self, ['child']);
  child.send(21);
  console.log('child', (await once(child, 'message'))[0]);
  child.disconnect();
  console.log('ended', (await once(child, 'exit'))[0]);
  const signalled = once(process, 'SIGUSR2');
  const shell = spawn('sh', ['-c', 'kill -USR2 $PPID; sleep 0.2; cat; exit 3']);
  shell.stdin.end('piped');
  console.log(String((await once(shell.stdout, 'data'))[0]), (await once(shell, 'close'))[0], (await signalled)[0]);
  const folder = mkdtempSync('node-');
  writeFileSync(`${folder}/file`, 'content '.repeat(10000));
  const text = await readFile(`${folder}/file`);
  console.log(
    createHash('sha256')
      .update(gunzipSync(gzipSync(text)))
      .digest('hex'),
  );
  console.log(execFileSync('sh', ['-c', 'readlink /proc/self/fd/0 | cut -c1-4'], { encoding: 'utf8' }).trim());
  console.log('comm', readFileSync('/proc/self/comm', 'utf8').trim());
  try {
    JSON.parse('null').missing();
  } catch (error) {
    console.log(String(error));
  }
}
