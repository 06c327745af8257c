// Neighbourhoods on an abstract graph: real choices of neighbours, links that are two ends of a line, and a directory
// that every node of a part of the graph sees at once. No records, no bytes; latencies and deadlines in virtual time.

import type { NodeId } from '../../lib/address.js';
import { starlaneError } from '../../lib/errors.js';
import { Neighbourhood } from '../../lib/mesh/neighbours/neighbourhood.js';
import type { LinkRequest, ProbeResult } from '../../lib/mesh/ports.js';
import type { NodeRole } from '../../lib/options/options.js';
import { Timers } from '../../lib/util/timers.js';
import { NodeFlag } from '../../lib/wire/records.js';
import { FakeClock } from '../support/fake-clock.js';
import { turn } from '../support/turns.js';
import { nodeRecord, ScriptedLink, ScriptedView, seeded } from './scripted-network.js';

const STEP_MS = 50;
/** How long it takes until a host that cannot be reached is given up. */
const CONNECT_TIMEOUT_MS = 5_000;

class AbstractLink extends ScriptedLink {
  twin!: AbstractLink;
}

export interface NodeSetup {
  readonly role?: NodeRole;
  readonly seeds?: readonly string[];
  /** Behind a NAT: dials, and cannot be dialled. */
  readonly isHidden?: boolean;
}

export class AbstractNode {
  readonly view = new ScriptedView();
  readonly links = new Set<AbstractLink>();
  readonly neighbourhood: Neighbourhood;
  readonly warnings: Error[] = [];
  isAlive = true;
  /** Nodes of different groups cannot connect to each other. */
  group = 0;

  constructor(
    readonly id: NodeId,
    readonly mesh: AbstractMesh,
    readonly setup: NodeSetup,
  ) {
    const { timers, random } = mesh;
    this.neighbourhood = new Neighbourhood({
      environment: {
        identity: { nodeId: id, publicKey: new Uint8Array(32), bootId: id, sign: () => new Uint8Array(64) },
        timers,
        random,
        verify: () => true,
        warn: (error) => this.warnings.push(error),
      },
      network: {
        listenAddresses: this.addresses,
        links: () => this.links,
        resolve: async (address) => [address],
        dial: (address, request) => mesh.dial(this, address, request),
        probe: (address, timeoutMs) => mesh.probe(this, address, timeoutMs),
      },
      view: this.view,
      options: { role: setup.role ?? 'peer', seeds: setup.seeds ?? [], backOff: { minMs: 500, maxMs: 60_000 } },
    });
  }

  get addresses(): readonly string[] {
    return this.setup.isHidden ? [] : [`tcp://${this.id}.test:1`];
  }

  get degree(): number {
    return this.neighbourhood.neighbours.degree;
  }
}

export class AbstractMesh {
  readonly clock = new FakeClock();
  readonly timers = new Timers(this.clock);
  readonly nodes = new Map<NodeId, AbstractNode>();
  readonly random: () => number;
  /** Links that came up or went. */
  changes = 0;
  dials = 0;
  private isStale = false;

  constructor(seed: number) {
    this.random = seeded(seed);
  }

  get alive(): AbstractNode[] {
    return [...this.nodes.values()].filter(({ isAlive }) => isAlive);
  }

  add(id: NodeId, setup: NodeSetup = {}): AbstractNode {
    const node = new AbstractNode(id, this, setup);
    this.nodes.set(id, node);
    node.neighbourhood.start();
    return node;
  }

  /** It dies without a word; the links at the other ends go. */
  kill(node: AbstractNode): void {
    node.isAlive = false;
    node.neighbourhood.dispose();
    for (const link of [...node.links]) this.drop(link);
  }

  cut(node: AbstractNode): void {
    for (const link of [...node.links]) this.drop(link);
  }

  /** From now on the nodes are in groups that cannot see each other, or all in one. */
  split(groupOf: (node: AbstractNode) => number): void {
    for (const node of this.alive) node.group = groupOf(node);
    for (const node of this.alive) {
      for (const link of [...node.links]) {
        if (this.nodes.get(link.peerId)?.group !== node.group) this.drop(link);
      }
    }
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= STEP_MS) {
      this.clock.advance(STEP_MS);
      this.clock.runImmediates();
      await turn();
      if (this.isStale) this.spread();
    }
  }

  /** Sets of nodes that are linked with each other; clients, which relay nothing, belong to none. */
  parts(): AbstractNode[][] {
    const parts: AbstractNode[][] = [];
    const seen = new Set<AbstractNode>();
    for (const start of this.alive) {
      if (start.setup.role === 'client' || seen.has(start)) continue;
      const part: AbstractNode[] = [];
      const next = [start];
      seen.add(start);
      for (let node = next.pop(); node !== undefined; node = next.pop()) {
        part.push(node);
        for (const { peerId } of node.links) {
          const peer = this.nodes.get(peerId) as AbstractNode;
          if (peer.setup.role === 'client' || seen.has(peer)) continue;
          seen.add(peer);
          next.push(peer);
        }
      }
      parts.push(part);
    }
    return parts;
  }

  async dial(from: AbstractNode, address: string, { purpose, expect }: LinkRequest): Promise<AbstractLink> {
    this.dials++;
    const to = await this.connect(from, address, CONNECT_TIMEOUT_MS);
    if (to === undefined) throw starlaneError('ERR_STARLANE_HANDSHAKE_TIMEOUT', address);
    if (!to.isAlive) throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    // The handshake.
    await this.wait(2 * this.latency(from, to));
    if (to === from) throw starlaneError('ERR_STARLANE_SELF_LINK');
    if (expect !== undefined && expect !== to.id) throw starlaneError('ERR_STARLANE_HANDSHAKE');
    const standing = [...from.links].find(({ peerId }) => peerId === to.id);
    if (standing !== undefined) return standing;
    if (!from.isAlive || !to.isAlive || from.group !== to.group) throw starlaneError('ERR_STARLANE_LINK_LOST');
    const role = from.setup.role ?? 'peer';
    if (!to.neighbourhood.admission.mayAccept({ peerId: from.id, purpose, role })) {
      throw starlaneError('ERR_STARLANE_LINK_LIMIT', 'it has links enough');
    }
    const near = this.end(to, { direction: 'outbound', address, purpose });
    const far = this.end(from, { direction: 'inbound', address: `tcp://${from.id}.test:50000`, purpose });
    near.twin = far;
    far.twin = near;
    this.raise(to, far);
    this.raise(from, near);
    return near;
  }

  async probe(from: AbstractNode, address: string, timeoutMs: number): Promise<ProbeResult> {
    const to = await this.connect(from, address, timeoutMs);
    if (to === undefined) return 'silent';
    return to.isAlive ? 'open' : 'refused';
  }

  /** Who is there, after a round trip; undefined after the timeout. */
  private async connect(from: AbstractNode, address: string, timeoutMs: number): Promise<AbstractNode | undefined> {
    const to = this.nodes.get(address.slice('tcp://'.length, address.indexOf('.')));
    const isThere = to !== undefined && to.group === from.group && !to.setup.isHidden;
    await this.wait(isThere ? this.latency(from, to) : timeoutMs);
    return isThere ? to : undefined;
  }

  /** Symmetric, 2 to 60 ms. */
  private latency(a: AbstractNode, b: AbstractNode): number {
    const [low, high] = [a.id, b.id].sort() as [string, string];
    return 2 + 58 * seeded([...`${low}${high}`].reduce((sum, char) => sum * 31 + char.charCodeAt(0), 7))();
  }

  private wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.timers.schedule(ms, { onDeadline: () => resolve() }));
  }

  private end(peer: AbstractNode, part: Partial<ScriptedLink>): AbstractLink {
    const link = new AbstractLink(peer.id, { ...part, role: peer.setup.role ?? 'peer', peerAddresses: peer.addresses });
    link.onEnd = () => this.drop(link);
    return link;
  }

  private raise(node: AbstractNode, link: AbstractLink): void {
    node.links.add(link);
    node.neighbourhood.onLink(link);
    this.changes++;
    this.isStale = true;
  }

  private drop(link: AbstractLink): void {
    for (const [end, peerId] of [
      [link, link.twin.peerId],
      [link.twin, link.peerId],
    ] as const) {
      // Each end belongs to the node that the other one leads to.
      const node = this.nodes.get(peerId) as AbstractNode;
      end.isUp = false;
      if (node.links.delete(end) && node.isAlive) node.neighbourhood.onUnlink(end);
    }
    this.changes++;
    this.isStale = true;
  }

  /** What every part knows of itself, all at once. */
  private spread(): void {
    this.isStale = false;
    for (const part of this.parts()) {
      const records = part.map((node) =>
        nodeRecord(node.id, {
          flags: NodeFlag.RELAY,
          addresses: node.addresses,
          links: [...node.links].filter(({ role }) => role !== 'client').map(({ peerId }) => ({ peerId, cost: 1 })),
        }),
      );
      const members = new Set(part.map(({ id }) => id));
      const clients = this.alive.filter(
        ({ links, setup }) => setup.role === 'client' && [...links].some(({ peerId }) => members.has(peerId)),
      );
      for (const { id, neighbourhood, view } of [...part, ...clients]) {
        const before = new Set(view.reached);
        view.reached.clear();
        for (const record of records) {
          view.records.set(record.nodeId, record);
          if (record.nodeId !== id) view.reached.add(record.nodeId);
        }
        for (const nodeId of view.reached) if (!before.has(nodeId)) neighbourhood.onReachable(nodeId);
      }
    }
  }
}
