// Random schedules for a broadcast in virtual time, and what has to hold after them.

import fc from 'fast-check';
import { Network, type Participant } from '../../../../bench/broadcast/network.js';
import { EventLoop } from '../../../../bench/simulation/event-loop.js';
import { Random } from '../../../../bench/simulation/random.js';
import { TREE_LIMITS } from '../../../../lib/messages/broadcast/tree/limits.js';

type Step =
  | { readonly do: 'publish'; readonly who: number; readonly times: number }
  | { readonly do: 'kill' | 'stop' | 'slow'; readonly who: number }
  | { readonly do: 'resume' | 'split' | 'heal' | 'join' }
  | { readonly do: 'wait'; readonly ms: number };

const who = fc.nat({ max: 50 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('publish' as const), who, times: fc.integer({ min: 1, max: 8 }) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 7_000 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('kill' as const, 'stop' as const, 'slow' as const), who }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('resume' as const, 'split' as const, 'heal' as const, 'join' as const),
    }),
  },
);

export interface Schedule {
  readonly participants: number;
  readonly seed: number;
  readonly steps: readonly Step[];
}

export const schedules: fc.Arbitrary<Schedule> = fc.record({
  participants: fc.integer({ min: 2, max: 16 }),
  seed: fc.nat({ max: 2 ** 31 }),
  steps: fc.array(step, { minLength: 5, maxLength: 25 }),
});

/**
 * Whether nobody has to give up a message: nobody may be the only one who has it, and nobody is slow for so long that it gives up what its
 * neighbours keep for it.
 */
function isCalm({ steps }: Schedule): boolean {
  let slowMs: number | undefined;
  for (const one of steps) {
    if (one.do === 'kill' || one.do === 'stop' || one.do === 'split') return false;
    if (one.do === 'slow') slowMs ??= 0;
    else if (one.do === 'resume') slowMs = undefined;
    else if (one.do === 'wait' && slowMs !== undefined) {
      slowMs += one.ms;
      if (slowMs >= TREE_LIMITS.repairMs) return false;
    }
  }
  return true;
}

/** What a change does to the network under test. */
export type Sabotage = (network: Network) => void;

/** Returns what was wrong. */
export async function run(schedule: Schedule, sabotage: Sabotage = () => {}): Promise<string[]> {
  const loop = new EventLoop();
  const random = new Random(schedule.seed);
  const network = new Network(loop, random);
  network.mostPayloads = MOST_PAYLOADS;
  sabotage(network);
  const slow = new Set<Participant>();
  network.isSlow = (_one, peer) => slow.has(network.byId.get(peer) as Participant);
  network.start(schedule.participants);
  await loop.run(5_000);
  const running = (): Participant[] => network.participants.filter(({ isRunning }) => isRunning);
  const one = (index: number): Participant => running()[index % running().length];
  const resume = (): void => {
    for (const each of network.participants) if (!each.isGone && !each.isRunning) network.resume(each);
  };
  for (const each of schedule.steps) {
    switch (each.do) {
      case 'publish':
        for (let times = 0; times < each.times; times++) network.publish(one(each.who));
        break;
      case 'wait':
        await loop.run(each.ms);
        break;
      case 'kill':
        if (running().length > 2) network.kill(one(each.who));
        break;
      case 'stop':
        if (running().length > 2) network.stop(one(each.who));
        break;
      case 'slow':
        slow.add(one(each.who));
        break;
      case 'resume':
        resume();
        for (const each of slow) ready(each);
        slow.clear();
        break;
      case 'split':
        network.split(({ id }) => (id < 'U' ? 1 : 2));
        break;
      case 'heal':
        network.heal();
        break;
      case 'join':
        network.join();
    }
  }
  resume();
  for (const each of slow) ready(each);
  slow.clear();
  network.heal();
  // Participants that have failed often are left out for up to a minute.
  await loop.waitFor(120_000, 5_000, () => network.missed().length === 0);
  const wrong = [...network.faults, ...network.missed()];
  if (isCalm(schedule) && network.lost > 0) wrong.push(`${network.lost} messages were given up`);
  return wrong;

  function ready(slowOne: Participant): void {
    slow.delete(slowOne);
    for (const id of slowOne.edges.keys()) network.byId.get(id)?.tree.onReady(slowOne.id);
  }
}

/** Several times what a flood of all messages takes. */
const MOST_PAYLOADS = 100_000;
