/**
 * What to tell a person whose program was built for another generation of the interface: which one, once each. The
 * program itself gets the kernel's error.
 */
import { SGX_2018, SGX_ENCLAVE_INODE } from '../abi/sgx-uapi/generation.ts';
import {
  generationsWithCommand,
  generationsWithMapping,
  generationsWithNode,
  type SgxUapi,
} from '../abi/sgx-uapi/generations.ts';

/** Takes a sentence for a person, about this process. */
export type Tell = (sentence: string, pid: number) => void;

export class Advice {
  readonly #present: SgxUapi;
  readonly #tell: Tell;
  readonly #told = new Set<string>();
  /** Processes that know of descriptors of enclaves. */
  readonly #builders = new Set<number>();

  constructor(present: SgxUapi, tell: Tell) {
    this.#present = present;
    this.#tell = tell;
  }

  /**
   * A command that descriptors of this node do not take here. Returns the remedy; undefined when they do in no
   * generation.
   */
  unknownCommand(pid: number, path: string, command: number): string | undefined {
    const { names, ioctl } = generationsWithCommand(path, command);
    return ioctl === undefined ? undefined : this.#say(pid, `calls ${ioctl} (${hex(command)}) on ${path}`, names);
  }

  /** A command on a descriptor that is no device's: a program of 2018 may take what CREATE returned for one. */
  strayCommand(pid: number, command: number): void {
    const { names, ioctl } = generationsWithCommand(SGX_ENCLAVE_INODE, command);
    const createGivesNone = this.#has(SGX_2018) && !this.#has(SGX_ENCLAVE_INODE);
    if (createGivesNone && ioctl !== undefined) {
      this.#say(pid, `calls ${ioctl} (${hex(command)}) on what CREATE returned`, names);
    }
  }

  /** A file that cannot be mapped here. */
  unmappable(pid: number, path: string): void {
    const names = generationsWithMapping(path);
    if (names.length > 0) this.#say(pid, `maps ${path}`, names);
  }

  /** The process uses an enclave by its descriptor, as this generation has it. */
  knowsDescriptors(pid: number): void {
    this.#builders.add(pid);
  }

  /** An enclave that nobody did anything with: where CREATE gives no descriptor, anything but 0 is a failure. */
  unusedEnclave(pid: number): void {
    if (this.#builders.has(pid)) return;
    this.#say(pid, 'did nothing with the descriptor that CREATE gave', generationsWithoutDescriptors());
  }

  /** An argument in which something stands that another generation has in this place. Returns the remedy. */
  otherArgument(pid: number, what: string, generations: readonly SgxUapi[]): string {
    return this.#say(pid, what, generations);
  }

  /** The remedy for a node that is not here but in other generations; undefined when it is in none. Tells nobody. */
  missingNode(path: string): string | undefined {
    const names = generationsWithNode(path);
    return names.length === 0 ? undefined : `${this.#builtFor(names)}; ${remedy(names)}`;
  }

  /** That a program asked for a node, and found none that it could open. */
  tellMissingNode(pid: number, path: string, tell: Tell): void {
    const names = generationsWithNode(path);
    if (names.length > 0) this.#say(pid, `asked for ${path}`, names, tell);
  }

  #has(path: string): boolean {
    return generationsWithNode(path).includes(this.#present);
  }

  #say(pid: number, what: string, generations: readonly SgxUapi[], tell: Tell = this.#tell): string {
    const advice = `${this.#builtFor(generations)}; ${remedy(generations)}`;
    const key = `${what} ${advice}`;
    if (!this.#told.has(key)) {
      this.#told.add(key);
      tell(`process ${pid} ${what}: ${advice}`, pid);
    }
    return advice;
  }

  #builtFor(generations: readonly SgxUapi[]): string {
    return `it was built for ${list(generations)}, this machine has ${this.#present}`;
  }
}

/** Those of 2018 in which CREATE returns 0. */
const generationsWithoutDescriptors = (): SgxUapi[] =>
  generationsWithNode(SGX_2018).filter((name) => !generationsWithNode(SGX_ENCLAVE_INODE).includes(name));

const hex = (command: number): string => `0x${command.toString(16)}`;

const list = (names: readonly string[]): string =>
  names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;

const remedy = (generations: readonly SgxUapi[]): string =>
  generations.length === 1
    ? `run it with --sgx-uapi ${generations[0]}`
    : 'run it with --sgx-uapi and one of them (docs/generations.md)';
