/**
 * The thread that owns the machine. It listens first, so that the program can start while the model is still being
 * loaded, then serves until nobody needs it.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { createEventfd } from './linux/events.ts';
import { listenAbstract } from './linux/sockets.ts';
import type { MachineOrder, MachineReady } from './protocol.ts';

const order = workerData as MachineOrder;
const listener = listenAbstract(order.socketName);
const wakeUp = createEventfd();
parentPort!.postMessage({ wakeUp } satisfies MachineReady);

const { serve } = await import('./serve.ts');
await serve(order, listener, wakeUp);
