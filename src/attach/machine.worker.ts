/**
 * The thread that owns the machine. It makes the gate first and then loads the model, while the command line is still being
 * read and the program starts; then it serves until nobody needs it.
 */
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { Helper } from './helper.ts';
import { createEventfd } from './linux/events.ts';
import { close } from './linux/files.ts';
import { socketPair } from './linux/sockets.ts';
import type { MachineOrder, MachineReady, MachineThreadData } from './protocol.ts';

const { control } = workerData as MachineThreadData;
const [gate, programsGate] = socketPair();
const wakeUp = createEventfd();
parentPort!.postMessage({ gate: programsGate, wakeUp } satisfies MachineReady);
// Beside the loading, so that it is there for a program's first enclave.
const helper = new Helper();

const [[order], { serve }] = await Promise.all([once(parentPort!, 'message'), import('./serve.ts')]);
parentPort!.close();
if ((order as MachineOrder).standing !== undefined) for (const end of [gate, programsGate]) close(end);
await serve({ order: order as MachineOrder, gate, wakeUp, control: new Int32Array(control), helper });
