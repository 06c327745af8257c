import { describe, expect, it } from '@jest/globals';
import {
  ACCEPT_ANY_BELOW,
  LOW,
  NEAR_PICKS,
  RANDOM_KEPT,
  RANDOM_PICKS,
  TARGET,
} from '../../../lib/mesh/neighbours/degree.js';
import { ReachabilityHistory } from '../../../lib/mesh/neighbours/partition-watch.js';
import { Filling } from '../filling-scene.js';
import { addressOf, MINUTE_MS, refused, Scene, ScriptedLink } from '../scripted-network.js';

/** A node that has its links, in a network of so many. */
async function settled(nodes = 40, seed = 1): Promise<Filling> {
  const net = new Filling(false, seed);
  net.addNodes(nodes);
  net.refill.consider();
  net.rotation.start();
  await net.pass(MINUTE_MS);
  return net;
}

/** The same, in a network that many nodes have come to at once. */
async function grown(): Promise<Filling> {
  const net = await settled();
  Object.defineProperty(net.history, 'hasGrown', { get: () => true });
  return net;
}

describe('rotation', () => {
  it('replaces no link that has been up for less than ten minutes', async () => {
    const net = await grown();
    await net.pass(9 * MINUTE_MS - 1_000, 500);
    expect(net.network.dials.length).toBe(TARGET);
  });

  it('replaces one every five minutes or so after that, and the degree stays as it is', async () => {
    const net = await grown();
    await net.pass(9 * MINUTE_MS, 500);
    const before = net.network.dials.length;
    await net.pass(40 * MINUTE_MS, 500);
    const made = net.network.dials.length - before;
    expect(made).toBeGreaterThanOrEqual(4);
    expect(made).toBeLessThanOrEqual(16);
    expect(net.neighbours.degree).toBe(TARGET);
    expect([net.neighbours.chosen('near'), net.neighbours.chosen('random')]).toEqual([NEAR_PICKS, TARGET - NEAR_PICKS]);
  });

  it('is done by about ten nodes of the whole network in five minutes, and by all of a small one', async () => {
    const made: number[] = [];
    for (const nodes of [8, 40, 400]) {
      const net = await settled(nodes);
      const before = net.network.dials.length;
      await net.pass(500 * MINUTE_MS, 2_000);
      made.push(net.network.dials.length - before);
    }
    const [all, quarter, fewer] = made as [number, number, number];
    // A hundred intervals.
    expect(all).toBeGreaterThan(75);
    expect(quarter).toBeGreaterThan(15);
    expect(quarter).toBeLessThan(38);
    expect(fewer).toBeLessThan(8);
  });

  it('replaces by near nodes while there are not two, and keeps the others random', async () => {
    const net = await grown();
    for (const neighbour of net.neighbours.mesh()) neighbour.choice = 'random';
    await net.pass(60 * MINUTE_MS, 1_000);
    expect([net.neighbours.chosen('near'), net.neighbours.chosen('random')]).toEqual([NEAR_PICKS, TARGET - NEAR_PICKS]);
  });

  it('replaces others by random nodes while there are not two', async () => {
    const net = await grown();
    const picked = net.neighbours.mesh().filter(({ choice }) => choice === 'random');
    net.lose(picked[0]?.link as ScriptedLink);
    for (const neighbour of net.neighbours.mesh()) if (neighbour !== picked[1]) neighbour.choice = undefined;
    await net.pass(MINUTE_MS);
    expect([net.neighbours.degree, net.neighbours.chosen('random')]).toEqual([LOW, RANDOM_KEPT]);
    await net.pass(60 * MINUTE_MS, 1_000);
    expect([net.neighbours.degree, net.neighbours.chosen('random')]).toEqual([LOW, RANDOM_PICKS]);
  });

  it('ends the old link only when the new one is up', async () => {
    const net = await grown();
    const lowest: number[] = [];
    for (let step = 0; step < 600; step++) {
      await net.pass(5_000, 500);
      lowest.push(net.neighbours.degree);
    }
    expect(Math.min(...lowest)).toBe(TARGET);
    expect(Math.max(...lowest)).toBeLessThanOrEqual(TARGET + 1);
  });

  it('ends none when the new one cannot be made', async () => {
    const net = await grown();
    for (const id of net.view.records.keys()) net.network.outcomes.set(addressOf(id), refused());
    await net.pass(60 * MINUTE_MS, 1_000);
    expect(net.network.dials.length).toBeGreaterThan(10);
    expect(net.neighbours.mesh().every(({ link }) => link.isUp)).toBe(true);
    expect(net.neighbours.degree).toBe(TARGET);
  });

  it('ends no link that carries streams, that a user or another node has made, or whose peer needs it', async () => {
    const net = await grown();
    const [busy, joined, inbound, needed] = net.neighbours.mesh().map(({ link }) => link as ScriptedLink);
    (busy as ScriptedLink).streams = 1;
    (joined as ScriptedLink).purpose = 'join';
    (inbound as ScriptedLink).direction = 'inbound';
    net.view.add((needed as ScriptedLink).peerId, { others: LOW - 1 });
    // One that may go.
    net.up(new ScriptedLink('spare'));
    net.view.add('spare');
    await net.pass(100 * MINUTE_MS, 1_000);
    expect([busy, joined, inbound, needed].map((link) => (link as ScriptedLink).end)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect(net.network.dials.length).toBeGreaterThan(5);
  });

  it('replaces nothing while there are as many links as it accepts from any node', async () => {
    const net = await grown();
    net.inbound(ACCEPT_ANY_BELOW - TARGET);
    await net.pass(60 * MINUTE_MS, 1_000);
    expect(net.network.dials.length).toBe(TARGET);
  });

  it('replaces nothing while there are too few links', async () => {
    const net = await grown();
    net.refill.dispose();
    for (const { link } of net.neighbours.mesh().slice(LOW - 1)) net.lose(link as ScriptedLink);
    await net.pass(60 * MINUTE_MS, 1_000);
    expect([net.neighbours.degree, net.network.dials.length]).toEqual([LOW - 1, TARGET]);
  });

  it('stops with the node', async () => {
    const net = await grown();
    net.rotation.dispose();
    net.refill.dispose();
    expect(net.clock.armed).toBe(0);
  });
});

describe('the history of reachable nodes', () => {
  it('knows when a fifth of the nodes has gone or come within a minute, for ten minutes', async () => {
    const net = new Scene();
    const history = new ReachabilityHistory(net.environment, net.view);
    const ids = net.addNodes(100);
    history.start();
    await net.pass(2 * MINUTE_MS, 1_000);
    expect([history.hasFallen, history.hasGrown]).toEqual([false, false]);
    for (const id of ids.slice(0, 25)) net.view.reached.delete(id);
    await net.pass(5_000, 1_000);
    expect([history.hasFallen, history.hasGrown]).toEqual([true, false]);
    await net.pass(2 * MINUTE_MS, 1_000);
    for (const id of ids.slice(0, 25)) net.view.reached.add(id);
    await net.pass(5_000, 1_000);
    expect([history.hasFallen, history.hasGrown]).toEqual([true, true]);
    await net.pass(12 * MINUTE_MS, 1_000);
    expect([history.hasFallen, history.hasGrown]).toEqual([false, false]);
    history.dispose();
    expect(net.clock.armed).toBe(0);
  });

  it('ignores a smaller change', async () => {
    const net = new Scene();
    const history = new ReachabilityHistory(net.environment, net.view);
    const ids = net.addNodes(100);
    history.start();
    await net.pass(12 * MINUTE_MS, 1_000);
    for (const id of ids.slice(0, 19)) net.view.reached.delete(id);
    await net.pass(2 * MINUTE_MS, 1_000);
    for (const id of ids.slice(0, 19)) net.view.reached.add(id);
    await net.pass(MINUTE_MS, 1_000);
    expect([history.hasFallen, history.hasGrown]).toEqual([false, false]);
    history.dispose();
  });

  it('ignores a slow change', async () => {
    const net = new Scene();
    const history = new ReachabilityHistory(net.environment, net.view);
    const ids = net.addNodes(100);
    history.start();
    await net.pass(12 * MINUTE_MS, 1_000);
    for (const id of ids.slice(0, 60)) {
      net.view.reached.delete(id);
      await net.pass(10_000, 1_000);
    }
    expect([history.hasFallen, history.hasGrown]).toEqual([false, false]);
    history.dispose();
  });
});
