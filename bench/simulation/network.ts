// A network of many nodes that gates are measured on: how it starts, comes to rest, and loses and gets back nodes.

import { isConverged, rest } from './oracles.js';
import type { SimNode } from './sim-node.js';
import { startWarm } from './warm-start.js';
import type { World } from './world.js';

const SEEDS = 3;

export interface ColdStart {
  /** From the start of the last node until all views were the same, in ms; NaN when they never were. */
  readonly equalMs: number;
  readonly bytesPerNode: number;
}

export class Network {
  readonly seeds: readonly string[];
  /** How the network was started. */
  coldStart: ColdStart | undefined;

  /**
   * @param clients so many of the nodes are clients, and have no services
   * @param hidden how many of the others cannot be dialled
   */
  constructor(
    readonly world: World,
    readonly size: number,
    clients = 0,
    hidden = 0,
  ) {
    const nodes = world.addAll(size, clients, hidden);
    this.seeds = nodes.slice(0, SEEDS).map((node) => node.host.address);
    for (const node of nodes) if (node.isKnown) node.bind(`service-${node.host.index}`);
  }

  get nodes(): readonly SimNode[] {
    return this.world.nodes;
  }

  get live(): SimNode[] {
    return this.world.liveNodes;
  }

  /** All nodes within `forMs`, by three seeds that have no seeds themselves and do not know each other. */
  async startCold(forMs: number): Promise<ColdStart> {
    const { loop, random } = this.world;
    this.nodes.forEach((node, index) => {
      if (index >= SEEDS) node.setup.seeds = this.seeds;
      loop.call(index < SEEDS ? 0 : random.between(0, forMs), () => node.start());
    });
    await loop.run(forMs);
    const lastStart = loop.now;
    const isEqual = await loop.waitFor(60_000, 50, () => isConverged(this.nodes));
    const equalMs = isEqual ? loop.now - lastStart : Number.NaN;
    const bytes = this.nodes.reduce((sum, node) => sum + node.traffic.bytesIn, 0);
    this.coldStart = { equalMs, bytesPerNode: bytes / this.size };
    return this.coldStart;
  }

  /** All nodes at once, linked and knowing each other from the start. */
  async startWarm(): Promise<void> {
    await startWarm(this.world, this.seeds);
  }

  /** Waits until all views are the same and have been so for `forMs`. */
  settle(forMs: number, limitMs = 600_000): Promise<boolean> {
    return rest(this.world, forMs, limitMs);
  }

  /** Mean number of links, including those that are not announced. */
  get degree(): number {
    const { live } = this;
    return live.reduce((sum, node) => sum + (node.run?.links.size ?? 0), 0) / live.length;
  }

  /** Any node that runs, but no seed. */
  pick(): SimNode {
    return this.pickOf(() => true);
  }

  /** The same, of those that others know of. */
  pickKnown(): SimNode {
    return this.pickOf((node) => node.isKnown);
  }

  private pickOf(isWanted: (node: SimNode) => boolean): SimNode {
    const nodes = this.live.filter((node) => node.host.index >= SEEDS && isWanted(node));
    return this.world.random.pick(nodes);
  }

  /** Starts all nodes that do not run. */
  async revive(): Promise<void> {
    for (const node of this.nodes) if (node.run === undefined) node.start();
    await this.settle(5_000);
  }
}
