// What a broadcast goes through: it settles, other origins send, participants crash and are stopped, a partition heals, others join. Each
// message is measured beside a flood over the same circuits at the same time.

import { EventLoop } from '../simulation/event-loop.js';
import { Random } from '../simulation/random.js';
import { type Flood, flood } from './flood.js';
import type { Gate } from './gates.js';
import { Network, type Participant, type Sent } from './network.js';

/** How long a message gets before it is measured, in ms. */
const MESSAGE_MS = 1_500;
const START_MS = 8_000;
/** After a change it takes so many messages until the tree is settled again. */
const SETTLING = 9;
const CRASHES = 4;
/** Origins besides the first one. */
const ORIGINS = 4;

export interface Measured {
  readonly what: string;
  /** Participants that had to get it, and that got it in time. */
  readonly owed: number;
  readonly got: number;
  /** Relative message redundancy: payloads / receivers - 1. */
  readonly redundancy: number;
  /** Until the last one had it, in ms. */
  readonly lastMs: number;
  readonly flood: { readonly redundancy: number; readonly lastMs: number };
}

export interface Report {
  /** The tree as it is after some messages, by what happened before. */
  readonly settled: readonly Measured[];
  /** The first messages after something has happened. */
  readonly repairs: readonly Measured[];
  /** The messages of origins that have just begun, on the tree that all share. */
  readonly shared: readonly Measured[];
  readonly degree: number;
  readonly faults: readonly string[];
  readonly missed: readonly string[];
  readonly lost: number;
  readonly messages: number;
  readonly participants: number;
}

export interface ScenarioOptions {
  readonly participants: number;
  readonly seed: number;
  /** One shared tree for all, for comparison: only the first steps. */
  readonly sharedOnly?: boolean;
}

export async function runScenario({ participants, seed, sharedOnly = false }: ScenarioOptions): Promise<Report> {
  const loop = new EventLoop();
  const random = new Random(seed);
  const limits = sharedOnly ? { sharedFirst: Number.POSITIVE_INFINITY } : {};
  const network = new Network(loop, random, { limits });
  const settled: Measured[] = [];
  const repairs: Measured[] = [];
  const shared: Measured[] = [];

  const send = async (what: string, origin: Participant): Promise<Measured> => {
    const flooded = flood(network, origin);
    const sent = network.publish(origin);
    await loop.run(MESSAGE_MS);
    return measure(what, network, sent, flooded);
  };
  /** Messages until the tree is settled; the first one goes to `first`, the last one to `settled`. */
  const settle = async (what: string, origin: Participant, first: Measured[] | undefined): Promise<void> => {
    for (let index = 0; index <= SETTLING; index++) {
      const measured = await send(what, origin);
      if (index === 0) first?.push(measured);
      if (index === SETTLING) settled.push(measured);
    }
  };

  network.start(participants);
  await loop.run(START_MS);
  const degree = network.participants.reduce((sum, { edges }) => sum + edges.size, 0) / participants;
  const [first, ...others] = random.sample(network.participants, ORIGINS + 1);
  const { sharedFirst } = network.limits;
  const begun = sharedOnly ? SETTLING : sharedFirst;
  await send('the first message of all', first);
  for (let index = 1; index < begun; index++) await send('', first);
  if (!sharedOnly) await settle('one origin', first, undefined);
  for (const origin of others) {
    for (let index = 0; index < begun; index++) shared.push(await send('another origin begins', origin));
    if (!sharedOnly) await settle('other origins', origin, undefined);
  }
  const report = (): Report => ({
    settled,
    repairs,
    shared,
    degree,
    faults: network.faults,
    missed: network.missed(),
    lost: network.lost,
    messages: network.sent.size,
    participants: network.participants.length,
  });
  if (sharedOnly) return report();

  const running = (): Participant[] => network.participants.filter((one) => one.isRunning && one !== first);
  const share = Math.max(1, Math.round(participants / 20));
  for (let index = 0; index < CRASHES; index++) {
    network.kill(busiest(running()));
    await settle('a crash', first, repairs);
  }
  for (const one of random.sample(running(), share)) network.kill(one);
  await settle('5 % crash at once', first, repairs);

  for (let index = 0; index < CRASHES; index++) {
    network.stop(busiest(running()));
    await settle('one is stopped', first, repairs);
  }
  const stopped = random.sample(running(), share);
  for (const one of stopped) network.stop(one);
  await settle('5 % are stopped', first, repairs);
  for (const one of network.participants) if (!one.isGone && !one.isRunning) network.resume(one);
  await loop.run(START_MS);
  await settle('they go on', first, undefined);

  network.split(({ id }) => (id < 'U' ? 1 : 2));
  for (let index = 0; index < SETTLING; index++) {
    network.publish(first);
    network.publish(others[0].isRunning ? others[0] : (running()[0] as Participant));
    await loop.run(2 * MESSAGE_MS);
  }
  network.heal();
  await loop.run(2 * START_MS);
  await settle('a partition has healed', first, undefined);

  for (let index = 0; index < share; index++) {
    network.join();
    await loop.run(50);
  }
  await loop.run(START_MS);
  await settle('5 % join', first, undefined);
  await loop.run(START_MS);
  return report();
}

function measure(what: string, network: Network, sent: Sent, { lastMs, reached, payloads }: Flood): Measured {
  const owed = network.participants.filter((one) => one.isRunning && one !== sent.origin);
  let latestMs = 0;
  let got = 0;
  for (const one of owed) {
    const atMs = sent.delivered.get(one);
    if (atMs === undefined) continue;
    got++;
    latestMs = Math.max(latestMs, atMs - sent.atMs);
  }
  return {
    what,
    owed: owed.length,
    got,
    redundancy: sent.payloads / owed.length - 1,
    lastMs: latestMs,
    flood: { redundancy: payloads / (reached - 1) - 1, lastMs },
  };
}

/** The one with the most circuits: its crash concerns the most. */
function busiest(all: readonly Participant[]): Participant {
  let most = all[0];
  for (const one of all) if (one.edges.size > most.edges.size) most = one;
  return most;
}

/** Returns the figures that count: the worst of all. */
export function gatesOf({ settled, repairs, faults, missed }: Report): Gate[] {
  const worst = (figures: readonly number[]): number => figures.reduce((most, figure) => Math.max(most, figure), 0);
  const short = [...settled, ...repairs].filter(({ owed, got }) => got < owed).length;
  return [
    { what: 'faults: twice, out of order, or never sent', figure: faults.length, limit: 0 },
    { what: 'messages that somebody reachable has not got', figure: missed.length, limit: 0 },
    { what: 'measured messages that were not everywhere in time', figure: short, limit: 0 },
    { what: 'redundancy of a settled tree', figure: worst(settled.map(({ redundancy }) => redundancy)), limit: 0.2 },
    {
      what: 'last delivery of a settled tree / of the flood',
      figure: worst(settled.map(({ lastMs, flood: other }) => lastMs / other.lastMs)),
      limit: 2,
    },
    {
      what: 'ms more than the flood of the first message after a crash or stop',
      figure: worst(repairs.map(({ lastMs, flood: other }) => lastMs - other.lastMs)),
      limit: 1_000,
    },
  ];
}
