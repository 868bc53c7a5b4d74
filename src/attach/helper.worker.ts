/** The thread behind Helper. */
import { workerData } from 'node:worker_threads';
import { HelperRing } from './helper-ring.ts';

new HelperRing(workerData as SharedArrayBuffer).serve();
