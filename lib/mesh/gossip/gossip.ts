// The gossip of one node: what it publishes about itself reaches every other node, and what they publish reaches it.
//
//   neighbour -> intake -> admission -> record store -> flooding -> other neighbours
//                                           |  ^
//                   own records, expiry, anti-entropy with exchange
//
// This class only connects the parts; each decides one thing and knows little of the others.

import type { NodeId } from '../../address.js';
import { type StarlaneError, type StarlaneErrorCode, starlaneError } from '../../errors.js';
import { Deadline } from '../../util/deadline.js';
import { REST_SLACK_MS, type Timers } from '../../util/timers.js';
import { WarnOnce } from '../../util/warnings.js';
import { type Message, MessageType } from '../../wire/messages.js';
import { type MeshRecord, RecordKind } from '../../wire/records.js';
import { AwaitedRecords } from '../admission/awaited.js';
import { Intake, type IntakeOwner } from '../admission/intake.js';
import { RecordAdmission } from '../admission/record-admission.js';
import { Bans, RejectedVersions } from '../admission/rejected.js';
import { Tombstones } from '../admission/tombstones.js';
import { Rights } from '../members/rights.js';
import type { MeshEnvironment, MeshLink } from '../ports.js';
import { isLeaving, isUrgentChange } from '../records/order.js';
import { OwnRecords } from '../records/own-records.js';
import { RecordStore } from '../records/store.js';
import { AntiEntropy } from '../sync/anti-entropy.js';
import { AnswerBudget } from '../sync/exchange.js';
import { Expiry, noteReached, wholeLifeS } from './expiry.js';
import { Flooding } from './flooding.js';
import { GossipPeer } from './peer.js';

export interface GossipOptions {
  /** False for a client: it publishes no records, receives all, and passes none on. */
  readonly announces: boolean;
  /** One more than the epoch kept from the last run, or 1. */
  readonly firstEpoch: number;
  readonly envDigests: readonly string[];
  readonly maxServicesPerNode: number;
  /** Default 16384. */
  readonly maxNodes?: number;
  /** Services of all nodes together. Default 500000. */
  readonly maxInstances?: number;
  readonly recordQueueBytes?: number;
  /** Who is a member. Default: every node. */
  readonly rights?: Rights;
  /** The statements that travel over the same links. Default: none do. */
  readonly statements?: StatementTraffic;
  /** A reachable node is never forgotten. */
  isReachable(nodeId: NodeId): boolean;
}

/** Statements about members, which go ahead of records on each link. */
export interface StatementTraffic {
  /** Whether statements have to be sent over a link first. */
  goesAhead(link: MeshLink): boolean;
  /** Whether statements that came over a link wait for their check. */
  isChecking(link: MeshLink): boolean;
  /** Whether the peer of a link must know its own newest certificate. */
  isInformed(link: MeshLink): boolean;
}

/** What the gossip calls. Each function may call back. */
export interface GossipOwner {
  /**
   * Called when a record of another node has been stored. When it belongs to another run than `previous`, the services and
   * links of the node from before are void, and its shards must be read again.
   */
  onRecord(record: MeshRecord, previous: MeshRecord | undefined): void;
  /** Called when this node has published a record about itself. */
  onOwnRecord?(record: MeshRecord): void;
  /** Called when a record was dropped because its node has been unreachable for long. */
  onForgotten(record: MeshRecord): void;
  /** Called once for each link, when all that the peer had at link up has been processed. */
  onSynced?(link: MeshLink): void;
  /** Called with the epoch in use. The next run begins with one more, if the epoch is kept. */
  onEpoch(epoch: number): void;
}

/** What the parts of the gossip share. */
export interface GossipContext {
  readonly environment: MeshEnvironment;
  readonly self: NodeId;
  readonly timers: Timers;
  readonly store: RecordStore;
  readonly peers: ReadonlySet<GossipPeer>;
  readonly counters: GossipCounters;
  readonly tombstones: Tombstones;
  readonly rejected: RejectedVersions;
  readonly budget: AnswerBudget;
  readonly rights: Rights;
  readonly awaited: AwaitedRecords;
  readonly statements: StatementTraffic;
  /** False for a client: it sends no records. */
  readonly announces: boolean;
  isReachable(nodeId: NodeId): boolean;
}

const MAX_NODES = 16_384;
const MAX_INSTANCES = 500_000;
/** How often roots are sent, a tenth more or less. */
const DIGEST_MS = 5_000;
const DIGEST_SPREAD = 0.2;
const NO_STATEMENTS: StatementTraffic = {
  goesAhead: () => false,
  isChecking: () => false,
  isInformed: () => false,
};

/** How long a node waits for what others know of it before it publishes its own records. */
const LISTEN_MS = 2_000;

export class Gossip {
  readonly store = new RecordStore();
  readonly counters = new GossipCounters();
  readonly own: OwnRecords;

  private readonly peers = new Set<GossipPeer>();
  private readonly byLink = new Map<MeshLink, GossipPeer>();
  private readonly tombstones = new Tombstones();
  private readonly rejected = new RejectedVersions();
  private readonly bans = new Bans();
  private readonly awaited = new AwaitedRecords();
  private readonly rights: Rights;
  private readonly warnings: WarnOnce;
  private readonly flooding: Flooding;
  private readonly admission: RecordAdmission;
  private readonly intake: Intake;
  private readonly antiEntropy: AntiEntropy;
  private readonly expiry: Expiry;
  private readonly nextDigest: Deadline;
  private readonly listening: Deadline;
  private hasListened = false;
  private isClosed = false;

  constructor(
    private readonly environment: MeshEnvironment,
    private readonly options: GossipOptions,
    private readonly owner: GossipOwner,
  ) {
    const { timers, identity } = environment;
    const { store, tombstones, rejected, peers, counters } = this;
    const { announces, recordQueueBytes, rights = new Rights(undefined), statements = NO_STATEMENTS } = options;
    this.rights = rights;
    this.nextDigest = new Deadline(timers, () => {
      this.antiEntropy.tick();
      this.digestLater();
    });
    this.listening = new Deadline(timers, () => this.endListening());
    const context: GossipContext = {
      environment,
      self: identity.nodeId,
      timers,
      store,
      peers,
      counters,
      tombstones,
      rejected,
      budget: new AnswerBudget(timers, store, counters),
      rights,
      awaited: this.awaited,
      statements,
      announces,
      isReachable: (nodeId) => options.isReachable(nodeId),
    };
    this.warnings = new WarnOnce(timers, (error) => environment.warn(error));
    this.flooding = new Flooding(context, {
      onOutboxEmpty: (peer) => this.antiEntropy.onOutboxEmpty(peer),
      remainingLifeS: (record) => this.remainingLifeS(record),
    });
    const limits = { maxNodes: MAX_NODES, maxInstances: MAX_INSTANCES, ...options };
    this.admission = new RecordAdmission(context, limits, {
      onAdmitted: (record, previous, from) => this.onAdmitted(record, previous, from),
      onRejected: (record, reason) => this.onRejected(record, reason),
      onReplaced: (nodeId) => this.onReplaced(nodeId),
    });
    const intakeOwner: IntakeOwner = {
      onOwnRecordConflict: (record) => {
        counters.echoes++;
        this.own.onConflict(record);
      },
      onVersionConflict: (record) => this.onVersionConflict(record),
      onProcessed: (peer) => this.antiEntropy.onProcessed(peer),
      onPunish: (peer, error, isBan) => this.punish(peer, error, isBan),
    };
    this.intake = new Intake(context, this.flooding, this.admission, intakeOwner, recordQueueBytes);
    this.antiEntropy = new AntiEntropy(context, this.flooding, {
      onOwnRecordsReceived: () => this.endListening(),
      onSynced: (peer) => owner.onSynced?.(peer.link),
    });
    this.own = new OwnRecords(environment, options, {
      onOwnRecord: (record, isUrgent) => this.onOwnRecord(record, isUrgent),
      onEpoch: (epoch) => owner.onEpoch(epoch),
      warn: (error) => this.warnings.warn(error.message, error),
    });
    this.expiry = new Expiry(context, {
      onExpiring: (nodeId) => this.admission.onForgotten(nodeId),
      onExpired: (records) => this.onExpired(records),
    });
  }

  /** Called when a link is up. Direct links take no part in the gossip, here and below. */
  onLink(link: MeshLink): void {
    if (this.isClosed || this.byLink.has(link)) return;
    const peer = new GossipPeer(link);
    this.byLink.set(link, peer);
    this.peers.add(peer);
    this.digestLater();
    if (this.hasListened) this.own.hurry();
    if (!this.hasListened && !this.listening.isSet) this.listening.set(LISTEN_MS);
    this.antiEntropy.onLink(peer);
  }

  onUnlink(link: MeshLink): void {
    const peer = this.byLink.get(link);
    if (peer === undefined) return;
    peer.isActive = false;
    this.byLink.delete(link);
    this.peers.delete(peer);
    this.intake.drop(peer);
    this.antiEntropy.exchange.onUnlink(peer);
  }

  onMessage(link: MeshLink, message: Message): void {
    const peer = this.byLink.get(link);
    if (peer === undefined || !peer.isActive) return;
    const { antiEntropy } = this;
    switch (message.type) {
      case MessageType.RECORDS:
        this.intake.take(peer, message.records);
        break;
      case MessageType.DIGEST:
        antiEntropy.onDigest(peer, message);
        break;
      case MessageType.BUCKETS:
        antiEntropy.exchange.onBuckets(peer, message);
        break;
      case MessageType.ENTRIES:
        antiEntropy.exchange.onEntries(peer, message);
        break;
      case MessageType.WANT:
        antiEntropy.exchange.onWant(peer, message);
        break;
      case MessageType.SYNCED:
        antiEntropy.onSynced(peer);
        break;
      default:
        return;
    }
    this.flooding.settle();
  }

  /** Called when the peer accepts messages again. */
  onUnblocked(link: MeshLink): void {
    const peer = this.byLink.get(link);
    if (peer === undefined) return;
    this.flooding.resume(peer);
    this.antiEntropy.exchange.onUnblocked(peer);
  }

  /** Called when no statement about members waits on a link any more, in one of the two directions. */
  onStatementsSettled(link: MeshLink): void {
    const peer = this.byLink.get(link);
    if (peer === undefined || !peer.isActive) return;
    this.flooding.resume(peer);
    this.antiEntropy.onOutboxEmpty(peer);
    this.intake.resume();
    this.antiEntropy.onProcessed(peer);
  }

  /** Called when a node has become a member: its records may have come before. */
  onMember(nodeId: NodeId): void {
    for (const copy of this.awaited.take(nodeId)) {
      // Another key may have the same node id.
      if (this.rights.hasMade(copy.record)) this.admission.admit(copy, undefined);
    }
    this.flooding.settle();
  }

  /** Called when a node is no member any more: nothing of it stays. */
  onBarred(nodeId: NodeId): void {
    if (nodeId === this.environment.identity.nodeId) return;
    this.awaited.take(nodeId);
    this.expiry.expireNow(nodeId);
  }

  /** Refuses links to a peer for a while. */
  ban(peerId: NodeId): void {
    this.bans.add(peerId, this.environment.timers.now());
  }

  /** @internal For specs and the simulation: whether nothing is left to send to the peer. */
  isSettled(link: MeshLink): boolean {
    const peer = this.byLink.get(link);
    return peer === undefined || (!peer.hasPending && !peer.sync.isExchanging && peer.sync.hasSentSynced);
  }

  /** Whether links to a peer are refused for a while, because it sent forged records. */
  isBanned(peerId: NodeId): boolean {
    return this.bans.has(peerId, this.environment.timers.now());
  }

  /** Called when a node has become reachable. */
  onReached(nodeId: NodeId): void {
    const entry = this.store.entry(nodeId);
    if (entry !== undefined) noteReached(entry);
  }

  /** Publishes that this node leaves, and nothing after that. */
  leave(): void {
    if (this.isClosed) return;
    this.own.leave();
    this.flooding.flushAll();
  }

  dispose(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.nextDigest.clear();
    this.listening.clear();
    for (const part of [this.own, this.expiry, this.antiEntropy, this.intake, this.admission, this.flooding]) {
      part.dispose();
    }
    for (const peer of this.peers) peer.isActive = false;
    this.peers.clear();
    this.byLink.clear();
  }

  // --- what the parts report ---

  private onAdmitted(record: MeshRecord, previous: MeshRecord | undefined, from: GossipPeer | undefined): void {
    // A client passes nothing on.
    if (this.options.announces) this.flooding.spread(record, from, isUrgentChange(record, previous));
    this.antiEntropy.onChange();
    this.expiry.start();
    this.owner.onRecord(record, previous);
    if (this.options.isReachable(record.nodeId)) this.onReached(record.nodeId);
  }

  private onOwnRecord(record: MeshRecord, isUrgent: boolean): void {
    this.counters.originations++;
    this.store.put({ record, remainingLifeS: record.lifeS }, this.environment.timers.now());
    this.flooding.spread(record, undefined, isUrgent);
    this.antiEntropy.onChange();
    this.flooding.settle();
    this.owner.onOwnRecord?.(record);
  }

  private onRejected(record: MeshRecord, reason: string): void {
    const code: StarlaneErrorCode =
      record.kind === RecordKind.SHARD ? 'ERR_STARLANE_SERVICE_LIMIT' : 'ERR_STARLANE_GOSSIP_FLOOD';
    this.warnings.warn(reason, starlaneError(code, reason));
  }

  private onVersionConflict({ nodeId }: MeshRecord): void {
    this.counters.twins++;
    const error = starlaneError('ERR_STARLANE_DUPLICATE_IDENTITY', `two records of ${nodeId} under one number`);
    this.warnings.warn(`twin ${nodeId}`, error);
  }

  private punish(peer: GossipPeer, error: StarlaneError, isBan: boolean): void {
    if (!peer.isActive) return;
    this.counters.punished++;
    peer.isActive = false;
    peer.outbox.clear();
    peer.suppressed.clear();
    this.intake.drop(peer);
    if (isBan) this.ban(peer.link.peerId);
    peer.link.destroy(error);
  }

  /** An unreachable node makes room for a new one. */
  private onReplaced(nodeId: NodeId): void {
    this.admission.onForgotten(nodeId);
    const records = this.store.remove(nodeId);
    for (const record of records) this.rejected.add(record, this.environment.timers.now());
    this.onExpired(records);
  }

  private onExpired(records: readonly MeshRecord[]): void {
    if (records.length === 0) return;
    this.counters.expired += records.length;
    this.antiEntropy.onChange();
    for (const record of records) this.owner.onForgotten(record);
  }

  /** Returns how long others may keep a record, in s. */
  private remainingLifeS(record: MeshRecord): number {
    if (record.nodeId === this.environment.identity.nodeId) return record.lifeS;
    const { node, leftS = 1 } = this.store.entry(record.nodeId) ?? {};
    if (node !== undefined && !isLeaving(node) && this.options.isReachable(record.nodeId)) return wholeLifeS(record);
    return Math.max(0, leftS - 1);
  }

  private digestLater(): void {
    if (this.nextDigest.isSet || this.peers.size === 0) return;
    const delayMs = DIGEST_MS * (1 - DIGEST_SPREAD / 2 + DIGEST_SPREAD * this.environment.random());
    this.nextDigest.set(delayMs, REST_SLACK_MS);
  }

  /** What others know of this node has arrived, or should have: it may publish. */
  private endListening(): void {
    if (this.hasListened) return;
    this.hasListened = true;
    this.listening.clear();
    this.own.begin();
    // Only now: a peer that receives SYNCED has the services of this node.
    this.antiEntropy.endListening();
  }
}

/** What the gossip counts; part of `node.stats()`. */
export class GossipCounters {
  recordsIn = 0;
  recordsOut = 0;
  /** Of records alone, without digests and entries. */
  bytesIn = 0;
  bytesOut = 0;
  /** Copies of known records. */
  duplicates = 0;
  /** Copies of records that are replaced or obsolete. */
  outdated = 0;
  /** Signatures that were checked. */
  verified = 0;
  /** Signatures that were wrong. */
  invalid = 0;
  /** Records that were stored. */
  accepted = 0;
  /** Records that arrived too fast for their origin and had to wait. */
  parked = 0;
  /** Records that were refused because of a limit of size or number. */
  rejected = 0;
  /** Conflicting versions: two records with the same number. */
  twins = 0;
  /** Exchanges that this node began. */
  syncs = 0;
  /** Requests of peers that were not answered because they ask for too much. */
  unanswered = 0;
  /** Records that this node has published. */
  originations = 0;
  /** Records under the id of this node that it has not made. */
  echoes = 0;
  /** Records of nodes that are no members, or not yet. */
  strangers = 0;
  /** Records that were forgotten because their node is gone. */
  expired = 0;
  /** Links that were closed for what arrived over them. */
  punished = 0;
}
