// A run over all targets: each gets its share of the inputs, and is looked at for what it leaves in memory.

import { Random } from '../simulation/random.js';
import { readCorpus } from './corpus.js';
import { type Failure, Fuzzer } from './fuzzer.js';
import type { Target } from './target.js';
import type { Watchdog } from './watchdog.js';

/** Grown by more than that after the first tenth of its inputs, a target keeps something of each. */
const MAX_GROWTH_BYTES = 8 * 1024 * 1024;

export interface RunOptions {
  readonly targets: readonly Target[];
  /** Of all targets together. */
  readonly inputs: number;
  readonly seed: number;
  readonly corpus: string;
  readonly watchdog?: Watchdog;
  /** Told when a target is done. */
  readonly onResult?: (result: TargetResult) => void | Promise<void>;
}

export interface TargetResult {
  readonly name: string;
  readonly inputs: number;
  readonly seconds: number;
  /** Different ways that inputs went. */
  readonly ways: number;
  /** Error codes among them. */
  readonly codes: readonly string[];
  /** What the heap has grown by since the first tenth of the inputs; undefined where nobody can tell. */
  readonly grownBytes: number | undefined;
  readonly failure: Failure | undefined;
  readonly fuzzer: Fuzzer;
}

export async function runTargets(options: RunOptions): Promise<TargetResult[]> {
  const results: TargetResult[] = [];
  for (const [target, count] of sharesOf(options.targets, options.inputs)) {
    const result = await runTarget(target, count, options);
    results.push(result);
    await options.onResult?.(result);
  }
  return results;
}

/** How many of so many inputs are for each target. */
export function sharesOf(targets: readonly Target[], inputs: number): ReadonlyArray<readonly [Target, number]> {
  const all = targets.reduce((sum, { share }) => sum + share, 0);
  let [shareDone, inputsDone] = [0, 0];
  return targets.map((target) => {
    shareDone += target.share;
    const count = Math.round((inputs * shareDone) / all) - inputsDone;
    inputsDone += count;
    return [target, count];
  });
}

export async function runTarget(
  target: Target,
  count: number,
  { seed, corpus, watchdog }: Omit<RunOptions, 'targets' | 'inputs'>,
): Promise<TargetResult> {
  // A seed of its own, so that what one target finds does not hang on the others.
  const random = new Random(seed ^ hashOf(target.name));
  const fuzzer = new Fuzzer(target, random, readCorpus(corpus, target.name), (inputs) => watchdog?.onInputs(inputs));
  const startMs = performance.now();
  const first = Math.ceil(count / 10);
  await fuzzer.run(first);
  const before = await heapBytes();
  await fuzzer.run(count - first);
  const after = await heapBytes();
  const { inputs, ways } = fuzzer;
  const grownBytes = before === undefined || after === undefined ? undefined : after - before;
  return {
    name: target.name,
    inputs,
    seconds: (performance.now() - startMs) / 1000,
    ways: ways.size,
    codes: [
      ...new Set([...ways.keys()].flatMap((way) => way.match(/\b(ERR_STARLANE_\w+|E[A-Z]{4,})\b/g) ?? [])),
    ].sort(),
    grownBytes,
    failure: fuzzer.failure ?? leak(target, grownBytes),
    fuzzer,
  };
}

function leak(target: Target, grownBytes: number | undefined): Failure | undefined {
  if (grownBytes === undefined || grownBytes <= MAX_GROWTH_BYTES) return undefined;
  return { target: target.name, parts: [], error: new Error(`the heap has grown by ${grownBytes} bytes`) };
}

/** Known under --expose-gc only: what is not collected yet is no leak. */
async function heapBytes(): Promise<number | undefined> {
  const { gc } = globalThis;
  if (gc === undefined) return undefined;
  // Buffers go in a thread of their own, after the collection that has missed them.
  for (let round = 0; round < 3; round++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function hashOf(text: string): number {
  let hash = 0x811c_9dc5;
  for (const char of text) hash = Math.imul(hash ^ char.charCodeAt(0), 0x0100_0193);
  return hash >>> 0;
}
