import { describe, expect, it } from '@jest/globals';
import { MeshDialer } from '../../../lib/mesh/neighbours/dialer.js';
import { Neighbours } from '../../../lib/mesh/neighbours/neighbours.js';
import { PartitionWatch, ReachabilityHistory } from '../../../lib/mesh/neighbours/partition-watch.js';
import { PeerBook } from '../../../lib/mesh/neighbours/peer-book.js';
import { SeedWatch } from '../../../lib/mesh/neighbours/seeds.js';
import { NodeFlag } from '../../../lib/wire/records.js';
import { addressOf, BACK_OFF, MINUTE_MS, refused, Scene, ScriptedLink, SELF } from '../scripted-network.js';

class Watching extends Scene {
  readonly neighbours = new Neighbours(SELF, this.view);
  readonly book = new PeerBook();
  readonly dialer = new MeshDialer(this.environment, this.network, BACK_OFF);
  readonly history = new ReachabilityHistory(this.environment, this.view);
  readonly seeds: SeedWatch;
  readonly watch: PartitionWatch;

  constructor({ seeds = [] as string[], links = 4, seed = 1 } = {}) {
    super(seed);
    const { dialer, neighbours, book } = this;
    const context = this.share({ dialer, neighbours, book }, 'peer', seeds);
    this.seeds = new SeedWatch(context);
    this.watch = new PartitionWatch(context, this.seeds, this.history);
    for (let number = 0; number < links; number++) neighbours.add(new ScriptedLink(`peer-${number}`), 0);
  }

  start(): void {
    this.history.start();
    this.watch.start();
  }

  /** Nodes that are known and answer no dial. */
  know(count: number): string[] {
    const ids = this.addNodes(count);
    for (const id of ids) this.network.outcomes.set(addressOf(id), refused());
    return ids;
  }
}

describe('the search for lost parts', () => {
  it('dials nothing while all nodes are reachable', async () => {
    const net = new Watching({ links: 1 });
    for (const id of net.know(3)) net.book.onAnnounced(id, [addressOf(id)]);
    net.start();
    await net.pass(30 * MINUTE_MS, 1_000);
    expect(net.network.dials).toEqual([]);
  });

  it('dials an unreachable node about every half minute when there are three nodes or less', async () => {
    const net = new Watching();
    for (const id of net.know(3)) net.view.reached.delete(id);
    net.start();
    await net.pass(30 * MINUTE_MS, 1_000);
    expect(net.network.dials.length).toBeGreaterThan(45);
    expect(net.network.dials.length).toBeLessThan(80);
    expect(new Set(net.network.addresses)).toEqual(new Set(['n1', 'n2', 'n3'].map(addressOf)));
  });

  it('dials no node that is banned', async () => {
    const net = new Watching();
    for (const id of net.know(2)) net.view.reached.delete(id);
    net.view.banned.add('n1');
    net.start();
    await net.pass(30 * MINUTE_MS, 1_000);
    expect(new Set(net.network.addresses)).toEqual(new Set([addressOf('n2')]));
  });

  it('is done by about three nodes of a whole network in half a minute', async () => {
    const net = new Watching();
    for (const id of net.know(300).slice(150)) net.view.reached.delete(id);
    net.start();
    await net.pass(500 * MINUTE_MS, 5_000);
    // A hundredth of the intervals.
    expect(net.network.dials.length).toBeGreaterThan(3);
    expect(net.network.dials.length).toBeLessThan(25);
  });

  it('is ten times as frequent for ten minutes after a fifth of the nodes has gone within a minute', async () => {
    const net = new Watching();
    const ids = net.know(100);
    net.start();
    await net.pass(2 * MINUTE_MS, 1_000);
    for (const id of ids.slice(0, 25)) {
      net.view.reached.delete(id);
      await net.pass(2_000, 1_000);
    }
    expect(net.history.hasFallen).toBe(true);
    const before = net.network.dials.length;
    await net.pass(9 * MINUTE_MS, 1_000);
    expect(net.network.dials.length - before).toBeGreaterThan(2);
    await net.pass(2 * MINUTE_MS, 1_000);
    expect(net.history.hasFallen).toBe(false);
  });

  it('is not more frequent when they have gone one by one', async () => {
    const net = new Watching();
    const ids = net.know(100);
    net.start();
    for (const id of ids.slice(0, 60)) {
      net.view.reached.delete(id);
      await net.pass(10_000, 1_000);
      expect(net.history.hasFallen).toBe(false);
    }
  });

  it('is done every time by a node with one link or none', async () => {
    const net = new Watching({ links: 1 });
    for (const id of net.know(300)) net.view.reached.delete(id);
    net.start();
    await net.pass(10 * MINUTE_MS, 1_000);
    expect(net.network.dials.length).toBeGreaterThan(14);
  });

  it('begins within 45 s in a network of a thousand nodes that has split in halves', async () => {
    // Each node decides alone: 200 of them one after the other are a fifth of the network.
    let earliest = Number.POSITIVE_INFINITY;
    for (let node = 0; node < 200 && earliest === Number.POSITIVE_INFINITY; node++) {
      const net = new Watching({ seed: node });
      for (const id of net.know(1_000).slice(500)) net.view.reached.add(id);
      net.start();
      net.clock.advance(10_000);
      for (let number = 1; number <= 500; number++) net.view.reached.delete(`n${number}`);
      await net.pass(45_000, 5_000);
      for (const { atMs } of net.network.dials) earliest = Math.min(earliest, atMs);
      net.watch.dispose();
      net.history.dispose();
    }
    expect(earliest).toBeLessThan(Number.POSITIVE_INFINITY);
  });

  it('picks nodes of the book whose records are gone, and prefers those that failed less often', async () => {
    const net = new Watching({ links: 0 });
    for (const id of ['often', 'seldom']) {
      net.book.onAnnounced(id, [addressOf(id)]);
      net.network.outcomes.set(addressOf(id), () => new ScriptedLink(id));
    }
    for (let failure = 0; failure < 50; failure++) net.book.onFailed('often');
    net.start();
    await net.pass(60 * MINUTE_MS, 5_000);
    const counts = net.network.addresses.filter((address) => address === addressOf('often')).length;
    expect(counts).toBeLessThan(net.network.addresses.length / 4);
  });

  it('accepts any node at the address, if the old one has come back as another', async () => {
    const net = new Watching({ links: 0 });
    net.book.onAnnounced('old', [addressOf('old')]);
    net.start();
    await net.pass(MINUTE_MS, 1_000);
    expect(net.network.dials[0]?.request).toMatchObject({ purpose: 'mesh', expect: undefined });
  });

  it('picks seeds every other time, and none that are reachable', async () => {
    const net = new Watching({ seeds: ['a', 'b'].map(addressOf), links: 0 });
    for (const id of ['a', 'b']) net.network.outcomes.set(addressOf(id), refused());
    for (const id of net.know(3)) net.view.reached.delete(id);
    net.start();
    await net.pass(60 * MINUTE_MS, 5_000);
    const toSeeds = net.network.addresses.filter((address) => !address.includes('n')).length;
    expect(toSeeds).toBeGreaterThan(net.network.dials.length / 4);
    expect(toSeeds).toBeLessThan((net.network.dials.length * 3) / 4);
  });

  it('does not look for one that has left', async () => {
    const net = new Watching({ links: 0 });
    net.view.add('left', { flags: NodeFlag.LEAVING });
    net.view.reached.clear();
    net.book.onAnnounced('left', [addressOf('left')]);
    net.start();
    await net.pass(10 * MINUTE_MS, 1_000);
    expect(net.network.dials).toEqual([]);
  });

  it('stops with the node', () => {
    const net = new Watching();
    net.start();
    net.watch.dispose();
    net.history.dispose();
    expect(net.clock.armed).toBe(0);
  });
});
