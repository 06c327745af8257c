import { describe, expect, it } from '@jest/globals';
import { Filling } from './filling-scene.js';
import { addressOf, MINUTE_MS, refused, ScriptedLink } from './scripted-network.js';

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
    expect([net.neighbours.degree, net.network.dials.length]).toEqual([5, 5]);
  });

  it('makes two of them to near nodes and the others to nodes picked at random', async () => {
    const net = new Filling();
    net.addNodes(40);
    net.refill.consider();
    await net.pass(MINUTE_MS);
    expect([net.neighbours.chosen('random'), net.neighbours.chosen('near')]).toEqual([3, 2]);
  });

  it('is one with less than four: with four it makes none for their number', async () => {
    const net = new Filling();
    net.addNodes(30);
    net.inbound(4, {}, 2);
    await net.pass(MINUTE_MS);
    expect([net.neighbours.degree, net.network.dials.length]).toEqual([4, 0]);
    net.lose(net.neighbours.mesh()[0]?.link as ScriptedLink);
    await net.pass(MINUTE_MS);
    expect([net.neighbours.degree, net.network.dials.length]).toEqual([5, 2]);
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

  it('takes another when one does not answer, and remembers that', async () => {
    const net = new Filling();
    net.addNodes(12);
    for (const id of ['n1', 'n2', 'n3']) {
      net.book.onHeard(id, [addressOf(id)]);
      net.network.outcomes.set(addressOf(id), refused());
      net.network.found.set(addressOf(id), 'refused');
    }
    net.refill.consider();
    await net.pass(MINUTE_MS);
    expect(net.neighbours.degree).toBe(5);
    for (const { link } of net.neighbours.mesh()) expect(['n1', 'n2', 'n3']).not.toContain(link.peerId);
  });

  it('goes on to five once it has begun, even if the fifth link takes several attempts', async () => {
    const net = new Filling();
    const ids = net.addNodes(12);
    let failures = 3;
    for (const id of ids) {
      net.network.outcomes.set(addressOf(id), () => (failures-- > 0 ? refused() : new ScriptedLink(id)));
    }
    net.inbound(3, {}, 2);
    await net.pass(MINUTE_MS);
    expect([net.neighbours.degree, net.network.dials.length]).toEqual([5, 5]);
  });

  it('waits longer and longer while there is nobody, and not when somebody appears', async () => {
    const net = new Filling();
    net.refill.consider();
    await net.pass(10 * MINUTE_MS, 1_000);
    expect(net.clock.armed).toBe(1);
    net.addNodes(3);
    net.refill.onNews();
    await net.pass(1_100);
    expect(net.network.dials.length).toBeGreaterThan(0);
    await net.pass(10_000);
    expect(net.neighbours.degree).toBe(3);
  });

  it('tries nobody more often than the back-off of the address says', async () => {
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
    // One for the number, and one more for the choice of two at random.
    expect(net.neighbours.degree).toBe(9);
    expect(net.neighbours.relays).toBe(2);
  });

  it('does not count clients and shortcuts', async () => {
    const net = new Filling();
    net.addNodes(20);
    net.inbound(5, { role: 'client' });
    for (const id of ['d1', 'd2', 'd3']) net.up(new ScriptedLink(id, { purpose: 'direct' }));
    await net.pass(MINUTE_MS);
    expect(net.neighbours.degree).toBe(5);
  });

  it('makes none when it is stopped', async () => {
    const net = new Filling();
    net.addNodes(20);
    net.refill.consider();
    net.refill.stop();
    net.refill.consider();
    await net.pass(MINUTE_MS, 1_000);
    expect([net.network.dials.length, net.clock.armed]).toEqual([0, 0]);
  });
});

describe('a node that others have surrounded with links', () => {
  it('makes two links all the same, to nodes that it picks at random itself, without hurry', async () => {
    const net = new Filling();
    net.addNodes(20);
    net.inbound(12);
    await net.pass(900, 50);
    expect(net.network.dials.length).toBe(0);
    await net.pass(MINUTE_MS);
    expect([net.neighbours.chosen('random'), net.neighbours.degree]).toEqual([2, 14]);
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

  it('never makes more, whoever has made those that it has', async () => {
    const net = new Filling(true);
    net.addNodes(20);
    net.inbound(3, { purpose: 'join', direction: 'outbound' });
    await net.pass(10 * MINUTE_MS, 1_000);
    expect([net.neighbours.degree, net.network.dials.length]).toEqual([3, 0]);
  });
});
