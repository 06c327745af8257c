import { describe, expect, it } from '@jest/globals';
import { Candidates } from '../../lib/mesh/candidates.js';
import { MeshDialer } from '../../lib/mesh/mesh-dialer.js';
import { Neighbours } from '../../lib/mesh/neighbours.js';
import { PeerBook } from '../../lib/mesh/peer-book.js';
import { Refill } from '../../lib/mesh/refill.js';
import { Rotation } from '../../lib/mesh/rotation.js';
import { NodeFlag } from '../../lib/wire/records.js';
import { addressOf, MINUTE_MS, refused, Scene, ScriptedLink, SELF } from './scripted-network.js';

class Filling extends Scene {
  readonly neighbours = new Neighbours(SELF, this.view);
  readonly book = new PeerBook();
  readonly dialer = new MeshDialer(this.environment, this.network, { minMs: 500, maxMs: MINUTE_MS });
  readonly candidates = new Candidates({
    environment: this.environment,
    network: this.network,
    view: this.view,
    dialer: this.dialer,
    neighbours: this.neighbours,
    book: this.book,
  });
  readonly refill: Refill;
  readonly rotation: Rotation;

  constructor(isClient = false, seed = 1) {
    super(seed);
    const { environment, neighbours, candidates, dialer, book } = this;
    this.refill = new Refill({ environment, neighbours, candidates, dialer, book, isClient });
    this.rotation = new Rotation({
      environment,
      neighbours,
      candidates,
      dial: (candidate, choice) => this.refill.dial(candidate, choice),
    });
    this.network.onUp = (link) => this.up(link);
  }

  up(link: ScriptedLink): ScriptedLink {
    link.onEnd = () => this.lose(link);
    this.network.up.add(link);
    this.neighbours.add(link, this.clock.now());
    this.dialer.onLink(link);
    this.refill.consider();
    return link;
  }

  lose(link: ScriptedLink): void {
    link.isUp = false;
    this.network.up.delete(link);
    this.neighbours.remove(link);
    this.dialer.onUnlink(link);
    this.refill.consider();
  }

  /** Links that stand already, `chosen` of them to nodes that this one has picked at random. */
  inbound(count: number, part: Partial<ScriptedLink> = {}, chosen = 0): ScriptedLink[] {
    const links = Array.from({ length: count }, (_, index) => {
      this.view.add(`in${index}`);
      const link = new ScriptedLink(`in${index}`, { direction: 'inbound', ...part });
      this.neighbours.add(link, this.clock.now());
      if (index < chosen) this.neighbours.choose(link, 'random');
      return link;
    });
    this.refill.consider();
    return links;
  }
}

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

describe('rotation', () => {
  async function settled(): Promise<Filling> {
    const net = new Filling();
    net.addNodes(40);
    net.refill.consider();
    net.rotation.start();
    await net.pass(MINUTE_MS);
    return net;
  }

  it('replaces no link that has been up for less than ten minutes', async () => {
    const net = await settled();
    await net.pass(9 * MINUTE_MS - 1_000, 500);
    expect(net.network.dials.length).toBe(5);
  });

  it('replaces one every five minutes or so after that, and the degree stays as it is', async () => {
    const net = await settled();
    await net.pass(9 * MINUTE_MS, 500);
    const before = net.network.dials.length;
    await net.pass(40 * MINUTE_MS, 500);
    const made = net.network.dials.length - before;
    expect(made).toBeGreaterThanOrEqual(4);
    expect(made).toBeLessThanOrEqual(16);
    expect([net.neighbours.degree, net.neighbours.chosen('near'), net.neighbours.chosen('random')]).toEqual([5, 2, 3]);
  });

  it('ends the old link only when the new one is up', async () => {
    const net = await settled();
    const lowest: number[] = [];
    for (let step = 0; step < 600; step++) {
      await net.pass(5_000, 500);
      lowest.push(net.neighbours.degree);
    }
    expect(Math.min(...lowest)).toBe(5);
    expect(Math.max(...lowest)).toBeLessThanOrEqual(6);
  });

  it('ends no link that carries streams, that a user or another node has made, or whose peer needs it', async () => {
    const net = await settled();
    const [busy, joined, inbound, needed] = net.neighbours.mesh().map(({ link }) => link as ScriptedLink);
    (busy as ScriptedLink).streams = 1;
    (joined as ScriptedLink).purpose = 'join';
    (inbound as ScriptedLink).direction = 'inbound';
    net.view.add((needed as ScriptedLink).peerId, { others: 3 });
    await net.pass(100 * MINUTE_MS, 1_000);
    expect([busy, joined, inbound, needed].map((link) => (link as ScriptedLink).end)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect(net.network.dials.length).toBeGreaterThan(5);
  });

  it('replaces nothing while there are fewer links than four or as many as eight', async () => {
    const net = await settled();
    for (const { peerId } of net.inbound(3)) net.view.add(peerId, { flags: NodeFlag.RELAY });
    await net.pass(60 * MINUTE_MS, 1_000);
    expect(net.network.dials.length).toBe(5);
  });

  it('stops with the node', async () => {
    const net = await settled();
    net.rotation.stop();
    net.refill.stop();
    expect(net.clock.armed).toBe(0);
  });
});
