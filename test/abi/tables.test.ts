/** Facts about our own tables that no header states. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import * as sgx from '../../src/abi/sgx-arch.ts';
import { enclaveIoctls, EnclaveAddPages, provisionIoctls, sgxUapiLayouts } from '../../src/abi/sgx-uapi.ts';
import { MapFlags, OpenFlags, Prot, signalName, uffdIoctls } from '../../src/abi/linux.ts';
import { plainText } from '../../src/lib/plain.ts';
import { PageFaultError, vectorName } from '../../src/abi/x86.ts';

test('the generated headers are those of the present values', () => {
  const script = fileURLToPath(new URL('../../scripts/generate.ts', import.meta.url));
  expect(execFileSync(process.execPath, [script, '--check'], { encoding: 'utf8' })).toBe('');
});

describe('trace text', () => {
  test('SECS', () => {
    const secs = sgx.Secs.encode({
      size: 0x10000n,
      baseAddr: 0x7f00_0000_0000n,
      ssaFrameSize: 1,
      attributes: 6n,
      xfrm: 3n,
    });
    expect(plainText(sgx.Secs.plain(sgx.Secs.decode(secs)))).toBe(
      'size=0x10000 baseAddr=0x7f0000000000 ssaFrameSize=1 miscSelect=0 cetLegBitmapOffset=0x0 cetAttributes=0 ' +
        'attributes=DEBUG|MODE64BIT xfrm=X87|SSE isvProdId=0 isvSvn=0 configSvn=0',
    );
  });

  test('SECINFO of a trimmed page', () => {
    expect(sgx.SecInfo.plain({ flags: 0x410n })).toEqual({ flags: 'MODIFIED|PT=TRIM' });
  });

  test('ADD_PAGES argument', () => {
    const argument = EnclaveAddPages.encode({ src: 0x1000n, length: 0x2000n, secInfo: 0x7ffcn, flags: 1n });
    const text = plainText(EnclaveAddPages.plain(EnclaveAddPages.decode(argument)));
    expect(text).toBe('src=0x1000 offset=0x0 length=0x2000 secInfo=0x7ffc flags=SGX_PAGE_MEASURE count=0x0');
  });

  test('EXITINFO of a page fault', () => {
    expect(sgx.ExitInfo.format(0x8000_030e)).toBe('VECTOR=14|TYPE=HARDWARE|VALID');
  });

  test('codes, types, vectors, error codes, signals, mmap and open', () => {
    const names = [sgx.sgxCodeName(11), sgx.sgxCodeName(9999), sgx.pageTypeName(2), vectorName(14), signalName(11)];
    expect(names).toEqual(['SGX_NOT_TRACKED', 'SGX code 9999', 'PT_REG', '#PF', 'SIGSEGV']);
    expect([PageFaultError.format(0x8007), Prot.format(5)]).toEqual(['P|W|U|SGX', 'PROT_READ|PROT_EXEC']);
    expect([MapFlags.format(0x11), OpenFlags.format(0o2000002)]).toEqual(['MAP_SHARED|MAP_FIXED', 'O_RDWR|O_CLOEXEC']);
  });
});

test.each(enclaveIoctls.entries.map((entry) => [entry.name, entry] as const))(
  '%s names each of its errors once',
  (_name, { errors }) => {
    expect(errors.length).toBeGreaterThan(0);
    expect(new Set<string>(errors).size).toBe(errors.length);
  },
);

test('sgx_provision knows no command', () => {
  expect(provisionIoctls.find(enclaveIoctls.numbers.SGX_IOC_ENCLAVE_PROVISION)).toBeUndefined();
});

test('userfaultfd numbers', () => {
  expect(uffdIoctls.numbers).toEqual({
    UFFDIO_REGISTER: 0xc020_aa00,
    UFFDIO_UNREGISTER: 0x8010_aa01,
    UFFDIO_WAKE: 0x8010_aa02,
    UFFDIO_API: 0xc018_aa3f,
  });
});

test('the signed pieces of a SIGSTRUCT are 256 bytes and end at the fields the SDM names', () => {
  const [[, headEnd], [bodyStart, bodyEnd]] = sgx.SIGSTRUCT_SIGNED_RANGES;
  expect([headEnd, bodyStart, bodyEnd]).toEqual([
    sgx.SigStruct.offsetOf('modulus'),
    sgx.SigStruct.offsetOf('miscSelect'),
    sgx.SigStruct.offsetOf('reserved4'),
  ]);
  expect(headEnd + bodyEnd - bodyStart).toBe(256);
});

test('C names are unique', () => {
  const names = [...sgx.sgxLayouts, ...sgxUapiLayouts].map(({ cName }) => cName);
  expect(new Set(names).size).toBe(names.length);
});
