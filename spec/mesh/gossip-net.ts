// Several nodes of gossip in one process: links in memory with a latency, time that a spec moves, signatures that cost
// nothing. Messages go through their codecs, so that nothing is shared by accident.

import { createHash } from 'node:crypto';
import { type NodeId, nodeIdFromPublicKey } from '../../lib/address.js';
import { Gossip, type GossipOptions, type GossipOwner } from '../../lib/mesh/gossip/gossip.js';
import type { MeshEnvironment, MeshIdentity, MeshLink } from '../../lib/mesh/ports.js';
import type { NodeRole } from '../../lib/options/options.js';
import { Timers } from '../../lib/util/timers.js';
import type { RecordCopy } from '../../lib/wire/gossip-messages.js';
import { MessageReader } from '../../lib/wire/message.js';
import { decodeMessage, encodeMessageOf, type Message, MessageType } from '../../lib/wire/messages.js';
import { type MeshRecord, RecordKind, signatureOf, signedPart } from '../../lib/wire/records.js';
import { FakeClock } from '../support/fake-clock.js';

/** Not a real signature, but it depends on key and content alike. */
function pretendSignature(publicKey: Uint8Array, bytes: Uint8Array): Buffer {
  return createHash('sha512').update('secret of').update(publicKey).update(bytes).digest();
}

export function pretendVerify(record: MeshRecord): boolean {
  return pretendSignature(record.publicKey, signedPart(record)).equals(signatureOf(record));
}

export function pretendIdentity(name: string, run = 1): MeshIdentity {
  const publicKey = createHash('sha256').update(name).digest();
  return {
    publicKey,
    nodeId: nodeIdFromPublicKey(publicKey),
    bootId: `00000000-0000-4000-8000-${run.toString(16).padStart(12, '0')}`,
    sign: (bytes) => pretendSignature(publicKey, bytes),
  };
}

/** Numbers from 0 up to 1 that are the same in every run. */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 0x1_0000_0000;
  };
}

export class NetLink implements MeshLink {
  isUp = true;
  isBlocked = false;
  readonly direction: 'inbound' | 'outbound' = 'outbound';
  readonly address = 'attached';
  readonly envDigests: readonly string[] = [];
  readonly peerAddresses: readonly string[] = [];
  readonly purpose = 'mesh';
  /** 0 until it is measured. */
  rttMs = 0;
  readonly streams = 0;
  readonly lastHeardMs = 0;
  readonly sent: Message[] = [];
  error: Error | undefined;
  other!: NetLink;
  /** Receives the messages at this end instead of a node. */
  tap: ((message: Message) => void) | undefined;

  constructor(
    readonly net: GossipNet,
    readonly end: NetEnd,
    readonly peer: NetEnd,
    readonly latencyMs: number,
  ) {}

  get peerId(): NodeId {
    return this.peer.identity.nodeId;
  }

  get bootId(): string {
    return this.peer.identity.bootId;
  }

  get role(): NodeRole {
    return this.peer.role;
  }

  get sentTypes(): number[] {
    return this.sent.map(({ type }) => type);
  }

  /** Keys of the records that were sent, in order. */
  get sentRecords(): MeshRecord[] {
    return this.sent.flatMap((message) => ('records' in message ? message.records.map(({ record }) => record) : []));
  }

  send(message: Message): void {
    if (!this.isUp) return;
    this.sent.push(message);
    const bytes = encodeMessageOf(message);
    this.net.bytes += bytes.length;
    this.net.clock.setTimeout(() => this.other.receive(bytes), this.latencyMs);
  }

  sendRecords(records: readonly MeshRecord[], remainingLifeS = 3_600): void {
    let copies: RecordCopy[] = [];
    let bytes = 0;
    for (const record of [...records, undefined]) {
      if (copies.length > 0 && (record === undefined || bytes + record.bytes.length > 48 * 1024)) {
        this.send({ type: MessageType.RECORDS, records: copies });
        copies = [];
        bytes = 0;
      }
      if (record === undefined) return;
      copies.push({ record, remainingLifeS });
      bytes += record.bytes.length + 6;
    }
  }

  drain(): void {
    this.isBlocked = false;
    this.end.gossip?.onUnblocked(this);
  }

  ping(): Promise<number> {
    return Promise.resolve(2 * this.latencyMs);
  }

  close(): void {
    this.destroy(new Error('closed'));
  }

  shed(): void {
    this.close();
  }

  destroy(error: Error): void {
    if (!this.isUp) return;
    this.isUp = false;
    this.error = error;
    this.end.gossip?.onUnlink(this);
    this.net.clock.setTimeout(() => this.other.destroy(new Error('the other end was destroyed')), this.latencyMs);
  }

  private receive(bytes: Buffer): void {
    if (!this.isUp) return;
    new MessageReader(decodeMessage, (message) => {
      if (this.tap !== undefined) this.tap(message);
      else this.end.gossip?.onMessage(this, message);
    }).push(bytes);
  }
}

/** What is at the end of a link: a node, or a spec that plays one. */
export interface NetEnd {
  readonly identity: MeshIdentity;
  readonly role: NodeRole;
  readonly gossip?: Gossip;
}

export interface NetNodeOptions extends Partial<Omit<GossipOptions, 'announces'>> {
  readonly role?: NodeRole;
  readonly run?: number;
}

export class NetNode implements NetEnd, GossipOwner {
  readonly identity: MeshIdentity;
  readonly role: NodeRole;
  readonly gossip: Gossip;
  readonly links = new Set<NetLink>();
  readonly heard: MeshRecord[] = [];
  readonly forgotten: MeshRecord[] = [];
  readonly warnings: string[] = [];
  readonly epochs: number[] = [];
  readonly synced: MeshLink[] = [];
  readonly unreachable = new Set<NodeId>();
  verifications = 0;
  /** Called with every record that the gossip reports. */
  react: ((record: MeshRecord, previous: MeshRecord | undefined) => void) | undefined;

  constructor(
    readonly net: GossipNet,
    readonly name: string,
    { role = 'peer', run = 1, ...options }: NetNodeOptions = {},
  ) {
    this.role = role;
    this.identity = pretendIdentity(name, run);
    const environment: MeshEnvironment = {
      identity: this.identity,
      timers: net.timers,
      random: net.random,
      verify: (record) => {
        this.verifications++;
        return pretendVerify(record);
      },
      warn: (error) => this.warnings.push((error as Error & { code: string }).code),
    };
    this.gossip = new Gossip(
      environment,
      {
        announces: role !== 'client',
        firstEpoch: 1,
        envDigests: [],
        maxServicesPerNode: 10_000,
        isReachable: (nodeId) => !this.unreachable.has(nodeId),
        ...options,
      },
      this,
    );
  }

  get id(): NodeId {
    return this.identity.nodeId;
  }

  get root(): string {
    const { rootHigh, rootLow } = this.gossip.store.digest;
    return `${rootHigh}:${rootLow}:${this.gossip.store.size}`;
  }

  /** Peers that this node knows another one to be linked to. */
  linksOf(node: NetNode): NodeId[] | undefined {
    return this.gossip.store.node(node.id)?.links.map(({ peerId }) => peerId);
  }

  servicesOf(node: NetNode): string[] {
    const shards = this.gossip.store.shardsOf(node.id);
    return shards.flatMap(({ services }) => services.map(({ service }) => service)).sort();
  }

  /** Announces the links that it has. */
  announce(urgency: 'soon' | 'now' = 'soon'): void {
    this.gossip.own.describe({ links: [...this.links].map(({ peerId }) => ({ peerId, cost: 10 })) }, urgency);
  }

  onRecord(record: MeshRecord, previous: MeshRecord | undefined): void {
    this.heard.push(record);
    this.react?.(record, previous);
  }

  onForgotten(record: MeshRecord): void {
    this.forgotten.push(record);
  }

  onSynced(link: MeshLink): void {
    this.synced.push(link);
  }

  onEpoch(epoch: number): void {
    this.epochs.push(epoch);
  }
}

export class GossipNet {
  readonly clock = new FakeClock();
  readonly timers = new Timers(this.clock);
  readonly random = seededRandom(7);
  readonly nodes: NetNode[] = [];
  /** Of all messages, as they are on the wire. */
  bytes = 0;
  private feeders = 0;

  add(name: string, options?: NetNodeOptions): NetNode {
    const node = new NetNode(this, name, options);
    this.nodes.push(node);
    return node;
  }

  addAll(...names: string[]): NetNode[] {
    return names.map((name) => this.add(name));
  }

  /** Links two nodes; both announce it. */
  link(a: NetNode, b: NetNode, latencyMs = 5): [NetLink, NetLink] {
    const [one, other] = this.wire(a, b, latencyMs);
    for (const link of [one, other]) {
      const node = link.end as NetNode;
      node.links.add(link);
      node.gossip.onLink(link);
      node.announce();
    }
    return [one, other];
  }

  /** A link whose other end is played by the spec; messages of the node arrive in `heard`. */
  impostor(node: NetNode, name: string, role: NodeRole = 'peer'): { link: NetLink; own: NetLink; heard: Message[] } {
    const end: NetEnd = { identity: pretendIdentity(name), role };
    const [own, link] = this.wire(end, node, 1);
    const heard: Message[] = [];
    own.tap = (message) => heard.push(message);
    node.gossip.onLink(link);
    return { link, own, heard };
  }

  /** Records of nodes that are not here, which a neighbour brings and is gone again. */
  feed(node: NetNode, records: readonly MeshRecord[]): void {
    const { own } = this.impostor(node, `feeder ${this.feeders++}`);
    own.send({ type: MessageType.DIGEST, rootHigh: 0, rootLow: 1, count: 0 });
    own.sendRecords(records);
    this.pass(Math.max(100, records.length));
    own.destroy(new Error('fed'));
    this.pass(100);
  }

  /** Cuts the link between two nodes; both announce it. */
  cut(link: NetLink): void {
    this.drop(link);
    for (const one of [link, link.other]) (one.end as NetNode).announce('now');
  }

  /** Cuts the link between two nodes without new records. */
  drop(link: NetLink): void {
    link.destroy(new Error('cut'));
    this.pass(2 * link.latencyMs);
    for (const one of [link, link.other]) (one.end as NetNode).links.delete(one);
  }

  /** Lets time pass, and the turns of the event loop in it. */
  pass(ms: number, stepMs = 5): void {
    this.turns();
    for (let passed = 0; passed < ms; passed += stepMs) {
      this.clock.advance(Math.min(stepMs, ms - passed));
      this.turns();
    }
  }

  /** Turns of the event loop in which no time passes. */
  turns(): void {
    for (let count = 0; this.clock.immediatesWaiting > 0 && count < 10_000; count++) this.clock.runImmediates();
  }

  private wire(a: NetEnd, b: NetEnd, latencyMs: number): [NetLink, NetLink] {
    const one = new NetLink(this, a, b, latencyMs);
    const other = new NetLink(this, b, a, latencyMs);
    one.other = other;
    other.other = one;
    return [one, other];
  }
}

export function isNode(record: MeshRecord): boolean {
  return record.kind === RecordKind.NODE;
}
