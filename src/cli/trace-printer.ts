/**
 * `--trace`: one line per event on standard error; under a refusal a second one with the check that refused.
 *
 *     4711  SGX_IOC_ENCLAVE_ADD_PAGES offset=0x2000 length=0x1000 = EINVAL  12 us
 *           refused: SECINFO.FLAGS.PT is PT_REG or PT_TCS; expected PT_REG or PT_TCS, found PT_VA
 *
 * Runs in the machine's thread and writes at once, so that lines stand in the order in which things happened.
 */
import { writeSync } from 'node:fs';
import type { Trace } from '../trace/events.ts';
import { formatter, type TextOptions } from '../trace/text.ts';

export function listen(trace: Trace, options: TextOptions): void {
  const format = formatter(options);
  trace.listen({ event: (event) => writeAll(format(event)) });
}

/** Standard error may be a pipe that is full for now, or closed: then there is nobody to tell. */
function writeAll(text: string): void {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSync(2, bytes, done);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return;
    }
  }
}
