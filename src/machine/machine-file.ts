/**
 * Machine files: JSON that describes a machine, and the schema behind it. Loads zod, which takes 70 ms, so nobody
 * imports this who has no such file.
 */
import { z } from 'zod';
import { Attributes, Xfrm } from '../abi/sgx-arch.ts';
import { DEFAULT_SGX_UAPI, sgxUapis } from '../abi/sgx-uapi/generations.ts';
import {
  DEFAULT_CPU,
  DEFAULT_EPC,
  DescriptionError,
  parseEpc,
  processorOf,
  type MachineDescription,
} from './description.ts';
import { parseInjection } from './injection.ts';
import { processorProfiles } from './profiles.ts';

/** Attributes that are no choice of the processor's (INIT), or that the model does not have (CET). */
const NOT_TO_CHOOSE = ['INIT', 'CET'];

const bits = (names: readonly string[], what: string) => z.array(z.enum(names)).meta({ description: what });
const flag = (what: string) => z.boolean().meta({ description: what });
const log2 = (what: string) => z.int().min(12).max(56).meta({ description: what });

const featuresSchema = z
  .strictObject({
    sgx2: flag('EAUG, EMODPR, EMODT, EACCEPT, EMODPE'),
    kss: flag('key separation and sharing: CONFIGID, CONFIGSVN, ISVFAMILYID, ISVEXTPRODID'),
    aexNotify: flag('AEX-Notify: EDECCSSA'),
    miscSelect: bits(['EXINFO'], 'SECS.MISCSELECT bits that ECREATE allows'),
    attributes: bits(
      Object.keys(Attributes.spec).filter((name) => !NOT_TO_CHOOSE.includes(name)),
      'SECS.ATTRIBUTES bits that ECREATE allows; KSS and AEXNOTIFY go with kss and aexNotify',
    ),
    xfrm: bits(Object.keys(Xfrm.spec), 'SECS.XFRM bits that ECREATE allows, as far as the host has them'),
    maxEnclaveSizeLog2_64: log2('a 64-bit enclave has less than 2 to this power bytes'),
    maxEnclaveSizeLog2_32: log2('the same of a 32-bit enclave'),
  })
  .partial()
  .meta({ description: 'what the processor has otherwise than the profile' });

const machineFile = z
  .strictObject({
    $schema: z.string().meta({ description: 'for editors: the output of `vitrine machine schema`' }),
    cpu: z.enum(Object.keys(processorProfiles)).meta({ description: `processor profile; default ${DEFAULT_CPU}` }),
    features: featuresSchema,
    epc: z
      .string()
      .check(refusedBy(parseEpc))
      .meta({
        description: `size of the EPC, or of its sections with commas between; default ${DEFAULT_EPC}`,
        examples: ['64M', '64M,64M'],
      }),
    sgxUapi: z.enum(sgxUapis).meta({
      description: `generation of the SGX interface: docs/generations.md; default ${DEFAULT_SGX_UAPI}`,
    }),
    inject: z.array(z.string().check(refusedBy(parseInjection))).meta({
      description: 'outcomes to come instead of what would be, as in --inject',
      examples: [['emodt:SGX_PAGE_NOT_MODIFIABLE@page=7', 'alloc:ENOMEM@nth=100']],
    }),
    state: z
      .string()
      .min(1)
      .meta({ description: 'directory of the identity, seen from this file; default: the user’s' }),
  })
  .partial()
  .meta({ title: 'Vitrine machine', description: 'A machine for `vitrine run --machine FILE`' });

/** A check of a string by a parser that throws a DescriptionError. */
function refusedBy(parse: (text: string) => unknown): z.core.CheckFn<string> {
  return ({ value, issues }) => {
    const message = problemOf(() => parse(value));
    if (message !== undefined) issues.push({ code: 'custom', message, input: value });
  };
}

/** JSON Schema of machine files. */
export function machineFileSchema(): object {
  return z.toJSONSchema(machineFile);
}

/** What a machine file says: a machine, and where its identity is. */
export interface MachineFile extends MachineDescription {
  /** As written: seen from the file's directory. */
  readonly state: string | undefined;
}

/** @param file name for messages. Throws a DescriptionError that names it, the field and what would be right. */
export function parseMachineFile(text: string, file: string): MachineFile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new DescriptionError(`${file}: not JSON (${(error as Error).message})`, { cause: error });
  }
  const result = machineFile.safeParse(json);
  if (!result.success) throw new DescriptionError(`${file}: ${result.error.issues.map(sentence).join('; ')}`);
  const {
    cpu = DEFAULT_CPU,
    features = {},
    epc = DEFAULT_EPC,
    sgxUapi = DEFAULT_SGX_UAPI,
    inject = [],
    state,
  } = result.data;
  const problem = problemOf(() => processorOf({ cpu, features }));
  if (problem !== undefined) throw new DescriptionError(`${file}: features: ${problem}`);
  return { cpu, features, epc: parseEpc(epc), sgxUapi, inject, state };
}

function sentence(issue: z.core.$ZodIssue): string {
  const path = issue.path.join('.');
  const at = path === '' ? '' : `${path}: `;
  if (issue.code === 'unrecognized_keys') {
    const known = Object.keys((path === 'features' ? featuresSchema : machineFile).shape).join(', ');
    return `${at}unknown key ${issue.keys.map((key) => `"${key}"`).join(', ')}; known: ${known}`;
  }
  return at + issue.message.replace(/^Invalid (?:input|option): /, '');
}

function problemOf(attempt: () => unknown): string | undefined {
  try {
    attempt();
    return undefined;
  } catch (error) {
    if (error instanceof DescriptionError) return error.message;
    throw error;
  }
}
