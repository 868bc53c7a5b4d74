import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Attributes, Xfrm } from '../abi/sgx-arch.ts';
import { DescriptionError, processorOf } from './description.ts';
import { machineFileSchema, parseMachineFile } from './machine-file.ts';
import { processorProfiles, type ProcessorProfile } from './profiles.ts';

const parse = (value: unknown) => parseMachineFile(JSON.stringify(value), 'm.json');
const processor = (value: unknown) => processorOf(parse(value));

describe('a machine file', () => {
  it('that is empty is the default machine', () => {
    expect(parse({})).toEqual({
      cpu: 'sapphire-rapids',
      features: {},
      epc: [128 * 2 ** 20],
      sgxUapi: 'mainline',
      inject: [],
      state: undefined,
    });
    expect(processor({})).toEqual(processorProfiles['sapphire-rapids']);
  });

  it('names a profile, sizes, injections and a directory', () => {
    const inject = ['eaug:#GP', 'alloc:ENOMEM@nth=2'];
    const file = { $schema: 'x', cpu: 'icelake', epc: '64M,32M', inject, state: 'here' };
    expect(parse(file)).toEqual({
      cpu: 'icelake',
      features: {},
      epc: [2 ** 26, 2 ** 25],
      sgxUapi: 'mainline',
      inject,
      state: 'here',
    });
  });

  it('changes single features, and what follows from them', () => {
    const { attributes, kss, sgx2, ...rest } = processor({ cpu: 'icelake', features: { kss: false, sgx2: false } });
    expect([kss, sgx2]).toEqual([false, false]);
    expect(attributes & Attributes.mask.KSS).toBe(0n);
    expect(processorProfiles['icelake']).toMatchObject(rest);
    expect(
      processor({ cpu: 'icelake', features: { aexNotify: true } }).attributes & Attributes.mask.AEXNOTIFY,
    ).not.toBe(0n);
  });

  it('gives bits by name', () => {
    const features = { xfrm: ['X87', 'SSE', 'AVX'], miscSelect: [], attributes: ['MODE64BIT', 'DEBUG'], kss: false };
    const { xfrm, xcr0, miscSelect, attributes } = processor({ cpu: 'icelake', features });
    expect([xfrm, xcr0, miscSelect, attributes]).toEqual([7n, 7n, 0, 6n]);
  });

  it.each(Object.values(processorProfiles))('of $name with all its features spelled out is $name', (profile) => {
    const { name, sgx2, kss, aexNotify, miscSelect, maxEnclaveSizeLog2_64, maxEnclaveSizeLog2_32 } = profile;
    const features = {
      sgx2,
      kss,
      aexNotify,
      maxEnclaveSizeLog2_64,
      maxEnclaveSizeLog2_32,
      miscSelect: miscSelect === 0 ? [] : ['EXINFO'],
      attributes: Attributes.format(profile.attributes).split('|'),
      xfrm: Xfrm.format(profile.xfrm).split('|'),
    };
    expect(processor({ cpu: name, features })).toEqual(profile);
  });

  it.each([
    [{ cpu: 'pentium' }, 'm.json: cpu: expected one of "skylake"|"icelake"|"sapphire-rapids"'],
    [{ cpus: 'icelake' }, 'm.json: unknown key "cpus"; known: $schema, cpu, features, epc, sgxUapi, inject, state'],
    [{ features: { sgx3: true } }, 'm.json: features: unknown key "sgx3"; known: sgx2, kss, aexNotify'],
    [{ features: { sgx2: 'yes' } }, 'm.json: features.sgx2: expected boolean, received string'],
    [{ features: { xfrm: ['AVX', 'AVX3'] } }, 'm.json: features.xfrm.1: expected one of "X87"|"SSE"|"AVX"'],
    [{ features: { attributes: ['INIT'] } }, 'm.json: features.attributes.0: expected one of "DEBUG"|"MODE64BIT"'],
    [{ features: { miscSelect: ['CPINFO'] } }, 'm.json: features.miscSelect.0: expected "EXINFO"'],
    [{ features: { maxEnclaveSizeLog2_64: 64 } }, 'm.json: features.maxEnclaveSizeLog2_64: '],
    [{ epc: 64 }, 'm.json: epc: expected string, received number'],
    [{ epc: '0' }, 'm.json: epc: An EPC of 0 cannot be. It has 1M to 64G.'],
    [{ inject: ['eaug:#GP', 'eaug:20'] }, 'm.json: inject.1: EAUG cannot give "20"'],
    [{ state: '' }, 'm.json: state: '],
    [[], 'm.json: expected object, received array'],
    [null, 'm.json: expected object, received null'],
  ])('%j is refused with its field', (value, sentence) => {
    expect(() => parse(value)).toThrow(DescriptionError);
    expect(() => parse(value)).toThrow(sentence);
  });

  it.each([
    [{ sgx2: false, aexNotify: true }, 'AEX-Notify came after SGX2'],
    [{ sgx2: false }, 'AEX-Notify came after SGX2'],
    [{ attributes: ['DEBUG', 'KSS', 'AEXNOTIFY'] }, 'lacks MODE64BIT'],
    [{ attributes: ['MODE64BIT', 'AEXNOTIFY'] }, 'kss is true and attributes lacks KSS'],
    [{ kss: false, attributes: ['MODE64BIT', 'KSS', 'AEXNOTIFY'] }, 'kss is false and attributes has KSS'],
    [{ attributes: ['MODE64BIT', 'KSS'] }, 'aexNotify is true and attributes lacks AEXNOTIFY'],
    [{ xfrm: ['X87'] }, 'lacks X87 or SSE'],
    [{ xfrm: ['X87', 'SSE', 'OPMASK', 'AVX'] }, 'XFRM has all of AVX-512'],
    [{ xfrm: ['X87', 'SSE', 'TILEDATA'] }, 'XFRM has both parts of AMX'],
    [{ maxEnclaveSizeLog2_64: 30 }, 'maxEnclaveSizeLog2_64 is below maxEnclaveSizeLog2_32'],
  ])('features %j contradict themselves', (features, sentence) => {
    expect(() => parse({ features })).toThrow(sentence);
    expect(() => parse({ features })).toThrow('m.json: features: ');
  });

  it('that is no JSON is refused', () => {
    expect(() => parseMachineFile('{', 'm.json')).toThrow(/^m\.json: not JSON \(/);
  });

  it('makes a processor that can be, or is refused, whatever it says', () => {
    const bits = (names: readonly string[]) => fc.subarray([...names]);
    const features = fc.record(
      {
        sgx2: fc.boolean(),
        kss: fc.boolean(),
        aexNotify: fc.boolean(),
        xfrm: bits(Object.keys(Xfrm.spec)),
        attributes: bits(['DEBUG', 'MODE64BIT', 'PROVISIONKEY', 'EINITTOKENKEY', 'KSS', 'AEXNOTIFY']),
        maxEnclaveSizeLog2_64: fc.integer({ min: 0, max: 70 }),
      },
      { requiredKeys: [] },
    );
    const cpu = fc.constantFrom(...Object.keys(processorProfiles), 'constructor');
    fc.assert(
      fc.property(fc.record({ cpu, features, epc: fc.string() }, { requiredKeys: [] }), (value) => {
        const made = processorOrRefusal(value);
        if (made === undefined) return;
        expect((made.attributes & Attributes.mask.KSS) !== 0n).toBe(made.kss);
        expect(made.xfrm & 3n).toBe(3n);
      }),
    );
  });
});

function processorOrRefusal(value: unknown): ProcessorProfile | undefined {
  try {
    return processor(value);
  } catch (error) {
    if (error instanceof DescriptionError) return undefined;
    throw error;
  }
}

describe('the JSON Schema of machine files', () => {
  it('knows every key, describes each and lets no other pass', () => {
    interface Schema {
      readonly properties: Readonly<Record<string, Schema & { readonly description?: string }>>;
      readonly additionalProperties: boolean;
      readonly required?: readonly string[];
    }
    const schema = machineFileSchema() as Schema;
    expect(Object.keys(schema.properties)).toEqual(['$schema', 'cpu', 'features', 'epc', 'sgxUapi', 'inject', 'state']);
    for (const { additionalProperties, properties, required } of [schema, schema.properties['features']!]) {
      expect([additionalProperties, required]).toEqual([false, undefined]);
      expect(Object.values(properties).filter(({ description }) => description === undefined)).toEqual([]);
    }
  });
});
