/** The thread behind HashThread. */
import { workerData } from 'node:worker_threads';
import { HashRing } from './hash-ring.ts';

new HashRing(workerData as SharedArrayBuffer).serve();
