/** Injections in words, as `--inject` and machine files give them: `emodt:SGX_PAGE_NOT_MODIFIABLE@page=7,every`. */
import { Encls, Enclu, SgxCode, sgxCodeName } from '../abi/sgx-bits.ts';
import { Vector } from '../abi/x86.ts';
import { Errno } from '../lib/errno.ts';
import { places, type InjectedOutcome, type InjectionRule, type Place, type PlaceName } from '../kernel/injections.ts';
import { DescriptionError } from './description.ts';

const EXCEPTIONS = { '#GP': Vector.GP, '#PF': Vector.PF } as const;

/** Leaves that there are, and why nothing can be injected into them. */
const notHere: Readonly<Record<string, string>> = {
  EENTER: 'the program’s own process enters without asking the machine each time',
  ERESUME: 'the program’s own process resumes without asking the machine each time',
  EEXIT: 'it cannot fail',
  EREMOVE: 'Linux only warns when it fails, and never uses the page of EPC again',
  EBLOCK: 'Linux only warns when it fails',
  EWB: 'Linux only warns when it fails, and the page is lost; ELDU is where a program meets that',
  ELDB: 'Linux never executes it',
  EDBGRD: 'a debugger reads enclave memory by itself here',
  EDBGWR: 'a debugger writes enclave memory by itself here',
};

/** Throws a DescriptionError. */
export function parseInjection(text: string): InjectionRule {
  const match = /^([^:@]*):([^:@]*)(?:@(.*))?$/.exec(text.trim());
  if (match === null) {
    throw new DescriptionError(
      `"${text}" is no injection. Write WHERE:OUTCOME or WHERE:OUTCOME@WHEN, as in emodt:SGX_PAGE_NOT_MODIFIABLE@page=7.`,
    );
  }
  const [, where = '', outcome = '', when] = match;
  const name = placeNamed(where);
  const place = places[name];
  return { text: text.trim(), place: name, outcome: outcomeNamed(outcome, name, place), ...moment(when, name, place) };
}

function placeNamed(text: string): PlaceName {
  const name = Object.keys(places).find((known) => known.toLowerCase() === text.toLowerCase());
  if (name !== undefined) return name as PlaceName;
  const leaf = text.toUpperCase();
  const known = `Known: ${listed(Object.keys(places))}.`;
  if (Object.hasOwn(notHere, leaf)) {
    throw new DescriptionError(`Nothing can be injected into ${leaf}: ${notHere[leaf]}. ${known}`);
  }
  if (Object.hasOwn(Encls, leaf) || Object.hasOwn(Enclu, leaf)) {
    throw new DescriptionError(`Nothing can be injected into ${leaf}: nobody executes it here. ${known}`);
  }
  throw new DescriptionError(`There is no leaf and no function of the kernel "${text}". ${known}`);
}

/** By name, or by number: that of a code of the leaf, else the vector of an exception. */
function outcomeNamed(text: string, name: PlaceName, { leaf, errnos }: Place): InjectedOutcome {
  const word = text.toUpperCase();
  if (leaf === undefined) {
    const errno = errnos.find((known) => known === word || String(Errno[known]) === word);
    if (errno !== undefined) return { kind: 'errno', errno: Errno[errno] };
  } else {
    const code = leaf.codes.find((known) => known === word || String(SgxCode[known]) === word);
    if (code !== undefined) return { kind: 'code', code: SgxCode[code] };
    const exception = exceptions.find((known) => known === word || String(EXCEPTIONS[known]) === word);
    if (exception !== undefined) return { kind: 'fault', vector: EXCEPTIONS[exception] };
  }
  const number = Number(text);
  const meant =
    text !== '' && leaf && Object.values<number>(SgxCode).includes(number) ? ` (${sgxCodeName(number)})` : '';
  throw new DescriptionError(`${name} cannot give "${text}"${meant}. It can give ${listed(outcomesOf(name))}.`);
}

const exceptions = Object.keys(EXCEPTIONS) as (keyof typeof EXCEPTIONS)[];

/** All that can be injected there, with the numbers that stand for it. */
export function outcomesOf(name: PlaceName): string[] {
  const { leaf, errnos } = places[name];
  if (leaf === undefined) return [...errnos];
  const faults = exceptions.map((exception) => `${exception} (${EXCEPTIONS[exception]})`);
  return [...leaf.codes.map((code) => `${code} (${SgxCode[code]})`), ...faults];
}

type Moment = Pick<InjectionRule, 'page' | 'address' | 'every' | 'nth'>;
const WHEN = ['page', 'address', 'nth', 'every'] as const;

function moment(text: string | undefined, name: PlaceName, { hasPage }: Place): Moment {
  const given = new Map<string, number>();
  for (const word of text === undefined ? [] : text.split(',')) {
    const [, key = '', value] = /^([a-z]+)(?:=([^=]*))?$/.exec(word.trim()) ?? [];
    if (!(WHEN as readonly string[]).includes(key)) {
      throw new DescriptionError(`"${word}" does not say when. Write ${listed(WHEN.map((known) => `${known}=N`))}.`);
    }
    if (given.has(key)) throw new DescriptionError(`"${key}" is said twice. Use --inject twice.`);
    given.set(key, key === 'every' && value === undefined ? 1 : whenNumber(key, value ?? ''));
  }
  const [page, address, nth, every] = WHEN.map((key) => given.get(key));
  if (!hasPage && (page ?? address) !== undefined) {
    throw new DescriptionError(`${name} works on no page of an enclave: choose its call by nth=N or every=N.`);
  }
  if (page !== undefined && address !== undefined) throw contradiction('page', 'address');
  if (nth !== undefined && every !== undefined) throw contradiction('nth', 'every');
  return { page, address, every, nth: nth ?? 1 };
}

const contradiction = (one: string, other: string): DescriptionError =>
  new DescriptionError(`"${one}" and "${other}" do not go together. Use one of them.`);

function whenNumber(key: string, text: string): number {
  const number = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN;
  const least = key === 'page' || key === 'address' ? 0 : 1;
  if (Number.isSafeInteger(number) && number >= least) return number;
  throw new DescriptionError(`"${key}=${text}" is no number from ${least} on.`);
}

function listed(words: readonly string[]): string {
  return words.join(', ');
}

/** For a person, about a rule that has done nothing. */
export function neverUsed({ text, place, page, address }: InjectionRule, met: number): string {
  const there = (page ?? address) === undefined ? place : `${place} of that page`;
  const times = met === 0 ? 'was never met' : `was met ${met === 1 ? 'once' : `${met} times`}`;
  return `--inject ${text} did nothing: ${there} ${times}`;
}
