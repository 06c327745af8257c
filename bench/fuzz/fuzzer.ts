// Tries inputs on one target: its corpus, mutants of that, and fresh ones. An input that takes a way which no other
// has taken is kept in turn, so that the next mutants begin from it.

import type { Random } from '../simulation/random.js';
import { withLateFaults } from './late-faults.js';
import { mutate } from './mutate.js';
import { shrink } from './shrink.js';
import { isPure, type LivingTarget, must, type Outcome, type Parts, type Target } from './target.js';

/** Living inputs that share the turns of the event loop. */
const BATCH = 64;
/** Turns that an input may take: far more than any correct one needs. */
const MAX_TURNS = 5_000;
/** Inputs that are kept in memory, and what each may have. */
const MAX_POOL = 400;
const MAX_KEPT_BYTES = 4 * 1024;
/** Ways are counted as far as that. */
const MAX_WAYS = 5_000;
/** Attempts to shorten a kept input, which matters less than a failing one. */
const DISTIL_ATTEMPTS = 200;
const FRESH = 0.1;
const UNREPAIRED = 0.3;

/** An input that makes a target fail. */
export interface Failure {
  readonly target: string;
  /** As short as it could be made. */
  readonly parts: Parts;
  readonly error: Error;
}

export class Fuzzer {
  inputs = 0;
  /** How often inputs went each way. */
  readonly ways = new Map<Outcome, number>();
  failure: Failure | undefined;
  private readonly pool: Buffer[][];
  /** What was thrown in a later tick, by an unknown input of the batch. */
  private readonly thrown: Error[] = [];

  /** @param onInputs called with inputs before they are tried */
  constructor(
    readonly target: Target,
    private readonly random: Random,
    private readonly corpus: readonly Parts[],
    private readonly onInputs: (inputs: readonly Parts[]) => void = () => {},
  ) {
    this.pool = corpus.map((parts) => [...parts]);
    while (this.pool.length < corpus.length + 32) this.pool.push(target.generate(random));
  }

  /** Tries `count` more inputs, the corpus first of all; ends early with the first failure. */
  async run(count: number): Promise<void> {
    const end = this.inputs + count;
    await this.guarded(async () => {
      while (this.inputs < end && this.failure === undefined) {
        await this.tryBatch(Array.from({ length: Math.min(BATCH, end - this.inputs) }, (_, n) => this.next(n)));
      }
    });
  }

  /** The shortest known inputs that take different ways, the rarest first. */
  distil(count: number): Promise<Array<{ way: Outcome; parts: Parts }>> {
    return this.guarded(() => this.shortestWays(count));
  }

  private guarded<T>(action: () => Promise<T>): Promise<T> {
    return withLateFaults((error) => this.thrown.push(error), action);
  }

  private async shortestWays(count: number): Promise<Array<{ way: Outcome; parts: Parts }>> {
    const shortest = new Map<Outcome, Parts>();
    for (const parts of this.pool) {
      for (const way of await this.tryOne(parts)) {
        const known = shortest.get(way);
        if (known === undefined || bytesOf(parts) < bytesOf(known)) shortest.set(way, parts);
      }
    }
    const rarest = [...shortest].sort(([one], [other]) => (this.ways.get(one) ?? 0) - (this.ways.get(other) ?? 0));
    const distilled: Array<{ way: Outcome; parts: Parts }> = [];
    for (const [way, parts] of rarest.slice(0, count)) {
      const isOnWay = async (shorter: Parts): Promise<boolean> => (await this.tryOne(shorter)).includes(way);
      distilled.push({ way, parts: await shrink(parts, isOnWay, DISTIL_ATTEMPTS) });
    }
    return distilled;
  }

  private next(offset: number): Buffer[] {
    const { random, pool, target, corpus } = this;
    const index = this.inputs + offset;
    if (index < corpus.length) return [...corpus[index]];
    if (random.next() < FRESH) return target.generate(random);
    const mutant = mutate(random.pick(pool), random.pick(pool), random);
    if (random.next() >= UNREPAIRED) target.repair?.(mutant, random);
    return mutant;
  }

  private async tryBatch(inputs: Buffer[][]): Promise<void> {
    this.onInputs(inputs);
    this.inputs += inputs.length;
    let ways: ReadonlyArray<readonly Outcome[]>;
    try {
      ways = await this.waysOf(inputs);
    } catch (error) {
      this.failure = await this.findFailure(inputs, error as Error);
      return;
    }
    ways.forEach((gone, index) => {
      let isNew = false;
      for (const way of new Set(gone)) isNew = this.count(way) || isNew;
      if (isNew) this.keep(inputs[index]);
    });
  }

  /** Is it the first that went this way? */
  private count(way: Outcome): boolean {
    const known = this.ways.get(way);
    if (known === undefined && this.ways.size >= MAX_WAYS) return false;
    this.ways.set(way, (known ?? 0) + 1);
    return known === undefined;
  }

  private keep(parts: Buffer[]): void {
    const { pool, random } = this;
    if (bytesOf(parts) > MAX_KEPT_BYTES) return;
    // What a slice belongs to would be kept as well.
    const copy = parts.map((part) => Buffer.from(part));
    if (pool.length < MAX_POOL) pool.push(copy);
    else pool[random.below(pool.length)] = copy;
  }

  private async waysOf(inputs: readonly Parts[]): Promise<ReadonlyArray<readonly Outcome[]>> {
    const { target } = this;
    if (isPure(target)) return inputs.map((parts) => target.run(parts));
    const ways = await live(target, inputs);
    const error = this.thrown.shift();
    this.thrown.length = 0;
    if (error !== undefined) throw error;
    return ways;
  }

  private async tryOne(parts: Parts): Promise<readonly Outcome[]> {
    this.onInputs([parts]);
    return (await this.waysOf([parts]))[0];
  }

  private async errorOf(parts: Parts): Promise<Error | undefined> {
    try {
      await this.tryOne(parts);
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }

  private async findFailure(inputs: readonly Parts[], first: Error): Promise<Failure> {
    for (const parts of inputs) {
      const error = await this.errorOf(parts);
      if (error === undefined) continue;
      const shortest = await shrink(parts, async (shorter) => (await this.errorOf(shorter))?.name === error.name);
      return { target: this.target.name, parts: shortest, error: (await this.errorOf(shortest)) ?? error };
    }
    // None of them fails alone: it needs state that others have left.
    return { target: this.target.name, parts: inputs.flat(), error: first };
  }
}

async function live(target: LivingTarget, inputs: readonly Parts[]): Promise<ReadonlyArray<readonly Outcome[]>> {
  const trials = inputs.map((parts) => target.start(parts));
  const endMs = performance.now() + (target.waitsMs ?? 0);
  let waiting = trials;
  for (let turns = 0; waiting.length > 0; turns++) {
    must(turns < MAX_TURNS || performance.now() < endMs, `not done after ${MAX_TURNS} turns`);
    await turn();
    waiting = waiting.filter((trial) => !trial.advance());
  }
  await turn();
  return trials.map((trial) => trial.finish());
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function bytesOf(parts: Parts): number {
  return parts.reduce((sum, part) => sum + part.length + 4, 0);
}
