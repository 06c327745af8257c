// The gossip of one node: what it says about itself reaches every other node, and what they say reaches it.
//
//   neighbour -> intake -> admission -> record store -> flooding -> other neighbours
//                                           |  ^
//                     anti-entropy with exchange, expiry, origin
//
// A facade: the parts are joined here and know little of each other.

import type { NodeId } from '../../address.js';
import { type StarlaneError, type StarlaneErrorCode, starlaneError } from '../../errors.js';
import { WarnOnce } from '../../util/rate-limited-warnings.js';
import { REST_SLACK_MS, type Timed, type Timer } from '../../util/timers.js';
import { type Message, MessageType } from '../../wire/messages.js';
import { type MeshRecord, RecordKind } from '../../wire/records.js';
import type { ServiceEntry } from '../../wire/service-entry.js';
import { Bans } from '../admission/bans.js';
import { Floors } from '../admission/floors.js';
import { Intake } from '../admission/intake.js';
import { RecordAdmission } from '../admission/record-admission.js';
import { Refusals } from '../admission/refusals.js';
import type { MeshEnvironment } from '../ports/mesh-environment.js';
import type { MeshLink } from '../ports/mesh-link.js';
import { isBadNews, isLeaving } from '../records/order.js';
import { type NodeDescription, Origin } from '../records/own-record.js';
import { RecordStore } from '../records/store.js';
import type { Urgency } from '../records/throttle.js';
import { AnswerBudget } from '../sync/answer-budget.js';
import { AntiEntropy } from '../sync/anti-entropy.js';
import { Exchange } from '../sync/exchange.js';
import { GossipCounters } from './counters.js';
import { Expiry, noteReached, wholeLifeS } from './expiry.js';
import { Flooding } from './flooding.js';
import { GossipPeer } from './peer.js';

export interface GossipOptions {
  /** False, as for a client: it has no records, is told all, and passes none on. */
  readonly announces: boolean;
  /** One more than what was kept of the last run, or 1. */
  readonly firstEpoch: number;
  readonly envDigests: readonly string[];
  readonly maxServicesPerNode: number;
  /** Default 16384. */
  readonly maxNodes?: number;
  /** Services of all nodes together. Default 500000. */
  readonly maxInstances?: number;
  readonly recordQueueBytes?: number;
  /** A node that can be reached is never forgotten. */
  isReachable(nodeId: NodeId): boolean;
}

/** What the gossip tells. It may be called back from there. */
export interface GossipOwner {
  /**
   * A record of another node was taken. When it is of another run than `previous`, what the node offered and whom it was
   * linked to before is void; its shards are to be asked for anew with every record of it.
   */
  onRecord(record: MeshRecord, previous: MeshRecord | undefined): void;
  /** This node has said something about itself. */
  onOwnRecord?(record: MeshRecord): void;
  /** A record was dropped because its node has not been reached for long. */
  onForgotten(record: MeshRecord): void;
  /** All that the peer had to tell when the link came up has been taken in. Told once a link. */
  onSynced?(link: MeshLink): void;
  onWarning(error: Error): void;
  /** The epoch in use; the next run begins with one more, if somebody keeps it. */
  onEpoch(epoch: number): void;
}

const MAX_NODES = 16_384;
const MAX_INSTANCES = 500_000;
/** How often roots are told, a tenth more or less. */
const DIGEST_MS = 5_000;
const DIGEST_SPREAD = 0.2;
/** How long a node waits for what others know of it before it speaks. */
const LISTEN_MS = 2_000;

export class Gossip {
  readonly store = new RecordStore();
  readonly counters = new GossipCounters();

  private readonly peers = new Set<GossipPeer>();
  private readonly byLink = new Map<MeshLink, GossipPeer>();
  private readonly floors = new Floors();
  private readonly refusals = new Refusals();
  private readonly bans = new Bans();
  private readonly warnings: WarnOnce;
  private readonly flooding: Flooding;
  private readonly admission: RecordAdmission;
  private readonly intake: Intake;
  private readonly antiEntropy: AntiEntropy;
  private readonly exchange: Exchange;
  private readonly budget: AnswerBudget;
  private readonly origin: Origin;
  private readonly expiry: Expiry;
  private digestTimer: Timer | undefined;
  private listenTimer: Timer | undefined;
  private hasListened = false;
  private isStopped = false;

  constructor(
    private readonly environment: MeshEnvironment,
    private readonly options: GossipOptions,
    private readonly owner: GossipOwner,
  ) {
    const { timers, identity } = environment;
    const { store, floors, refusals, peers, counters } = this;
    const limits = { maxNodes: MAX_NODES, maxInstances: MAX_INSTANCES, ...options };
    this.warnings = new WarnOnce(timers, (error) => owner.onWarning(error));
    this.flooding = new Flooding(identity.nodeId, timers, store, peers, counters, this, (record) =>
      this.remainingLifeS(record),
    );
    this.admission = new RecordAdmission(identity.nodeId, timers, store, floors, refusals, limits, counters, this);
    const queueBytes = options.recordQueueBytes;
    this.intake = new Intake(environment, store, floors, this.flooding, this.admission, counters, this, queueBytes);
    this.antiEntropy = new AntiEntropy(identity.nodeId, timers, store, this.flooding, peers, this);
    this.budget = new AnswerBudget(timers, store, counters);
    const { flooding, budget } = this;
    this.exchange = new Exchange(
      {
        self: identity.nodeId,
        timers,
        store,
        floors,
        refusals,
        flooding,
        budget,
        counters,
        peers,
        tells: options.announces,
      },
      this.antiEntropy,
    );
    this.antiEntropy.exchange = this.exchange;
    this.origin = new Origin(environment, options, this);
    this.expiry = new Expiry(identity.nodeId, timers, store, floors, this);
  }

  get epoch(): number {
    return this.origin.epoch;
  }

  /** What others are to know about this node. They learn of bad news at once, of good news soon, of costs later. */
  describe(part: Partial<NodeDescription>, urgency: Urgency): void {
    this.origin.describe(part, urgency);
  }

  /** @throws StarlaneError ERR_STARLANE_MESSAGE when name, weight or meta do not fit */
  bind(entry: ServiceEntry): void {
    this.origin.bind(entry);
  }

  unbind(service: string, port: number): void {
    this.origin.unbind(service, port);
  }

  /** A link is up. Not for direct ones, here and below. */
  onLink(link: MeshLink): void {
    if (this.isStopped || this.byLink.has(link)) return;
    const peer = new GossipPeer(link);
    this.byLink.set(link, peer);
    this.peers.add(peer);
    this.digestLater();
    if (this.hasListened) this.origin.hurry();
    if (!this.hasListened) this.listenTimer ??= this.environment.timers.schedule(LISTEN_MS, this.whenListened);
    this.antiEntropy.onLink(peer);
  }

  onUnlink(link: MeshLink): void {
    const peer = this.byLink.get(link);
    if (peer === undefined) return;
    peer.isHere = false;
    this.byLink.delete(link);
    this.peers.delete(peer);
    this.intake.drop(peer);
    this.exchange.onUnlink(peer);
  }

  onMessage(link: MeshLink, message: Message): void {
    const peer = this.byLink.get(link);
    if (peer === undefined || !peer.isHere) return;
    switch (message.type) {
      case MessageType.RECORDS:
        this.intake.take(peer, message.records);
        break;
      case MessageType.DIGEST:
        this.antiEntropy.onDigest(peer, message);
        break;
      case MessageType.BUCKETS:
        this.exchange.onBuckets(peer, message);
        break;
      case MessageType.ENTRIES:
        this.exchange.onEntries(peer, message);
        break;
      case MessageType.WANT:
        this.exchange.onWant(peer, message);
        break;
      case MessageType.SYNCED:
        this.antiEntropy.onSynced(peer);
        break;
      default:
        return;
    }
    this.flooding.settle();
  }

  /** The peer takes messages again. */
  onDrain(link: MeshLink): void {
    const peer = this.byLink.get(link);
    if (peer === undefined) return;
    this.flooding.resume(peer);
    this.exchange.onDrain(peer);
  }

  /** Is there nothing left to tell the peer? */
  isSettled(link: MeshLink): boolean {
    const peer = this.byLink.get(link);
    return peer === undefined || (!peer.hasNews && !peer.sync.isExchanging && peer.sync.hasSaidSynced);
  }

  /** A peer that sent forged records is not to be linked to for a while. */
  isBanned(peerId: NodeId): boolean {
    return this.bans.has(peerId, this.environment.timers.now());
  }

  /** A node can be reached that could not be before. */
  onReached(nodeId: NodeId): void {
    const origin = this.store.origin(nodeId);
    if (origin !== undefined) noteReached(origin);
  }

  /** Tells everybody that this node leaves; nothing is told after that. */
  leave(): void {
    if (this.isStopped) return;
    this.origin.leave();
    this.flooding.flushAll();
  }

  stop(): void {
    if (this.isStopped) return;
    this.isStopped = true;
    for (const timer of [this.digestTimer, this.listenTimer]) {
      if (timer !== undefined) this.environment.timers.cancel(timer);
    }
    for (const part of [this.origin, this.expiry, this.antiEntropy, this.intake, this.admission, this.flooding]) {
      part.stop();
    }
    for (const peer of this.peers) peer.isHere = false;
    this.peers.clear();
    this.byLink.clear();
  }

  // --- what the parts tell ---

  /** @internal */
  onAdmitted(record: MeshRecord, previous: MeshRecord | undefined, from: GossipPeer | undefined): void {
    // A node that only listens has no box to be passed on from.
    if (this.options.announces) this.flooding.spread(record, from, isBadNews(record, previous));
    this.antiEntropy.onChange();
    this.expiry.start();
    this.owner.onRecord(record, previous);
    if (this.isReachable(record.nodeId)) this.onReached(record.nodeId);
  }

  /** @internal */
  onOwnRecord(record: MeshRecord, isUrgent: boolean): void {
    this.counters.originations++;
    this.store.put({ record, remainingLifeS: record.lifeS }, this.environment.timers.now());
    this.flooding.spread(record, undefined, isUrgent);
    this.antiEntropy.onChange();
    this.flooding.settle();
    this.owner.onOwnRecord?.(record);
  }

  /** @internal */
  onRejected(record: MeshRecord, reason: string): void {
    const code: StarlaneErrorCode =
      record.kind === RecordKind.SHARD ? 'ERR_STARLANE_SERVICE_LIMIT' : 'ERR_STARLANE_GOSSIP_FLOOD';
    this.warnings.warn(reason, starlaneError(code, reason));
  }

  /** @internal */
  onEcho(record: MeshRecord): void {
    this.counters.echoes++;
    this.origin.onEcho(record);
  }

  /** @internal */
  onTwin({ nodeId }: MeshRecord): void {
    this.counters.twins++;
    const error = starlaneError('ERR_STARLANE_DUPLICATE_IDENTITY', `two records of ${nodeId} under one number`);
    this.warnings.warn(`twin ${nodeId}`, error);
  }

  /** @internal */
  onLookedAt(peer: GossipPeer): void {
    this.antiEntropy.onLookedAt(peer);
  }

  /** @internal */
  mayCatchUp(peer: GossipPeer, bytes: number): boolean {
    return this.options.announces && this.budget.take(peer, bytes);
  }

  /** @internal */
  onPunish(peer: GossipPeer, error: StarlaneError, isBan: boolean): void {
    if (!peer.isHere) return;
    this.counters.punished++;
    peer.isHere = false;
    peer.outbox.clear();
    peer.yielded.clear();
    this.intake.drop(peer);
    if (isBan) this.bans.add(peer.link.peerId, this.environment.timers.now());
    peer.link.destroy(error);
  }

  /** @internal */
  onTold(peer: GossipPeer): void {
    this.antiEntropy.onTold(peer);
  }

  /** @internal */
  onHeard(): void {
    this.endListening();
  }

  /** @internal */
  onSynced(peer: GossipPeer): void {
    this.owner.onSynced?.(peer.link);
  }

  /** @internal */
  isReachable(nodeId: NodeId): boolean {
    return this.options.isReachable(nodeId);
  }

  /** @internal */
  onExpiring(nodeId: NodeId): void {
    this.admission.onForgotten(nodeId);
  }

  /** @internal */
  onReplaced(nodeId: NodeId): void {
    this.admission.onForgotten(nodeId);
    const records = this.store.remove(nodeId);
    for (const record of records) this.refusals.add(record, this.environment.timers.now());
    this.onExpired(records);
  }

  /** @internal */
  onExpired(records: readonly MeshRecord[]): void {
    this.counters.expired += records.length;
    this.antiEntropy.onChange();
    for (const record of records) this.owner.onForgotten(record);
  }

  /** @internal */
  onEpoch(epoch: number): void {
    this.owner.onEpoch(epoch);
  }

  /** @internal */
  onWarning(error: Error): void {
    this.warnings.warn(error.message, error);
  }

  private remainingLifeS(record: MeshRecord): number {
    if (record.nodeId === this.environment.identity.nodeId) return record.lifeS;
    const { node, leftS = 1 } = this.store.origin(record.nodeId) ?? {};
    if (node !== undefined && !isLeaving(node) && this.isReachable(record.nodeId)) return wholeLifeS(record);
    return Math.max(0, leftS - 1);
  }

  private digestLater(): void {
    if (this.digestTimer !== undefined || this.peers.size === 0) return;
    const delayMs = DIGEST_MS * (1 - DIGEST_SPREAD / 2 + DIGEST_SPREAD * this.environment.random());
    this.digestTimer = this.environment.timers.schedule(delayMs, this.whenDigestIsDue, REST_SLACK_MS);
  }

  private readonly whenDigestIsDue: Timed = {
    onDeadline: () => {
      this.digestTimer = undefined;
      this.antiEntropy.tick();
      this.digestLater();
    },
  };

  private readonly whenListened: Timed = { onDeadline: () => this.endListening() };

  /** What others know of this node has come, or should have: it may speak. */
  private endListening(): void {
    if (this.hasListened) return;
    this.hasListened = true;
    if (this.listenTimer !== undefined) this.environment.timers.cancel(this.listenTimer);
    this.listenTimer = undefined;
    this.origin.begin();
    // Only now: who hears SYNCED knows the services of this node.
    this.antiEntropy.endListening();
  }
}
