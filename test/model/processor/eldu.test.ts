import { describe, expect, it } from 'vitest';

import { Pcmd } from '../../../src/abi/sgx-arch.ts';
import { epcIndex, type EpcIndex } from '../../../src/lib/units.ts';
import { eadd } from '../../../src/processor/encls/eadd.ts';
import { eblock } from '../../../src/processor/encls/eblock.ts';
import { ecreate } from '../../../src/processor/encls/ecreate.ts';
import { eldu } from '../../../src/processor/encls/eldu.ts';
import { epa } from '../../../src/processor/encls/epa.ts';
import { eremove } from '../../../src/processor/encls/eremove.ts';
import { etrack } from '../../../src/processor/encls/etrack.ts';
import { ewb, type EvictedPage } from '../../../src/processor/encls/ewb.ts';
import {
  BASE,
  Flags,
  FREE,
  NOT_EPC,
  Offset,
  outcome,
  pattern,
  secInfo,
  SECS,
  secsBytes,
  TestEnclave,
  VA,
} from './enclave.ts';

const SLOT = 7;
const OTHER = epcIndex(60);
const MAC_FAIL = 'SGX_MAC_COMPARE_FAIL: the page authenticates under the version in the VA slot';

function evict(enclave: TestEnclave, page: EpcIndex, slot = SLOT): EvictedPage {
  if (enclave.cpu.epcm.isChild(page)) {
    eblock(enclave.cpu, page);
    etrack(enclave.cpu, SECS);
  }
  const result = ewb(enclave.cpu, page, VA, slot);
  if (result.kind !== 'ok') throw new Error(outcome(result));
  return result.value;
}

type Change = Partial<Parameters<typeof eldu>[1]>;

function evictAndLoad(change: (evicted: EvictedPage, enclave: TestEnclave) => Change, to = FREE, slot = SLOT, va = VA) {
  const enclave = new TestEnclave();
  const evicted = evict(enclave, enclave.at(Offset.DATA));
  const operands = {
    linAddr: evicted.linAddr,
    srcPage: evicted.sealed,
    pcmd: evicted.pcmd,
    secs: SECS,
    ...change(evicted, enclave),
  };
  return { enclave, operands, result: outcome(eldu(enclave.cpu, operands, to, va, slot)) };
}

const unchanged = () => ({});

describe('ELDU', () => {
  it('brings back contents and EPCM entry and empties the slot', () => {
    const { enclave, result } = evictAndLoad(unchanged);
    expect(result).toBe('ok');
    expect(enclave.entry(FREE)).toBe('R|W|PT=REG');
    expect(enclave.read(Offset.DATA)).toEqual(pattern(2));
    expect(enclave.cpu.versionArray(VA)[SLOT]).toBe(0n);
    expect(enclave.cpu.secs(SECS).children).toBe(6);
  });

  it('brings back an SECS, uninitialized with its measurement', () => {
    const enclave = new TestEnclave({ initialise: false });
    const { cpu } = enclave;
    const before = cpu.secs(SECS).measurement!.current();
    const eid = cpu.secs(SECS).hidden.enclaveId;
    for (const page of enclave.pages.values()) eremove(cpu, page);
    const { sealed, pcmd, linAddr } = evict(enclave, SECS);
    expect(linAddr).toBe(0);
    expect(outcome(eldu(cpu, { linAddr: 0, srcPage: sealed, pcmd, secs: undefined }, OTHER, VA, SLOT))).toBe('ok');
    expect(cpu.secs(OTHER).hidden.enclaveId).toBe(eid);
    expect(cpu.secs(OTHER).measurement!.current()).toEqual(before);
    const operands = { linAddr: BASE, srcPage: pattern(1), secInfo: secInfo(Flags.REG_RW), secs: OTHER };
    expect(outcome(eadd(cpu, operands, FREE))).toBe('ok');
  });

  it('brings back an initialized SECS, and pages to it at its new place', () => {
    const enclave = new TestEnclave();
    const { cpu } = enclave;
    const data = evict(enclave, enclave.at(Offset.DATA), 1);
    for (const page of enclave.pages.values()) eremove(cpu, page);
    const secs = evict(enclave, SECS, 2);
    expect(
      outcome(eldu(cpu, { linAddr: 0, srcPage: secs.sealed, pcmd: secs.pcmd, secs: undefined }, OTHER, VA, 2)),
    ).toBe('ok');
    expect(cpu.secs(OTHER).initialised).toBe(true);
    const operands = { linAddr: data.linAddr, srcPage: data.sealed, pcmd: data.pcmd, secs: OTHER };
    expect(outcome(eldu(cpu, operands, FREE, VA, 1))).toBe('ok');
    expect(cpu.epcm.secsOf(FREE)).toBe(OTHER);
  });

  it('brings back a version array with its slots', () => {
    const enclave = new TestEnclave();
    const { cpu } = enclave;
    epa(cpu, OTHER);
    cpu.versionArray(OTHER)[3] = 42n;
    const { sealed, pcmd } = evict(enclave, OTHER);
    expect(outcome(eldu(cpu, { linAddr: 0, srcPage: sealed, pcmd, secs: undefined }, FREE, VA, SLOT))).toBe('ok');
    expect(cpu.versionArray(FREE)[3]).toBe(42n);
  });

  it('#PF: RCX is in the EPC', () => {
    expect(evictAndLoad(unchanged, NOT_EPC).result).toBe('#PF 0x3: RCX is in the EPC');
  });
  it('#GP: RDX is an 8-byte aligned slot', () => {
    expect(evictAndLoad(unchanged, FREE, 512).result).toBe('#GP: RDX is an 8-byte aligned slot');
  });
  it('#PF: RDX is in the EPC', () => {
    expect(evictAndLoad(unchanged, FREE, SLOT, NOT_EPC).result).toBe('#PF 0x3: RDX is in the EPC');
  });
  it('#PF: EPCM.VALID is 0', () => {
    expect(evictAndLoad(unchanged, SECS).result).toBe('#PF 0x8003: EPCM.VALID is 0');
  });
  it('#PF: RDX is a valid PT_VA', () => {
    expect(evictAndLoad(unchanged, FREE, SLOT, SECS).result).toBe('#PF 0x8003: RDX is a valid PT_VA');
  });
  it('#GP: PAGEINFO.SECS is an SECS for a PT_REG', () => {
    expect(evictAndLoad(() => ({ secs: undefined })).result).toBe('#GP: PAGEINFO.SECS is an SECS for a PT_REG');
  });
  it('#PF: PAGEINFO.SECS is in the EPC', () => {
    expect(evictAndLoad(() => ({ secs: NOT_EPC })).result).toBe('#PF 0x3: PAGEINFO.SECS is in the EPC');
  });
  it('#PF: PAGEINFO.SECS is a valid PT_SECS', () => {
    expect(evictAndLoad(() => ({ secs: VA })).result).toBe('#PF 0x8003: PAGEINFO.SECS is a valid PT_SECS');
  });
  it.each([0, 0x300])('#GP: PAGEINFO.SECS is 0 for a PT_SECS or PT_VA (flags %i)', (flags) => {
    const { result } = evictAndLoad(() => ({ pcmd: Pcmd.encode({ secInfo: { flags: BigInt(flags) } }) }));
    expect(result).toMatch(/^#GP: PAGEINFO.SECS is 0 for a PT_(SECS|VA)$/);
  });
  it('#GP: PCMD.SECINFO.FLAGS.PT is a page type', () => {
    const { result } = evictAndLoad(() => ({ pcmd: Pcmd.encode({ secInfo: { flags: 0x900n } }) }));
    expect(result).toBe('#GP: PCMD.SECINFO.FLAGS.PT is a page type');
  });

  it.each<[string, (evicted: EvictedPage, enclave: TestEnclave) => Change]>([
    ['bytes', ({ sealed }) => ({ srcPage: sealed.with(100, sealed[100]! ^ 1) })],
    ['the MAC', ({ pcmd }) => ({ pcmd: pcmd.with(127, pcmd[127]! ^ 1) })],
    ['the rights', ({ pcmd }) => ({ pcmd: pcmd.with(0, Flags.R | Flags.X) })],
    ['the page type', ({ pcmd }) => ({ pcmd: pcmd.with(1, 1) })],
    ['reserved bytes of PCMD', ({ pcmd }) => ({ pcmd: pcmd.with(80, 1) })],
    ['the address', ({ linAddr }) => ({ linAddr: linAddr + 4096 })],
    [
      'the enclave',
      (_evicted, { cpu }) => {
        ecreate(cpu, { linAddr: 0n, srcPage: secsBytes(), secInfo: secInfo(0), secs: 0n }, OTHER);
        return { secs: OTHER };
      },
    ],
  ])(`${MAC_FAIL} (other: %s)`, (_what, change) => {
    const { enclave, result } = evictAndLoad(change);
    expect(result).toBe(MAC_FAIL);
    expect(enclave.entry(FREE)).toBe('not valid');
    expect(enclave.cpu.versionArray(VA)[SLOT]).not.toBe(0n);
  });
  it(`${MAC_FAIL} (another slot's version)`, () => {
    expect(evictAndLoad(unchanged, FREE, SLOT + 1).result).toBe(MAC_FAIL);
  });
  it(`${MAC_FAIL} (replay of a page that was loaded and evicted again)`, () => {
    const { enclave, operands } = evictAndLoad(unchanged);
    evict(enclave, FREE);
    expect(outcome(eldu(enclave.cpu, operands, FREE, VA, SLOT))).toBe(MAC_FAIL);
  });
});
