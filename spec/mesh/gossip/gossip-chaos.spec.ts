import { describe, expect, it } from '@jest/globals';
import { GossipNet, type NetLink, NetNode, seededRandom } from '../gossip-net.js';

const STEPS = 60;

/** Nodes that come, go, fail, restart and change, with links at random; at the end it is quiet, and all is connected. */
class Chaos {
  readonly net = new GossipNet();
  readonly nodes: NetNode[] = [];
  private readonly links = new Set<NetLink>();
  private readonly pick: () => number;
  private names = 0;
  private runs = 1;
  /** What each node has bound. */
  readonly bound = new Map<NetNode, Set<string>>();

  constructor(seed: number) {
    this.pick = seededRandom(seed);
    for (let count = 0; count < 6; count++) this.join();
  }

  step(): void {
    const actions = [
      () => this.join(),
      () => this.crash(true),
      () => this.crash(false),
      () => this.connect(),
      () => this.connect(),
      () => this.cut(),
      () => this.block(),
      () => this.bind(),
      () => this.bind(),
      () => this.unbind(),
    ];
    this.any(actions)();
    this.net.pass(this.any([0, 5, 20, 100, 1_000]));
  }

  /** Heals everything, and waits until throttled changes are published. */
  settle(): void {
    for (const link of this.links) {
      link.drain();
      link.other.drain();
    }
    for (let index = 1; index < this.nodes.length; index++) this.link(this.nodes[index - 1], this.nodes[index]);
    this.net.pass(200_000, 50);
  }

  private join(name = `n${this.names++}`): NetNode {
    const node = new NetNode(this.net, name, { run: this.runs++, firstEpoch: 1 });
    this.nodes.push(node);
    this.bound.set(node, new Set());
    if (this.nodes.length > 1) this.link(node, this.any(this.nodes));
    return node;
  }

  private crash(isRestart: boolean): void {
    if (this.nodes.length < 4) return;
    const node = this.any(this.nodes);
    this.nodes.splice(this.nodes.indexOf(node), 1);
    node.gossip.dispose();
    for (const link of [...node.links]) this.drop(link);
    if (isRestart) this.join(node.name);
  }

  private connect(): void {
    this.link(this.any(this.nodes), this.any(this.nodes));
  }

  private cut(): void {
    const link = this.any([...this.links]);
    if (link !== undefined) this.drop(link);
  }

  private block(): void {
    const link = this.any([...this.links]);
    if (link === undefined) return;
    if (link.isBlocked) link.drain();
    else link.isBlocked = true;
  }

  private bind(): void {
    const node = this.any(this.nodes);
    for (let count = Math.floor(this.pick() * 40); count >= 0; count--) {
      const service = `s${Math.floor(this.pick() * 400)}`;
      this.bound.get(node)?.add(service);
      node.gossip.own.bind({ service, port: 1, weight: 1 });
    }
  }

  private unbind(): void {
    const node = this.any(this.nodes);
    const all = this.bound.get(node) ?? new Set<string>();
    for (const service of all) {
      if (this.pick() < 0.5) continue;
      all.delete(service);
      node.gossip.own.unbind(service, 1);
    }
  }

  private link(a: NetNode, b: NetNode): void {
    if (a === b || [...a.links].some(({ peerId }) => peerId === b.id)) return;
    const [link] = this.net.link(a, b, 1 + Math.floor(this.pick() * 30));
    this.links.add(link);
  }

  private drop(link: NetLink): void {
    this.net.drop(link);
    for (const one of [link, link.other]) {
      this.links.delete(one);
      const node = one.end as NetNode;
      if (this.nodes.includes(node)) node.announce('now');
    }
  }

  private any<Item>(items: readonly Item[]): Item {
    return items[Math.floor(this.pick() * items.length)];
  }
}

describe('nodes and links that come and go', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('know the same in the end, and it is the truth (seed %d)', (seed) => {
    const chaos = new Chaos(seed);
    for (let step = 0; step < STEPS; step++) chaos.step();
    chaos.settle();

    expect(new Set(chaos.nodes.map((node) => node.root)).size).toBe(1);
    const [witness] = chaos.nodes;
    for (const node of chaos.nodes) {
      const record = witness.gossip.store.node(node.id);
      expect(record?.bootId).toBe(node.identity.bootId);
      expect(new Set(record?.links.map(({ peerId }) => peerId))).toEqual(
        new Set([...node.links].map(({ peerId }) => peerId)),
      );
      expect(witness.servicesOf(node)).toEqual([...(chaos.bound.get(node) ?? [])].sort());
      expect(node.warnings).toEqual([]);
      expect(node.gossip.counters).toMatchObject({ invalid: 0, twins: 0, rejected: 0, punished: 0, unanswered: 0 });
      for (const link of node.links) expect(node.gossip.isSettled(link)).toBe(true);
    }
  });
});
