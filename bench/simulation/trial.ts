// One random schedule on one network, from its seed to the complaints of the oracles, and the search for a shorter schedule
// that fails as well.

import { allComplaints, rest } from './oracles.js';
import type { PlaneMaker } from './plane.js';
import { Random } from './random.js';
import { randomSchedule, Stage, type Step } from './steps.js';
import { SyncOracle } from './sync-oracle.js';
import { World } from './world.js';

const SEEDS = 3;
/** All nodes are started within that time, in ms. */
const START_MS = 2_000;
const SETTLE_MS = 20_000;
/**
 * How long a network may take to come to rest after the last step: a silent death on top of the worst local health, a
 * link that is held back for flapping, a back-off at its end.
 */
const QUIET_MS = 420_000;
const REST_MS = 5_000;

export interface TrialOptions {
  readonly seed: number;
  readonly nodes: number;
  /** Of them; default 0. */
  readonly clients?: number;
  readonly steps: number;
  readonly scheduleMs: number;
  readonly makePlane: PlaneMaker;
  readonly realCrypto?: boolean;
  /** Circuits that are tried in the end. */
  readonly pairs?: number;
}

export interface TrialResult {
  readonly schedule: readonly Step[];
  readonly complaints: readonly string[];
  /** From the last step until all views were equal and right, in ms; undefined when they never were. */
  readonly restMs: number | undefined;
  readonly events: number;
  readonly signatureChecks: number;
}

export function scheduleOf({ seed, steps, scheduleMs }: TrialOptions): Step[] {
  return randomSchedule(new Random(seed ^ 0x5eed), steps, scheduleMs);
}

export async function runTrial(
  options: TrialOptions,
  schedule: readonly Step[] = scheduleOf(options),
): Promise<TrialResult> {
  const world = new World(options);
  const syncs = new SyncOracle(world);
  world.watcher = syncs;
  try {
    const stage = startNetwork(world, options.nodes, options.clients ?? 0);
    await world.loop.run(START_MS + SETTLE_MS);
    stage.play(schedule);
    await world.loop.run(options.scheduleMs);
    stage.calm();
    const calmAt = world.loop.now;
    const isAtRest = await rest(world, REST_MS, QUIET_MS);
    const restMs = isAtRest ? world.loop.now - REST_MS - calmAt : undefined;
    const complaints = isAtRest ? [] : [`not at rest after ${QUIET_MS / 1000} s`];
    complaints.push(...syncs.complaints, ...(await allComplaints(world, options.pairs ?? 500)));
    return { schedule, complaints, restMs, events: world.loop.count, signatureChecks: world.signatureChecks };
  } catch (error) {
    const complaints = [`a fault: ${(error as Error).stack ?? error}`];
    return { schedule, complaints, restMs: undefined, events: world.loop.count, signatureChecks: 0 };
  } finally {
    world.close();
  }
}

function startNetwork(world: World, count: number, clients: number): Stage {
  const nodes = world.addAll(count, clients);
  const seeds = nodes.slice(0, SEEDS).map((node) => node.host.address);
  for (const node of nodes) {
    node.setup.seeds = seeds;
    if (node.isKnown) node.bind(`service-${node.host.index}`);
    world.loop.call(world.random.between(0, START_MS), () => node.start());
  }
  return new Stage(world, seeds);
}
