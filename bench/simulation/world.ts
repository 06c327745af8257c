// The whole simulation: time, randomness, network, keys and nodes. The seed alone determines a run.

import type { NodeId } from '../../lib/address.js';
import type { LinkPurpose } from '../../lib/link/link-purpose.js';
import type { NodeRole } from '../../lib/options/options.js';
import type { MeshRecord } from '../../lib/wire/records.js';
import { EventLoop } from './event-loop.js';
import { type LatencyModel, type PathConditions, Paths } from './paths.js';
import type { PlaneMaker } from './plane.js';
import { Random } from './random.js';
import { CheapSignatures, type KeyPair, RealSignatures, type Signatures } from './signatures.js';
import { SimHost } from './sim-host.js';
import { SimLink } from './sim-link.js';
import { SimMembers } from './sim-members.js';
import { connectEnds } from './sim-network.js';
import { type LinkWatcher, type NodeWorld, SimNode } from './sim-node.js';

export interface WorldOptions {
  readonly seed: number;
  readonly makePlane: PlaneMaker;
  readonly latency?: LatencyModel;
  readonly conditions?: PathConditions;
  readonly realCrypto?: boolean;
  /** The nodes have certificates. Default: they have a secret. */
  readonly hasMembers?: boolean;
}

export interface NewNode {
  readonly seeds?: readonly string[];
  readonly role?: NodeRole;
  readonly relay?: boolean;
  readonly env?: readonly string[];
  /** False: it cannot be dialled. */
  readonly isReachable?: boolean;
  /** Those of another node: a clone of it. */
  readonly keys?: KeyPair;
}

export class World implements NodeWorld {
  readonly loop = new EventLoop();
  readonly random: Random;
  readonly paths: Paths;
  readonly nodes: SimNode[] = [];
  readonly makePlane: PlaneMaker;
  watcher: LinkWatcher | undefined;
  isMuted = false;
  readonly members: SimMembers | undefined;
  private readonly signatures: Signatures;
  private readonly hosts = new Map<string, SimHost>();
  private readonly balancers = new Map<string, { readonly hosts: readonly SimHost[]; readonly random: Random }>();
  private readonly names = new Map<string, readonly string[]>();
  private readonly onRejection = (error: unknown): void => this.loop.fail(error);

  constructor(options: WorldOptions) {
    this.random = new Random(options.seed);
    this.paths = new Paths(options.latency ?? 'uniform', this.random.fork(), options.conditions);
    this.makePlane = options.makePlane;
    this.signatures = options.realCrypto ? new RealSignatures() : new CheapSignatures();
    this.members = options.hasMembers ? new SimMembers(this.loop, this.random.fork()) : undefined;
    process.on('unhandledRejection', this.onRejection);
  }

  get signatureChecks(): number {
    return this.signatures.checks;
  }

  get liveNodes(): SimNode[] {
    return this.nodes.filter((node) => node.isLive);
  }

  /** A node that has not started. */
  add(options: NewNode = {}): SimNode {
    const random = this.random.fork();
    const host = new SimHost(this.nodes.length, random, options.isReachable);
    const role = options.role ?? 'peer';
    const keys = options.keys ?? this.signatures.makeKeys(random);
    this.members?.add(keys, host.index);
    const node = new SimNode({
      wide: this,
      host,
      keys,
      random,
      role,
      relay: options.relay ?? role !== 'client',
      env: options.env ?? [],
      seeds: options.seeds ?? [],
    });
    this.hosts.set(host.address, host);
    this.nodes.push(node);
    return node;
  }

  /** So many, the last of them clients; of the others the last ones are hidden, behind a NAT for instance. */
  addAll(count: number, clients: number, hidden = 0): SimNode[] {
    const peers = count - clients;
    return Array.from({ length: count }, (_, n) =>
      this.add(n < peers ? { isReachable: n < peers - hidden } : { role: 'client' }),
    );
  }

  byId(nodeId: NodeId): SimNode | undefined {
    return this.nodes.find((node) => node.nodeId === nodeId);
  }

  /** Gives machines a name for the look-up of seeds. */
  name(address: string, hosts: readonly SimHost[]): void {
    this.names.set(
      address,
      hosts.map((host) => host.address),
    );
  }

  /** An address in front of machines: each connection gets to one of those that listen, by chance. */
  balance(address: string, hosts: readonly SimHost[]): void {
    this.balancers.set(address, { hosts, random: this.random.fork() });
  }

  /** A link that is there without a handshake. */
  link(one: SimNode, other: SimNode, purpose: LinkPurpose = 'mesh'): void {
    if (one.run === undefined || other.run === undefined) throw new Error('a node that does not run has no links');
    const ends = [
      new SimLink({ owner: one.run.links, direction: 'outbound', address: other.host.address, purpose }),
      new SimLink({ owner: other.run.links, direction: 'inbound', address: one.host.sourceAddress, purpose }),
    ];
    connectEnds(this, ends[0], one.run.links, ends[1], other.run.links);
    SimLink.join(ends[0], ends[1]);
    one.run.links.adoptStanding(ends[0]);
    other.run.links.adoptStanding(ends[1]);
  }

  /** Ends everything at once. */
  close(): void {
    process.off('unhandledRejection', this.onRejection);
    for (const node of this.nodes) node.die();
  }

  // --- for the networks of the nodes ---

  hostAt(address: string): SimHost | undefined {
    return this.hosts.get(address);
  }

  behind(address: string): string {
    const balancer = this.balancers.get(address);
    const listening = balancer?.hosts.filter((host) => host.isListening) ?? [];
    return balancer === undefined || listening.length === 0 ? address : balancer.random.pick(listening).address;
  }

  lookup(address: string): readonly string[] {
    return this.names.get(address) ?? [address];
  }

  verify(record: MeshRecord): boolean {
    return this.signatures.verify(record);
  }
}
