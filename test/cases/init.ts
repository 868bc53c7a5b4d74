/** SGX_IOC_ENCLAVE_INIT and PROVISION. Source: sgx_ioc_enclave_init, sgx_encl_init, sgx_set_attribute. */
import { Attributes, Xfrm } from '../../src/abi/sgx-arch.ts';
import {
  add,
  At,
  built,
  create,
  created,
  defineCase,
  FD,
  hex,
  init,
  initialized,
  ioctl,
  Memory,
  open,
  openProvision,
  provision,
  PROVISION_FD,
  put,
  sign,
  step,
  tampered,
  words,
} from './language.ts';

const INIT = 'SGX_IOC_ENCLAVE_INIT';
const PROVISION = 'SGX_IOC_ENCLAVE_PROVISION';
const { MODE64BIT, DEBUG, PROVISIONKEY, EINITTOKENKEY, KSS, CET } = Attributes.mask;
const ALL = 0xffff_ffff_ffff_ffffn;
const permitted = MODE64BIT | PROVISIONKEY;

/** Refused, and the enclave is as it was: a good SIGSTRUCT initializes it. */
const refused = (title: string, errno: string, sigStruct: Uint8Array) =>
  defineCase(`${errno}: ${title}; then rightly`, built(), init(sigStruct, errno), init());

export const initCases = [
  defineCase('EINVAL: INIT before CREATE', open(), init(sign(), 'EINVAL')),
  defineCase('EINVAL: INIT before CREATE, before the argument is read', open(), ioctl(INIT, 'EINVAL', Memory.NOWHERE)),
  defineCase('EINVAL: INIT twice', initialized(), init(sign(), 'EINVAL')),
  defineCase('EINVAL: INIT twice, before the argument is read', initialized(), ioctl(INIT, 'EINVAL', Memory.NOWHERE)),
  ...[0, Memory.NOWHERE, Memory.END - 4, 0xffff_ffff_ffff_fff8n].map((address) =>
    defineCase(`EFAULT: the argument of INIT at ${hex(address)}`, created(), ioctl(INIT, 'EFAULT', address)),
  ),
  ...[0, Memory.NOWHERE, Memory.END - 1807].map((address) =>
    defineCase(
      `EFAULT: a SIGSTRUCT at ${hex(address)}`,
      built(),
      words(Memory.ARGUMENT, address),
      ioctl(INIT, 'EFAULT'),
      init(),
    ),
  ),
  defineCase(
    'a SIGSTRUCT needs no alignment and may be read-only, and so may the argument',
    built(),
    put(Memory.SIGSTRUCT + 5, sign()),
    words(Memory.ARGUMENT + 9, Memory.SIGSTRUCT + 5),
    step(`mprotect ${hex(Memory.START)} 0x3000 1`),
    ioctl(INIT, '0', Memory.ARGUMENT + 9),
  ),
  defineCase(
    'a SIGSTRUCT at the very end of a mapping',
    built(),
    put(Memory.END - 1808, sign()),
    words(Memory.ARGUMENT, Memory.END - 1808),
    ioctl(INIT, '0'),
  ),
  refused(
    'a vendor that is neither 0 nor 0x8086',
    'EINVAL',
    tampered(sign(), (view) => (view.vendor = 1)),
  ),
  defineCase('vendor 0x8086', built(), init(sign({ vendor: 0x8086 }))),
  defineCase(
    'EINVAL for the vendor comes before EACCES',
    built({ attributes: permitted }),
    init(
      tampered(sign(), (view) => (view.vendor = 1)),
      'EINVAL',
    ),
  ),
  defineCase(
    'EACCES: PROVISIONKEY without permission',
    built({ attributes: permitted }),
    init(sign({ attributes: permitted }), 'EACCES'),
  ),
  defineCase(
    'EACCES: EINITTOKENKEY',
    built({ attributes: MODE64BIT | EINITTOKENKEY }),
    init(sign({ attributes: MODE64BIT | EINITTOKENKEY }), 'EACCES'),
  ),
  defineCase(
    'EACCES: EINITTOKENKEY, permission or not',
    built({ attributes: MODE64BIT | EINITTOKENKEY }),
    openProvision(),
    provision(PROVISION_FD),
    init(sign({ attributes: MODE64BIT | EINITTOKENKEY }), 'EACCES'),
  ),
  defineCase(
    'EACCES comes before EINVAL for what the SIGSTRUCT demands',
    built({ attributes: permitted }),
    init(sign({ attributes: 1n << 40n, attributeMask: 1n << 40n }), 'EACCES'),
  ),
  refused(
    'the SIGSTRUCT demands an attribute that does not exist',
    'EINVAL',
    sign({ attributes: MODE64BIT | (1n << 40n), attributeMask: ALL }),
  ),
  refused('the SIGSTRUCT demands CET', 'EINVAL', sign({ attributes: MODE64BIT | CET, attributeMask: ALL & ~DEBUG })),
  refused('the SIGSTRUCT demands a MISCSELECT that does not exist', 'EINVAL', sign({ miscSelect: 2, miscMask: 2 })),
  refused(
    'the SIGSTRUCT demands an XFRM that the processor lacks',
    'EINVAL',
    sign({ xfrm: Xfrm.mask.BNDREGS | 3n, xfrmMask: ALL }),
  ),
  refused('the SIGSTRUCT demands XFRM bit 63', 'EINVAL', sign({ xfrm: (1n << 63n) | 3n, xfrmMask: ALL })),
  refused(
    'EINVAL for a demand comes before EPERM',
    'EINVAL',
    sign({ miscSelect: 2, miscMask: 2, enclaveHash: new Uint8Array(32) }),
  ),
  defineCase(
    'what is not in the masks is not demanded',
    built(),
    init(sign({ miscSelect: 2, miscMask: 0, xfrm: 3n | Xfrm.mask.BNDREGS, xfrmMask: 3n })),
  ),
  refused('MRENCLAVE is another (SGX_INVALID_MEASUREMENT)', 'EPERM', sign({ enclaveHash: new Uint8Array(32) })),
  refused(
    'DEBUG is demanded and not set (SGX_INVALID_ATTRIBUTE)',
    'EPERM',
    sign({ attributes: MODE64BIT | DEBUG, attributeMask: MODE64BIT | DEBUG }),
  ),
  refused('XFRM is another (SGX_INVALID_ATTRIBUTE)', 'EPERM', sign({ xfrm: 7n, xfrmMask: 7n })),
  refused('MISCSELECT is another (SGX_INVALID_ATTRIBUTE)', 'EPERM', sign({ miscSelect: 1, miscMask: 1 })),
  refused(
    'an ISVFAMILYID without KSS (SGX_INVALID_SIG_STRUCT)',
    'EPERM',
    sign({ isvFamilyId: new Uint8Array(16).fill(1) }),
  ),
  refused(
    'a signed byte was changed (SGX_INVALID_SIGNATURE)',
    'EPERM',
    tampered(sign(), (view) => (view.date ^= 1)),
  ),
  refused(
    'the header is another (SGX_INVALID_SIG_STRUCT)',
    'EPERM',
    (() => {
      const s = sign();
      s[0]! ^= 1;
      return s;
    })(),
  ),
  refused(
    'the exponent is not 3 (SGX_INVALID_SIG_STRUCT)',
    'EPERM',
    tampered(sign(), (view) => (view.exponent = 5)),
  ),
  refused(
    'Q1 is another (SGX_INVALID_SIGNATURE)',
    'EPERM',
    (() => {
      const s = sign();
      s[1040]! ^= 1;
      return s;
    })(),
  ),
  defineCase(
    'EPERM: DEBUG is in the enclave and not in the SIGSTRUCT, which looks at it',
    built({ attributes: MODE64BIT | DEBUG }),
    init(sign({ attributeMask: ALL }), 'EPERM'),
  ),
  defineCase(
    'DEBUG in the enclave, where the SIGSTRUCT does not look at it',
    built({ attributes: MODE64BIT | DEBUG }),
    init(),
  ),
  defineCase(
    'KSS has a family',
    built({ attributes: MODE64BIT | KSS }),
    init(sign({ attributes: MODE64BIT | KSS, isvFamilyId: new Uint8Array(16).fill(1) })),
  ),
  defineCase(
    'after a failed INIT more pages can be added',
    built(),
    init(sign({ enclaveHash: new Uint8Array(32) }), 'EPERM'),
    add({ offset: At.HOLE, flags: 0 }),
    init(sign(), 'EPERM'),
  ),
  defineCase('INIT of an enclave without pages: EPERM for the measurement', created(), init(sign(), 'EPERM')),

  ...[0, Memory.NOWHERE, 0xffff_ffff_ffff_fff8n].map((address) =>
    defineCase(`EFAULT: the argument of PROVISION at ${hex(address)}`, open(), ioctl(PROVISION, 'EFAULT', address)),
  ),
  defineCase('EINVAL: PROVISION with a descriptor that is not open', created(), provision(99, 'EINVAL')),
  defineCase('EINVAL: PROVISION with -1', created(), provision(ALL, 'EINVAL')),
  defineCase('EINVAL: PROVISION with the enclave itself', created(), provision(FD, 'EINVAL')),
  defineCase(
    'EINVAL: PROVISION with a descriptor that was closed',
    created(),
    openProvision(),
    step(`close ${PROVISION_FD}`),
    provision(PROVISION_FD, 'EINVAL'),
  ),
  defineCase(
    'PROVISION after CREATE: INIT lets PROVISIONKEY pass',
    built({ attributes: permitted }),
    openProvision(),
    provision(PROVISION_FD),
    init(sign({ attributes: permitted })),
  ),
  defineCase(
    'PROVISION: the upper half of fd is not looked at',
    built({ attributes: permitted }),
    openProvision(),
    provision(2 ** 40 + PROVISION_FD),
    init(sign({ attributes: permitted })),
  ),
  defineCase(
    'PROVISION: a duplicate of the descriptor will do',
    built({ attributes: permitted }),
    openProvision(),
    step(`dup2 ${PROVISION_FD} 105`, '0x69'),
    step(`close ${PROVISION_FD}`),
    provision(105),
    init(sign({ attributes: permitted })),
  ),
  defineCase(
    'PROVISION may be said again',
    created(),
    openProvision(),
    provision(PROVISION_FD),
    provision(PROVISION_FD),
  ),
  defineCase(
    'PROVISION before CREATE is lost',
    open(),
    openProvision(),
    provision(PROVISION_FD),
    create({ attributes: permitted }),
    init(sign({ attributes: permitted }), 'EACCES'),
  ),
  defineCase(
    'PROVISION after a refused INIT makes it good',
    built({ attributes: permitted }),
    init(sign({ attributes: permitted }), 'EACCES'),
    openProvision(),
    provision(PROVISION_FD),
    init(sign({ attributes: permitted })),
  ),
  defineCase('PROVISION after INIT does nothing', initialized(), openProvision(), provision(PROVISION_FD)),
  defineCase(
    'the permission outlives the token',
    built({ attributes: permitted }),
    openProvision(),
    provision(PROVISION_FD),
    step(`close ${PROVISION_FD}`),
    init(sign({ attributes: permitted })),
  ),
];
