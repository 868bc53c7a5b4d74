/**
 * Outcomes on request: a leaf or a function of the kernel ends as somebody outside asked, in the place of its own end.
 * What it would have changed stays as it was. Off, it costs the reading of one property; `docs/inject.md` is for users.
 *
 * A place more: a row in `places`, and a question (`leaf` or `errno`) where the kernel would have its answer.
 */
import { leafOutcomes, type LeafOutcomes } from '../abi/leaf-outcomes.ts';
import { PageFaultError } from '../abi/x86.ts';
import type { Errno } from '../lib/errno.ts';
import {
  fail,
  generalProtection,
  pageFault,
  sgxCode,
  why,
  type Code,
  type Failure,
  type Fault,
  type Why,
} from '../lib/outcome.ts';
import { addressOf, type LinPage } from '../lib/units.ts';
import { outcomeOf, type Trace } from '../trace/events.ts';
import type { EnclaveFile } from './enclave.ts';

export type LeafPlace = keyof typeof leafOutcomes;
export type ErrnoPlace = 'alloc' | 'load' | 'unmark' | 'signal';
export type PlaceName = LeafPlace | ErrnoPlace;

/** Somewhere in the kernel where an outcome can be had on request. */
export interface Place {
  /** For whose sake it is met. */
  readonly met: string;
  /** What the program gets for it. */
  readonly gives: string;
  /** It works on one page of ELRANGE, by which it can be chosen. */
  readonly hasPage: boolean;
  readonly errnos: readonly (keyof typeof Errno)[];
  readonly leaf?: LeafOutcomes;
}
type Words = Pick<Place, 'met' | 'gives' | 'hasPage'>;

const byEnclave = { met: 'the enclave', gives: 'RAX, or the exception' } as const;
const leafPlaces: Readonly<Record<LeafPlace, Words>> = {
  ECREATE: { met: 'CREATE', gives: 'EIO', hasPage: false },
  EADD: { met: 'ADD_PAGES, for each page', gives: 'EIO', hasPage: true },
  EEXTEND: { met: 'ADD_PAGES, for each page that is measured', gives: 'EIO', hasPage: true },
  EINIT: {
    met: 'INIT',
    gives: 'a code: EPERM; an exception: EIO; SGX_UNMASKED_EVENT: tried again, 1000 times in all',
    hasPage: false,
  },
  EPA: {
    met: 'CREATE; each 512th page more',
    gives: 'EFAULT; SIGBUS where a touch asked for the page',
    hasPage: false,
  },
  ELDU: {
    met: 'a page that was evicted is needed (its SECS, too)',
    gives: 'SIGBUS, or EFAULT of an ioctl; the page is lost for good',
    hasPage: true,
  },
  ETRACK: {
    met: 'RESTRICT_PERMISSIONS, MODIFY_TYPES, after each page; once more when it fails',
    gives: 'nothing; twice in a row: EFAULT at a page that has been changed all the same',
    hasPage: false,
  },
  EAUG: { met: 'a touch where there is no page', gives: 'SIGBUS', hasPage: true },
  EMODPR: {
    met: 'RESTRICT_PERMISSIONS; REMOVE_PAGES, to see whether the trim was accepted',
    gives: 'EFAULT, a code in `result`; of REMOVE_PAGES EPERM, and nothing for a #PF, which says yes',
    hasPage: true,
  },
  EMODT: { met: 'MODIFY_TYPES', gives: 'EFAULT, a code in `result`', hasPage: true },
  EREPORT: { ...byEnclave, hasPage: false },
  EGETKEY: { ...byEnclave, hasPage: false },
  EACCEPT: { ...byEnclave, hasPage: true },
  EMODPE: { ...byEnclave, hasPage: true },
  EACCEPTCOPY: { ...byEnclave, hasPage: true },
  EDECCSSA: { ...byEnclave, hasPage: false },
};

export const places: Readonly<Record<PlaceName, Place>> = {
  ...leavesAsPlaces(),
  alloc: {
    met: 'a page of EPC is needed (sgx_alloc_epc_page); those for an SECS or a VA page have no page of ELRANGE',
    gives: 'ENOMEM, EINTR; EFAULT of an SGX2 ioctl; SIGBUS for a touch',
    hasPage: true,
    errnos: ['ENOMEM', 'EINTR'],
  },
  load: {
    met: 'an SGX2 ioctl comes to a page (sgx_encl_load_page), EBUSY: which is just being evicted',
    gives: 'EAGAIN for EBUSY, EFAULT',
    hasPage: true,
    errnos: ['EBUSY', 'EFAULT'],
  },
  unmark: {
    met: 'MODIFY_TYPES to PT_TCS, REMOVE_PAGES (sgx_unmark_page_reclaimable), EBUSY: it is being evicted by now',
    gives: 'EAGAIN; of REMOVE_PAGES EBUSY',
    hasPage: true,
    errnos: ['EBUSY'],
  },
  signal: {
    met: 'ADD_PAGES, before each page (signal_pending)',
    gives: 'EINTR at the first page, as for a handler without SA_RESTART; later success with a smaller `count`',
    hasPage: true,
    errnos: ['EINTR'],
  },
};

function leavesAsPlaces(): Readonly<Record<LeafPlace, Place>> {
  const names = Object.keys(leafOutcomes) as LeafPlace[];
  const entries = names.map((name) => [name, { ...leafPlaces[name], errnos: [], leaf: leafOutcomes[name] }]);
  return Object.fromEntries(entries) as Record<LeafPlace, Place>;
}

export type InjectedOutcome =
  | { readonly kind: 'fault'; readonly vector: 13 | 14 }
  | { readonly kind: 'code'; readonly code: number }
  | { readonly kind: 'errno'; readonly errno: number };

export interface InjectionRule {
  /** As it was asked for. */
  readonly text: string;
  readonly place: PlaceName;
  readonly outcome: InjectedOutcome;
  /** Only at this page, counted from the beginning of ELRANGE. */
  readonly page?: number | undefined;
  /** Only at the page of this address. */
  readonly address?: number | undefined;
  /** At each so-many-th time that the rest is met; otherwise at the `nth` alone. */
  readonly every?: number | undefined;
  readonly nth: number;
}

const { P, U, SGX } = PageFaultError.bit;

interface Counted {
  readonly rule: InjectionRule;
  met: number;
  used: number;
}

export class Injections {
  readonly #rules: readonly Counted[];
  readonly #trace: Trace;

  constructor(rules: readonly InjectionRule[], trace: Trace) {
    this.#rules = rules.map((rule) => ({ rule, met: 0, used: 0 }));
    this.#trace = trace;
  }

  /** How the leaf shall end instead; undefined: as it does. @param page of ELRANGE that it works on */
  leaf(place: LeafPlace, file: EnclaveFile, page?: LinPage): Fault | Code | undefined {
    const rule = this.#find(place, file, page);
    if (rule === undefined) return undefined;
    const { outcome } = rule;
    const reason = because(rule);
    const end =
      outcome.kind === 'code'
        ? sgxCode(outcome.code, reason)
        : outcome.kind === 'fault' && outcome.vector === 14
          ? pageFault(page === undefined ? 0 : addressOf(page), P | U | SGX, reason)
          : generalProtection(reason);
    this.#tell(rule, end, page);
    return end;
  }

  /** What the function shall fail with instead; undefined: it goes on. */
  errno(place: ErrnoPlace, file: EnclaveFile, page?: LinPage): Failure | undefined {
    const rule = this.#find(place, file, page);
    if (rule?.outcome.kind !== 'errno') return undefined;
    const end = fail(rule.outcome.errno, because(rule));
    this.#tell(rule, end, page);
    return end;
  }

  /** Rules that have never had their moment, and how often all but the count was met. */
  unused(): { readonly rule: InjectionRule; readonly met: number }[] {
    return this.#rules.filter(({ used }) => used === 0).map(({ rule, met }) => ({ rule, met }));
  }

  /** All rules count; the first whose moment it is decides. */
  #find(place: PlaceName, file: EnclaveFile, page: LinPage | undefined): InjectionRule | undefined {
    let found: Counted | undefined;
    for (const counted of this.#rules) {
      const { rule } = counted;
      if (rule.place !== place || !isAt(rule, file, page)) continue;
      counted.met++;
      const now = rule.every === undefined ? counted.met === rule.nth : counted.met % rule.every === 0;
      if (now) found ??= counted;
    }
    if (found) found.used++;
    return found?.rule;
  }

  #tell(rule: InjectionRule, end: Fault | Code | Failure, page: LinPage | undefined): void {
    if (!this.#trace.on) return;
    this.#trace.emit({
      kind: 'inject',
      pid: 0,
      name: rule.place,
      ...(page !== undefined && { args: { address: `0x${addressOf(page).toString(16)}` } }),
      ...outcomeOf(end),
    });
  }
}

function isAt(rule: InjectionRule, file: EnclaveFile, page: LinPage | undefined): boolean {
  if (rule.page !== undefined && (page === undefined || page - file.basePage !== rule.page)) return false;
  return rule.address === undefined || (page !== undefined && page === Math.floor(rule.address / 4096));
}

const because = ({ text, place }: InjectionRule): Why =>
  why('nothing is injected', `${place} as it is`, `--inject ${text}`);
