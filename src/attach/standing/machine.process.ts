/** The process of a standing machine in the background. Its standard error is the machine's log. */
import { once } from 'node:events';
import { MachineThread } from '../machine-thread.ts';
import type { MachineOrder } from '../protocol.ts';
import { endBySignals } from './start.ts';

const thread = new MachineThread();
const [order] = (await once(process, 'message')) as [MachineOrder];
process.title = `vitrine machine ${order.standing!.name}`;
await endBySignals(thread, order);
process.exit();
