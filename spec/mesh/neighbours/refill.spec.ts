import { describe, expect, it } from '@jest/globals';
import { LOW, NEAR_PICKS, RANDOM_KEPT, RANDOM_PICKS, TARGET } from '../../../lib/mesh/neighbours/degree.js';
import { NodeFlag } from '../../../lib/wire/records.js';
import { Filling } from '../filling-scene.js';
import { addressOf, MINUTE_MS, refused, ScriptedLink } from '../scripted-network.js';

describe('a node that drains', () => {
  it('seeks no links while it has one, and one when it has none', async () => {
    const net = new Filling();
    net.addNodes(30);
    const [last] = net.inbound(1);
    net.neighbours.isDraining = true;
    net.refill.consider();
    await net.pass(10 * MINUTE_MS);
    expect(net.network.dials).toHaveLength(0);
    net.lose(last as ScriptedLink);
    await net.pass(10 * MINUTE_MS);
    expect([net.neighbours.degree, net.network.dials.length]).toEqual([1, 1]);
  });

  it('is replaced by its peers while its link is still up', async () => {
    const net = new Filling();
    net.addNodes(30);
    net.inbound(LOW, {}, 2);
    await net.pass(MINUTE_MS);
    expect(net.network.dials).toHaveLength(0);
    net.view.add('in0', { flags: NodeFlag.RELAY | NodeFlag.DRAIN });
    net.refill.consider();
    await net.pass(MINUTE_MS);
    expect([net.neighbours.degree, net.neighbours.relays]).toEqual([TARGET + 1, TARGET]);
  });
});

describe('a node with too few links', () => {
  it('makes links until it has five, after 100 to 1,000 ms', async () => {
    const net = new Filling();
    net.addNodes(30);
    net.refill.consider();
    await net.pass(90, 10);
    expect(net.network.dials.length + net.network.probes.length).toBe(0);
    await net.pass(1_000);
    expect(net.network.dials.length).toBeGreaterThan(0);
    await net.pass(MINUTE_MS);
    expect(TARGET).toBe(5);
    expect([net.neighbours.degree, net.network.dials.length]).toEqual([TARGET, TARGET]);
  });

  it('makes two of them to near nodes and the others to nodes picked at random', async () => {
    const net = new Filling();
    net.addNodes(40);
    net.refill.consider();
    await net.pass(MINUTE_MS);
    expect([net.neighbours.chosen('random'), net.neighbours.chosen('near')]).toEqual([TARGET - NEAR_PICKS, NEAR_PICKS]);
    expect(TARGET - NEAR_PICKS).toBeGreaterThanOrEqual(RANDOM_PICKS);
  });

  it('is one with less than four: with four it makes none for their number', async () => {
    const net = new Filling();
    net.addNodes(30);
    const [first] = net.inbound(LOW, {}, 2);
    await net.pass(MINUTE_MS);
    expect([net.neighbours.degree, net.network.dials.length]).toEqual([LOW, 0]);
    net.lose(first as ScriptedLink);
    await net.pass(MINUTE_MS);
    expect([net.neighbours.degree, net.network.dials.length]).toEqual([TARGET, TARGET - LOW + 1]);
  });

  it('looks for new ones when it has lost all at once, among those that are out of reach now, too', async () => {
    const net = new Filling();
    net.addNodes(20);
    net.refill.consider();
    await net.pass(MINUTE_MS);
    net.view.reached.clear();
    for (const { link } of net.neighbours.mesh()) net.lose(link as ScriptedLink);
    await net.pass(5_000);
    expect(net.neighbours.degree).toBeGreaterThan(0);
  });

  it('picks another when one does not answer, and remembers that', async () => {
    const net = new Filling();
    net.addNodes(12);
    for (const id of ['n1', 'n2', 'n3']) {
      net.book.onAnnounced(id, [addressOf(id)]);
      net.network.outcomes.set(addressOf(id), refused());
      net.network.found.set(addressOf(id), 'refused');
    }
    net.refill.consider();
    await net.pass(MINUTE_MS);
    expect(net.neighbours.degree).toBe(TARGET);
    for (const { link } of net.neighbours.mesh()) expect(['n1', 'n2', 'n3']).not.toContain(link.peerId);
  });

  it('continues to its target once it has begun, even if the last link takes several attempts', async () => {
    const net = new Filling();
    const ids = net.addNodes(12);
    let failures = 3;
    for (const id of ids) {
      net.network.outcomes.set(addressOf(id), () => (failures-- > 0 ? refused() : new ScriptedLink(id)));
    }
    net.inbound(LOW - 1, {}, 2);
    await net.pass(MINUTE_MS);
    expect([net.neighbours.degree, net.network.dials.length]).toEqual([TARGET, 3 + TARGET - LOW + 1]);
  });

  it('waits longer and longer while there is no candidate, and not when one appears', async () => {
    const net = new Filling();
    net.refill.consider();
    await net.pass(10 * MINUTE_MS, 1_000);
    expect(net.clock.armed).toBe(1);
    net.addNodes(3);
    net.refill.onNewNodes();
    await net.pass(1_100);
    expect(net.network.dials.length).toBeGreaterThan(0);
    await net.pass(10_000);
    expect(net.neighbours.degree).toBe(3);
  });

  it('dials no address more often than its back-off allows', async () => {
    const net = new Filling();
    net.addNodes(1);
    net.network.outcomes.set(addressOf('n1'), refused());
    net.refill.consider();
    await net.pass(10 * MINUTE_MS, 200);
    expect(net.network.dials.length).toBeGreaterThan(8);
    expect(net.network.dials.length).toBeLessThan(30);
  });

  it('does not count nodes that do not relay, up to eight links in all', async () => {
    const net = new Filling();
    net.addNodes(30);
    for (const { peerId } of net.inbound(7)) net.view.add(peerId, { flags: 0 });
    net.refill.consider();
    await net.pass(MINUTE_MS);
    // One, for the number and the choice at random alike.
    expect(net.neighbours.degree).toBe(8);
    expect(net.neighbours.relays).toBe(1);
  });

  it('does not count clients and shortcuts', async () => {
    const net = new Filling();
    net.addNodes(20);
    net.inbound(5, { role: 'client' });
    for (const id of ['d1', 'd2', 'd3']) net.up(new ScriptedLink(id, { purpose: 'direct' }));
    await net.pass(MINUTE_MS);
    expect(net.neighbours.degree).toBe(TARGET);
  });

  it('makes none when it is stopped', async () => {
    const net = new Filling();
    net.addNodes(20);
    net.refill.consider();
    net.refill.dispose();
    net.refill.consider();
    await net.pass(MINUTE_MS, 1_000);
    expect([net.network.dials.length, net.clock.armed]).toEqual([0, 0]);
  });
});

describe('a node that others have surrounded with links', () => {
  it('makes one link all the same, to a node that it picks at random itself, without hurry', async () => {
    const net = new Filling();
    net.addNodes(20);
    net.inbound(12);
    await net.pass(900, 50);
    expect(net.network.dials.length).toBe(0);
    await net.pass(MINUTE_MS);
    expect([net.neighbours.chosen('random'), net.neighbours.degree]).toEqual([RANDOM_KEPT, 12 + RANDOM_KEPT]);
  });
});

describe('a node with two links to nodes picked at random and enough others', () => {
  it('does not replace the first of the two that it loses, and replaces the second', async () => {
    const net = new Filling();
    net.addNodes(20);
    const [first, second] = net.inbound(8, {}, RANDOM_PICKS);
    net.lose(first as ScriptedLink);
    await net.pass(5 * MINUTE_MS, 500);
    expect([net.neighbours.chosen('random'), net.network.dials.length]).toEqual([RANDOM_KEPT, 0]);
    net.lose(second as ScriptedLink);
    await net.pass(MINUTE_MS);
    expect([net.neighbours.chosen('random'), net.network.dials.length]).toEqual([RANDOM_KEPT, 1]);
  });

  it('makes the second again when a link is needed for the number', async () => {
    const net = new Filling();
    net.addNodes(20);
    const links = net.inbound(LOW + 1, {}, RANDOM_PICKS);
    net.lose(links[0] as ScriptedLink);
    await net.pass(MINUTE_MS);
    expect(net.neighbours.chosen('random')).toBe(RANDOM_KEPT);
    net.lose(links[LOW] as ScriptedLink);
    await net.pass(MINUTE_MS);
    expect([net.neighbours.degree, net.neighbours.chosen('random')]).toEqual([TARGET, RANDOM_PICKS]);
  });
});

describe('a client', () => {
  it('has three links, and a new one for each that it loses', async () => {
    const net = new Filling(true);
    net.addNodes(20);
    net.refill.consider();
    await net.pass(MINUTE_MS);
    expect([net.neighbours.degree, net.network.dials.length]).toEqual([3, 3]);
    net.lose(net.neighbours.mesh()[0]?.link as ScriptedLink);
    await net.pass(MINUTE_MS);
    expect([net.neighbours.degree, net.network.dials.length]).toEqual([3, 4]);
  });

  it('never makes more, whichever side has made the existing ones', async () => {
    const net = new Filling(true);
    net.addNodes(20);
    net.inbound(3, { purpose: 'join', direction: 'outbound' });
    await net.pass(10 * MINUTE_MS, 1_000);
    expect([net.neighbours.degree, net.network.dials.length]).toEqual([3, 0]);
  });
});
