/** The steps that a random history of a machine is made of, for fast-check. */
import * as fc from 'fast-check';
import { Madvise } from '../../src/abi/linux.ts';
import { PAGE_SIZE_BYTES } from '../../src/lib/units.ts';
import { BASES, PAGES, type Choice } from './calls.ts';
import type { Doing, World } from './world.ts';

interface Kind<T = unknown> {
  readonly weight: number;
  readonly args: fc.Arbitrary<T>;
  readonly run: (world: World, args: T) => void;
}

const small = fc.nat(7);
/** Few pages, so that what is done to one page follows on one another; and all others. */
const page = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(8, 9, 12, 13, 24, 25) },
  { weight: 1, arbitrary: fc.nat(PAGES - 1) },
);
const place = fc.constantFrom(0, 0, 0, 1, 2);
const choice: fc.Arbitrary<Choice> = fc.record({
  base: place,
  page,
  pages: fc.integer({ min: 1, max: 6 }),
  kind: small,
  fd: small,
  other: small,
  // Mostly good calls; 10 leaves an ioctl in the middle, 11 has a signal come.
  twist: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(11) }),
});
const doing: fc.Arbitrary<Doing> = fc.record({
  what: fc.constantFrom<Doing['what'][]>(
    ...(['read', 'read', 'write', 'write', 'accept', 'accept', 'accept', 'extend', 'copy', 'tcs'] as const),
    ...(['exec', 'key', 'report', 'dec', 'pause'] as const),
  ),
  page,
  value: fc.nat(255),
});
/** The TCSs that `build` makes, mostly. */
const tcs = fc.oneof({ weight: 4, arbitrary: fc.constantFrom(0, 3) }, { weight: 1, arbitrary: page });

/** Its own arguments, and nobody else's, come back to `run`. */
const kind = <T>(weight: number, args: fc.Arbitrary<T>, run: (world: World, args: T) => void): Kind =>
  ({ weight, args, run }) as Kind<T> as unknown as Kind;

const rangeOf = (where: Choice): [address: number, lengthBytes: number] => [
  BASES[where.base % BASES.length]! + where.page * PAGE_SIZE_BYTES,
  Math.min(where.pages, PAGES - where.page) * PAGE_SIZE_BYTES,
];

const advices = Object.values(Madvise);
const prots = [3, 1, 5, 7, 0, 3] as const;
const protOf = ({ kind: number }: Choice): number => prots[number % prots.length]!;

const kinds: Readonly<Record<string, Kind>> = {
  spawn: kind(1, fc.constant(null), (world) => world.spawn()),
  fork: kind(1, small, (world, process) => world.fork(process)),
  exit: kind(1, small, (world, process) => world.exit(process)),
  exec: kind(1, small, (world, process) => world.exec(process)),
  open: kind(2, fc.tuple(small, small), (world, [process, path]) => world.open(process, path)),
  close: kind(1, fc.tuple(small, small), (world, [index, fd]) => {
    const process = world.process(index);
    process.close(world.descriptor(process, fd));
  }),
  dup: kind(1, fc.tuple(small, small, small), (world, [index, fd, as]) => {
    const process = world.process(index);
    process.dup(world.descriptor(process, fd), 3 + as);
  }),
  pass: kind(2, fc.tuple(small, small, small), (world, [index, fd, to]) => {
    const process = world.process(index);
    const receiver = world.process(to);
    if (receiver.descriptors().length < 8) process.passDescriptor(world.descriptor(process, fd), receiver);
  }),
  build: kind(2, fc.tuple(small, place), (world, [process, base]) => world.build(process, base)),
  ioctl: kind(12, fc.tuple(small, small, choice), (world, [process, nth, how]) => world.ioctl(process, nth, how)),
  goOn: kind(1, fc.tuple(small, fc.boolean()), (world, [nth, toTheEnd]) => world.goOn(nth, toTheEnd)),
  map: kind(3, fc.tuple(small, small, place), (world, [index, fd, base]) => {
    const process = world.process(index);
    world.map(process, world.descriptor(process, fd), base);
  }),
  mmap: kind(1, fc.tuple(small, choice), (world, [index, how]) => {
    const process = world.process(index);
    const flags = how.twist === 2 ? 0x12 : 0x11;
    process.mmap(...rangeOf(how), protOf(how), flags, world.descriptor(process, how.fd));
  }),
  munmap: kind(1, fc.tuple(small, choice), (world, [process, how]) => {
    world.process(process).munmap(...rangeOf(how));
  }),
  mprotect: kind(2, fc.tuple(small, choice), (world, [process, how]) => {
    world.process(process).mprotect(...rangeOf(how), protOf(how));
  }),
  mremap: kind(1, fc.tuple(small, choice, page), (world, [process, how, to]) => {
    const [address, lengthBytes] = rangeOf(how);
    const target = BASES[how.kind % BASES.length]! + to * PAGE_SIZE_BYTES;
    world.process(process).mremap(address, lengthBytes, PAGE_SIZE_BYTES * (1 + (how.fd % 4)), 3, target);
  }),
  madvise: kind(1, fc.tuple(small, choice, fc.nat(advices.length - 1)), (world, [process, how, advice]) => {
    world.process(process).madvise(...rangeOf(how), advices[advice]!);
  }),
  personality: kind(1, small, (world, process) => {
    const one = world.process(process);
    one.personalityImpliesExec = !one.personalityImpliesExec;
  }),
  touch: kind(2, fc.tuple(small, choice, fc.boolean()), (world, [index, how, writes]) => {
    const process = world.process(index);
    const [address, lengthBytes] = rangeOf(how);
    if (writes) process.write(address, Uint8Array.of(how.kind));
    else process.read(address, lengthBytes);
  }),
  debug: kind(1, fc.tuple(small, choice), (world, [process, how]) => {
    const [address] = rangeOf(how);
    // Of TCSs FLAGS alone can be written, and the test's own bytes are left alone.
    world.process(process).mm.accessMemory(address + 8 + how.kind, new Uint8Array(how.pages), 'read');
  }),
  enter: kind(
    8,
    fc.tuple(small, choice, tcs, fc.array(doing, { minLength: 1, maxLength: 8 })),
    (world, [process, how, at, doings]) => world.enter(process, { ...how, page: at }, doings),
  ),
  step: kind(12, fc.tuple(small, small, fc.integer({ min: 1, max: 20 })), (world, [process, nth, times]) =>
    world.step(process, nth, times),
  ),
  trim: kind(2, fc.tuple(small, choice), (world, [process, how]) => world.trim(process, how)),
  grow: kind(2, fc.tuple(small, choice), (world, [process, how]) => world.grow(process, how)),
  interrupt: kind(2, fc.tuple(small, small), (world, [index, nth]) => {
    const inside = world.process(index).threads.filter(({ thread }) => thread.inside !== undefined);
    if (inside.length > 0) inside[nth % inside.length]!.interrupt();
  }),
  leave: kind(1, fc.tuple(small, small), (world, [index, nth]) => {
    const { threads } = world.process(index);
    if (threads.length > 0) threads[nth % threads.length]!.exit();
  }),
  resume: kind(3, fc.tuple(small, choice, tcs), (world, [index, how, at]) => {
    const process = world.process(index);
    const thread = world.thread(process, how.fd);
    thread.startResume(BASES[how.base % BASES.length]! + at * PAGE_SIZE_BYTES);
  }),
};

class Step implements fc.Command<object, World> {
  readonly #name: string;
  readonly #args: unknown;
  readonly #run: Kind['run'];

  constructor(name: string, { run }: Kind, args: unknown) {
    this.#name = name;
    this.#args = args;
    this.#run = run;
  }

  check(): boolean {
    return true;
  }

  run(_model: object, world: World): void {
    this.#run(world, this.#args);
    world.check();
  }

  toString(): string {
    return `${this.#name} ${JSON.stringify(this.#args)}`;
  }
}

/** Histories of up to `length` steps. */
export function histories(length: number): fc.Arbitrary<Iterable<fc.Command<object, World>>> {
  const commands = Object.entries(kinds).flatMap(([name, each]) =>
    // Commands have no weights; the same one several times is likelier.
    Array.from({ length: each.weight }, () => each.args.map((args) => new Step(name, each, args))),
  );
  return fc.commands(commands, { maxCommands: length, size: 'max' });
}
