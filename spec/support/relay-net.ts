// Nodes linked as a spec defines it, over links in memory, with routes that know the whole graph.

import { type Duplex, duplexPair } from 'node:stream';
import type { Circuits } from '../../lib/circuit/circuits.js';
import type { RelayLimits } from '../../lib/circuit/relay/limits.js';
import { createNode, type Link, type Node, type NodeOptions } from '../../lib/index.js';
import { type Edge, Graph, GraphRoutes } from './graph-routes.js';
import { turnsUntil } from './turns.js';

export interface RelayNetOptions {
  readonly node?: NodeOptions;
  /** Of single nodes. */
  readonly nodes?: Readonly<Record<number, NodeOptions>>;
  /** Limits of relaying, of every node. */
  readonly limits?: Partial<RelayLimits>;
  /** The two ends of a link. */
  readonly pair?: (edge: Edge) => [Duplex, Duplex] | Promise<[Duplex, Duplex]>;
}

export class RelayNet {
  readonly nodes: Node[] = [];
  readonly routes: GraphRoutes[] = [];
  graph = new Graph([], []);
  private readonly links = new Map<string, Link>();

  static async of(edges: readonly Edge[], options: RelayNetOptions = {}): Promise<RelayNet> {
    const net = new RelayNet();
    const size = 1 + Math.max(...edges.flat());
    for (let index = 0; index < size; index++) {
      const node = createNode({ closeTimeoutMs: 50, ...options.node, ...options.nodes?.[index] });
      net.nodes.push(node);
      const circuits = circuitsOf(node);
      setLimits(circuits, options.limits ?? {});
    }
    net.graph = new Graph(
      net.nodes.map(({ id }) => id),
      edges,
    );
    for (const node of net.nodes) {
      const routes = new GraphRoutes(node.id, net.graph);
      net.routes.push(routes);
      replaceRoutes(node, routes);
    }
    await Promise.all(edges.map((edge) => net.link(edge, options.pair)));
    return net;
  }

  /** 0 - 1 - 2 - ... with `relays` nodes between the ends. */
  static line(relays: number, options?: RelayNetOptions): Promise<RelayNet> {
    return RelayNet.of(
      Array.from({ length: relays + 1 }, (_, index) => [index, index + 1] as const),
      options,
    );
  }

  get first(): Node {
    return this.nodes[0];
  }

  get last(): Node {
    return this.nodes[this.nodes.length - 1];
  }

  circuits(index: number): Circuits {
    return circuitsOf(this.nodes[index]);
  }

  relay(index: number): Circuits['relay'] {
    return this.circuits(index).relay;
  }

  /** The link between two nodes is lost, without notice to either. Routes go on to name it unless `known`. */
  cut(one: number, other: number, known = false): void {
    const link = this.links.get(`${Math.min(one, other)} ${Math.max(one, other)}`);
    if (known) this.graph.delete(this.nodes[one].id, this.nodes[other].id);
    link?.destroy(new Error('cut'));
  }

  /** Resolves when each node has the records of all others, and so knows what they can do. */
  async settled(): Promise<void> {
    const records = this.nodes.map((node) => Reflect.get(node, 'mesh').gossip.store as { node(id: string): unknown });
    const isKnown = (): boolean => records.every((known) => this.nodes.every(({ id }) => known.node(id) !== undefined));
    await turnsUntil('all records are known', isKnown);
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.close()));
  }

  private async link(edge: Edge, pair: NonNullable<RelayNetOptions['pair']> = memoryPair): Promise<void> {
    const [one, other] = [...edge].sort((a, b) => a - b);
    const [near, far] = await pair(edge);
    const [link] = await Promise.all([
      this.nodes[one].attach(near, { initiator: true }),
      this.nodes[other].attach(far, { initiator: false }),
    ]);
    this.links.set(`${one} ${other}`, link);
  }
}

/** Makes circuits of the node take these routes. */
function replaceRoutes(node: Node, routes: GraphRoutes): void {
  const { routing } = Reflect.get(node, 'mesh') as { routing: object };
  for (const name of ['nextHops', 'route', 'penalise', 'reward'] as const) {
    Reflect.set(routing, name, routes[name].bind(routes));
  }
}

export function circuitsOf(node: Node): Circuits {
  return Reflect.get(node, 'circuits');
}

/** What goes over links that are made afterwards. */
function setLimits(circuits: Circuits, limits: Partial<RelayLimits>): void {
  Object.assign(Reflect.get(circuits, 'relayLimits'), limits);
  if (limits.poolBytes !== undefined) Reflect.set(circuits.relay.pool.all, 'limitBytes', limits.poolBytes);
  const seen = Reflect.get(Reflect.get(circuits.relay, 'admission'), 'seen');
  if (limits.rememberMs !== undefined) Reflect.set(seen, 'rememberMs', limits.rememberMs);
}

function memoryPair(): [Duplex, Duplex] {
  const [near, far] = duplexPair();
  // A pair in memory does not notify one end that the other was destroyed, as a network does.
  near.once('close', () => far.destroy());
  far.once('close', () => near.destroy());
  return [near, far];
}
