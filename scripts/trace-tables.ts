/** The tables of docs/trace.md, from the types that the trace is made of. */
import { enclaveIoctls } from '../src/abi/sgx-uapi.ts';
import { headerFields, lineFields } from '../src/cli/trace-file.ts';
import { traceKinds, traceOutcomes } from '../src/trace/events.ts';
import { table } from './markdown.ts';

/** By the names that stand in the document's markers. */
export const traceTables: Readonly<Record<string, string>> = {
  header: meanings('field', headerFields),
  line: meanings('field', lineFields),
  kind: meanings('kind', traceKinds),
  outcome: meanings('outcome', traceOutcomes),
  ioctl: table(
    ['name', '`args`'],
    enclaveIoctls.entries.map(({ name, arg }) => [
      `\`${name}\``,
      arg.fields
        .filter(({ kind }) => kind !== 'reserved')
        .map((field) => `\`${field.name}\``)
        .join(', '),
    ]),
  ),
};

function meanings(heading: string, values: Readonly<Record<string, string>>): string {
  return table(
    [heading, 'meaning'],
    Object.entries(values).map(([name, meaning]) => [`\`${name}\``, meaning]),
  );
}
