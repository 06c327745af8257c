// A run over all targets: each gets its share of the inputs, and is looked at for what it leaves in memory.

import { Random } from '../simulation/random.js';
import { readCorpus } from './corpus.js';
import { type Failure, Fuzzer } from './fuzzer.js';
import type { Target } from './target.js';
import type { Watchdog } from './watchdog.js';

/** Grown by more than that after the first tenth of its inputs, a target keeps something of each. */
const MAX_GROWTH_BYTES = 8 * 1024 * 1024;
/** The same of buffers, which one batch of sessions alone has 20 MiB of, and which are freed when a thread finds the time. */
const MAX_BUFFER_GROWTH_BYTES = 48 * 1024 * 1024;
const SETTLE_ROUNDS = 40;
const SETTLE_MS = 25;

export interface RunOptions {
  readonly targets: readonly Target[];
  /** Of all targets together. */
  readonly inputs: number;
  readonly seed: number;
  readonly corpus: string;
  readonly watchdog?: Watchdog;
  /** Called when a target is done. */
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
  /** What the heap has grown by since the first tenth of the inputs, without buffers; undefined where it is unknown. */
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
  // A separate seed, so that what one target finds does not depend on the others.
  const random = new Random(seed ^ hashOf(target.name));
  const fuzzer = new Fuzzer(target, random, readCorpus(corpus, target.name), (inputs) => watchdog?.onInputs(inputs));
  const startMs = performance.now();
  const first = Math.ceil(count / 10);
  await fuzzer.run(first);
  const before = await memoryInUse();
  await fuzzer.run(count - first);
  const after = await memoryInUse();
  const { inputs, ways } = fuzzer;
  const grown = before === undefined || after === undefined ? undefined : growth(before, after);
  return {
    name: target.name,
    inputs,
    seconds: (performance.now() - startMs) / 1000,
    ways: ways.size,
    codes: [
      ...new Set([...ways.keys()].flatMap((way) => way.match(/\b(ERR_STARLANE_\w+|E[A-Z]{4,})\b/g) ?? [])),
    ].sort(),
    grownBytes: grown?.heap,
    failure: fuzzer.failure ?? leak(target, grown),
    fuzzer,
  };
}

interface MemoryInUse {
  readonly heap: number;
  readonly buffers: number;
}

function growth(before: MemoryInUse, after: MemoryInUse): MemoryInUse {
  return { heap: after.heap - before.heap, buffers: after.buffers - before.buffers };
}

function leak(target: Target, grown: MemoryInUse | undefined): Failure | undefined {
  if (grown === undefined) return undefined;
  const { heap, buffers } = grown;
  if (heap <= MAX_GROWTH_BYTES && buffers <= MAX_BUFFER_GROWTH_BYTES) return undefined;
  const error = new Error(`the heap has grown by ${heap} bytes, and buffers by ${buffers}`);
  return { target: target.name, parts: [], error };
}

/** Known under --expose-gc only: what is not collected yet is no leak. */
async function memoryInUse(): Promise<MemoryInUse | undefined> {
  const { gc } = globalThis;
  if (gc === undefined) return undefined;
  let least: MemoryInUse | undefined;
  // Until three rounds in a row have freed nothing: buffers go in a thread of their own, after the collection.
  for (let round = 0, idle = 0; round < SETTLE_ROUNDS && idle < 3; round++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const { heapUsed: heap, external: buffers } = process.memoryUsage();
    const isLess = least === undefined || heap + buffers < least.heap + least.buffers - 64 * 1024;
    idle = isLess ? 0 : idle + 1;
    if (isLess) least = { heap, buffers };
  }
  return least;
}

function hashOf(text: string): number {
  let hash = 0x811c_9dc5;
  for (const char of text) hash = Math.imul(hash ^ char.charCodeAt(0), 0x0100_0193);
  return hash >>> 0;
}
