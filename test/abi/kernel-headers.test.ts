/** Our layouts, ioctl numbers and constants against a table that a C program printed from the kernel's headers. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import * as sgx from '../../src/abi/sgx-arch.ts';
import * as uapi from '../../src/abi/sgx-uapi.ts';
import type { Layout } from '../../src/lib/layout.ts';

type Place = readonly [offset: number, sizeBytes: number];
interface Table {
  readonly structs: Readonly<
    Record<string, { readonly size: number; readonly fields: Readonly<Record<string, Place>> }>
  >;
  readonly ioctls: Readonly<Record<string, string>>;
  readonly constants: Readonly<Record<string, string>>;
}

const table = JSON.parse(readFileSync(new URL('../vectors/sgx-abi.json', import.meta.url), 'utf8')) as Table;
const layouts: readonly Layout[] = [...sgx.sgxLayouts, ...uapi.sgxUapiLayouts];
const mapped = layouts.filter((layout) => layout.kernel !== undefined);

/** The kernel cuts SIGSTRUCT into these; their fields are in the table a second time as `header.x`, `body.x`. */
const sigStructParts: Readonly<Record<string, string>> = { sgx_sigstruct_header: 'header', sgx_sigstruct_body: 'body' };
const isReserved = (name: string): boolean => /(^|\.)reserved\d*$/.test(name);

describe('structs', () => {
  test.each(mapped.map((layout) => [layout.kernel!.struct, layout] as const))(
    '%s has our size and offsets',
    (struct, layout) => {
      const theirs = table.structs[struct]!;
      expect(layout.sizeBytes).toBe(theirs.size);
      const ours = Object.fromEntries(
        Object.entries(layout.kernel!.fields).map(([field, kernelField]): [string, Place] => {
          const { offset, sizeBytes } = layout.fields.find(({ name }) => name === field)!;
          return [kernelField, [offset, sizeBytes]];
        }),
      );
      const containers = struct === 'sgx_sigstruct' ? Object.values(sigStructParts) : [];
      const expected = Object.entries(theirs.fields).filter(
        ([name]) => !isReserved(name) && !containers.includes(name),
      );
      expect(ours).toEqual(Object.fromEntries(expected));
    },
  );

  test.each(Object.entries(sigStructParts))('%s is where SIGSTRUCT has it', (struct, part) => {
    const whole = table.structs['sgx_sigstruct']!.fields;
    const [start, sizeBytes] = whole[part]!;
    expect(table.structs[struct]!.size).toBe(sizeBytes);
    for (const [name, [offset, length]] of Object.entries(table.structs[struct]!.fields)) {
      expect([name, whole[`${part}.${name}`]]).toEqual([name, [start + offset, length]]);
    }
  });

  test('every struct of the headers has a layout', () => {
    const known = [...mapped.map((layout) => layout.kernel!.struct), ...Object.keys(sigStructParts)];
    expect(known.toSorted()).toEqual(Object.keys(table.structs).toSorted());
  });
});

test('the ioctls of the headers are those of our tables', () => {
  const tables = [uapi.enclaveIoctls, uapi.provisionIoctls, uapi.vepcIoctls];
  const ours = Object.assign({}, ...tables.map(({ numbers }) => numbers)) as Record<string, number>;
  expect(ours).toEqual(Object.fromEntries(Object.entries(table.ioctls).map(([name, text]) => [name, Number(text)])));
});

describe('constants', () => {
  const ours = ourConstants();
  test.each(Object.entries(table.constants))('%s is %s', (name, text) => {
    expect(ours[name]).toBe(BigInt(text));
  });
});

/** What we have, under the kernel's names. */
function ourConstants(): Record<string, bigint> {
  const named = (prefix: string, values: Readonly<Record<string, number | bigint>>): [string, bigint][] =>
    Object.entries(values).map(([name, value]) => [prefix + name, BigInt(value)]);
  const { mask } = sgx.SecInfoFlags;
  const reservedBytes = (layout: Layout, from: string, to: string): bigint =>
    BigInt(layout.offsetOf(to) - layout.offsetOf(from));
  return Object.fromEntries([
    ...named('', sgx.Encls),
    ['EDGBRD', BigInt(sgx.Encls.EDBGRD)],
    ['EDGBWR', BigInt(sgx.Encls.EDBGWR)],
    ...named('', sgx.SgxCode),
    ...named('SGX_MISC_', sgx.MiscSelect.mask),
    ...named('SGX_ATTR_', sgx.Attributes.mask),
    ['SGX_ATTR_ASYNC_EXIT_NOTIFY', sgx.Attributes.mask.AEXNOTIFY],
    ...named('SGX_TCS_', sgx.TcsFlags.mask),
    ['SGX_TCS_RESERVED_MASK', BigInt.asUintN(64, ~sgx.TcsFlags.mask.DBGOPTIN)],
    ...named('SGX_PAGE_TYPE_', sgx.PageType),
    ...named('SGX_SECINFO_', { R: mask.R, W: mask.W, X: mask.X }),
    ...Object.entries(sgx.PageType).map(([name, type]): [string, bigint] => [
      `SGX_SECINFO_${name}`,
      BigInt(type) << 8n,
    ]),
    ['SGX_SECINFO_PERMISSION_MASK', mask.R | mask.W | mask.X],
    ['SGX_SECINFO_PAGE_TYPE_MASK', mask.PT],
    ['SGX_PAGE_TYPE_MASK', mask.PT >> 8n],
    ['SGX_CPUID', BigInt(sgx.SgxCpuid.LEAF)],
    ['SGX_CPUID_EPC', BigInt(sgx.SgxCpuid.FIRST_EPC_SUBLEAF)],
    ['SGX_CPUID_EPC_INVALID', BigInt(sgx.SgxCpuid.EPC_INVALID)],
    ['SGX_CPUID_EPC_SECTION', BigInt(sgx.SgxCpuid.EPC_SECTION)],
    ['SGX_CPUID_EPC_MASK', BigInt(sgx.SgxCpuid.EPC_TYPE_MASK)],
    ['SGX_MODULUS_SIZE', BigInt(sgx.SIGSTRUCT_MODULUS_BYTES)],
    ['SGX_LAUNCH_TOKEN_SIZE', BigInt(sgx.EinitToken.sizeBytes)],
    ['SGX_SSA_GPRS_SIZE', BigInt(sgx.Gprsgx.sizeBytes)],
    ['SGX_SSA_MISC_EXINFO_SIZE', BigInt(sgx.Exinfo.sizeBytes)],
    // The kernel knows no CET: what we name there is reserved to it.
    ['SGX_TCS_RESERVED_SIZE', BigInt(sgx.Tcs.sizeBytes - sgx.Tcs.offsetOf('ocetSsa'))],
    ['SGX_PCMD_RESERVED_SIZE', reservedBytes(sgx.Pcmd, 'reserved', 'mac')],
    ['SGX_SIGSTRUCT_RESERVED1_SIZE', reservedBytes(sgx.SigStruct, 'reserved1', 'modulus')],
    ['SGX_SIGSTRUCT_RESERVED2_SIZE', reservedBytes(sgx.SigStruct, 'cetAttributes', 'attributes')],
    ['SGX_SIGSTRUCT_RESERVED3_SIZE', reservedBytes(sgx.SigStruct, 'reserved3', 'isvProdId')],
    ['SGX_SIGSTRUCT_RESERVED4_SIZE', reservedBytes(sgx.SigStruct, 'reserved4', 'q1')],
    ['SGX_MAGIC', BigInt(uapi.SGX_MAGIC)],
    ...named('', uapi.AddPagesFlags.mask),
    ['SGX_ATTR_UNPRIV_MASK', uapi.SGX_ATTR_UNPRIV_MASK],
    ['SGX_ATTR_PRIV_MASK', uapi.SGX_ATTR_PRIV_MASK],
    ['SGX_ATTR_RESERVED_MASK', uapi.SGX_ATTR_RESERVED_MASK],
    ['SGX_MISC_RESERVED_MASK', uapi.SGX_MISC_RESERVED_MASK],
    ['SGX_SECINFO_RESERVED_MASK', uapi.SGX_SECINFO_RESERVED_MASK],
  ]);
}
