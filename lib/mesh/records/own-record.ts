// What this node says about itself: its record and its shards, when they are made anew, and how it stays the newest of
// its own name. It speaks only when it has heard what others know of it, from an earlier run perhaps.

import type { NodeId } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { Timed, Timer } from '../../util/timers.js';
import {
  encodeNodeRecord,
  encodeShardRecord,
  MAX_RECORD_ADDRESSES,
  MAX_RECORD_LINKS,
  type MeshRecord,
  NodeFlag,
  RecordKind,
  type RecordLink,
  type ServiceEntry,
} from '../../wire/records.js';
import { LEAVING_LIFE_S } from '../gossip/expiry.js';
import type { MeshEnvironment } from '../ports/mesh-environment.js';
import { IdentityDispute } from './identity-conflict.js';
import { OwnShards } from './own-shards.js';
import { NodeThrottle, type Urgency } from './throttle.js';

const LIFE_S = 3_600;
/** The record is made anew after an hour, a quarter more or less. */
const REFRESH_MS = 3_600_000;
const REFRESH_SPREAD = 0.5;
const MAX_UINT32 = 0xffff_ffff;
/** Some milliseconds of sorting, hashing and Ed25519; the rest follows in the next turn. */
const SHARDS_PER_TURN = 32;

export interface OriginOptions {
  /** False: it says nothing about itself. */
  readonly announces: boolean;
  readonly firstEpoch: number;
  readonly envDigests: readonly string[];
  readonly maxServicesPerNode: number;
}

export interface OriginOwner {
  /** A new version of an own record. */
  onOwnRecord(record: MeshRecord, isUrgent: boolean): void;
  onEpoch(epoch: number): void;
  onWarning(error: Error): void;
}

/** What is said about the node, apart from its services. */
export interface NodeDescription {
  readonly flags: number;
  readonly addresses: readonly string[];
  readonly links: readonly RecordLink[];
}

const FIRST_SEQS = 0x10_0000;

const MAX_EARLIER_RUNS = 8;

const NOTHING: NodeDescription = { flags: 0, addresses: [], links: [] };

export class Origin implements Timed {
  epoch: number;
  private seq = 0;
  private wanted = NOTHING;
  private told: NodeDescription | undefined;
  private isSpeaking = false;
  private isTurnDue = false;
  private hasLeft = false;
  private readonly throttle = new NodeThrottle();
  private readonly shards: OwnShards;
  /** Runs of this node that others knew of before it spoke. */
  private readonly earlierRuns = new Set<string>();
  private readonly dispute = new IdentityDispute();
  /** Until when nothing is said because another one says it is this node; 0: nobody does. */
  private silentUntilMs = 0;
  private refreshMs = Number.POSITIVE_INFINITY;
  private timer: Timer | undefined;
  private timerMs = Number.POSITIVE_INFINITY;
  private readonly sign = (bytes: Uint8Array): Uint8Array => this.environment.identity.sign(bytes);

  constructor(
    private readonly environment: MeshEnvironment,
    private readonly options: OriginOptions,
    private readonly owner: OriginOwner,
  ) {
    this.epoch = options.firstEpoch;
    this.seq = this.firstSeq();
    this.shards = new OwnShards(options.maxServicesPerNode, (error) => owner.onWarning(error));
  }

  describe(part: Partial<NodeDescription>, urgency: Urgency): void {
    this.wanted = { ...this.wanted, ...part };
    if (part.links !== undefined) this.wanted = { ...this.wanted, links: fittingLinks(part.links) };
    if (part.addresses !== undefined) this.wanted = { ...this.wanted, addresses: fittingAddresses(part.addresses) };
    if (!this.options.announces) return;
    this.throttle.want(urgency, this.now());
    this.work();
  }

  /** @throws StarlaneError ERR_STARLANE_MESSAGE when it fits no record */
  bind(entry: ServiceEntry): void {
    if (!this.options.announces) return;
    this.shards.bind(entry, this.now());
    this.workLater();
  }

  unbind(service: string, port: number): void {
    if (!this.options.announces) return;
    this.shards.unbind(service, port, this.now());
    this.workLater();
  }

  /** It has heard what there is to hear, and speaks from now on. */
  begin(): void {
    if (this.isSpeaking || this.hasLeft || !this.options.announces) return;
    this.isSpeaking = true;
    this.owner.onEpoch(this.epoch);
    this.throttle.want('bad', this.now());
    this.hurry();
  }

  /** Tells now what would wait for company: somebody is about to learn what there is. */
  hurry(): void {
    this.shards.hurry(this.now());
    this.work(Number.POSITIVE_INFINITY);
  }

  /** A record of this node that it has not made, or not in this run, and that others take for newer than its own. */
  onEcho(record: MeshRecord): void {
    if (this.hasLeft || record.epoch < this.epoch) return;
    if (record.epoch === MAX_UINT32) {
      this.warn(record.nodeId, 'it has used up the epochs');
      return;
    }
    this.epoch = record.epoch + 1;
    this.seq = this.firstSeq();
    if (!this.isSpeaking) {
      // One earlier run as a rule; more only where nobody has heard of the last ones yet.
      if (this.earlierRuns.size < MAX_EARLIER_RUNS) this.earlierRuns.add(record.bootId);
      return;
    }
    // It goes beyond what this run has said since, so it is not over.
    if (this.earlierRuns.delete(record.bootId)) this.warn(record.nodeId, `an older process has it, ${placeOf(record)}`);
    this.owner.onEpoch(this.epoch);
    const now = this.now();
    const wasDisputed = this.dispute.isOn;
    const delayMs = this.dispute.onEcho(now);
    if (this.dispute.isOn && !wasDisputed) this.warn(record.nodeId, 'it answers every record of this one');
    this.silentUntilMs = delayMs === 0 ? 0 : now + delayMs;
    this.told = undefined;
    this.throttle.want('bad', now);
    this.shards.renew(now);
    this.work();
  }

  /** The last record. Nothing is said after it. */
  leave(): void {
    if (this.hasLeft) return;
    const { flags } = this.wanted;
    this.wanted = { flags: flags | NodeFlag.LEAVING, addresses: [], links: [] };
    if (this.isSpeaking) this.tellNode(this.now(), LEAVING_LIFE_S);
    this.hasLeft = true;
    this.stop();
  }

  stop(): void {
    this.hasLeft = true;
    if (this.timer !== undefined) this.environment.timers.cancel(this.timer);
    this.timer = undefined;
  }

  onDeadline(): void {
    this.timer = undefined;
    this.timerMs = Number.POSITIVE_INFINITY;
    this.work();
  }

  /** Tells what is due, and comes back when more is. */
  private work(maxShards = SHARDS_PER_TURN): void {
    if (!this.isSpeaking || this.hasLeft) return;
    let shardsLeft = maxShards;
    const now = this.now();
    if (now >= this.silentUntilMs) {
      if (now >= this.refreshMs) this.told = undefined;
      if (this.throttle.dueAt(now) <= now || now >= this.refreshMs) this.tellNodeIfChanged(now);
      // Whoever is told may call back.
      if (this.hasLeft) return;
      for (let content = this.shards.next(now); content !== undefined; content = this.shards.next(now)) {
        const record = encodeShardRecord({ ...this.header(LIFE_S), ...content }, this.sign);
        this.owner.onOwnRecord(record, false);
        if (this.hasLeft || now < this.silentUntilMs) return;
        if (--shardsLeft > 0) continue;
        this.workNextTurn();
        return;
      }
    }
    this.workLater();
  }

  /** Comes back when something is due, never at once: a loop that binds thousands is to be over before they are told. */
  private workLater(): void {
    if (!this.isSpeaking || this.hasLeft) return;
    const now = this.now();
    this.workAt(
      Math.max(this.silentUntilMs, Math.min(this.throttle.dueAt(now), this.shards.dueAt(now), this.refreshMs)),
    );
  }

  private workNextTurn(): void {
    if (this.isTurnDue) return;
    this.isTurnDue = true;
    this.environment.timers.clock.setImmediate(() => {
      this.isTurnDue = false;
      this.work();
    });
  }

  private tellNodeIfChanged(now: number): void {
    if (this.told !== undefined && isSameDescription(this.told, this.wanted)) this.throttle.forget();
    else this.tellNode(now, LIFE_S);
  }

  private tellNode(now: number, lifeS: number): void {
    const { environment } = this;
    const isUrgent = this.told === undefined || lifeS !== LIFE_S || losesLink(this.told, this.wanted);
    this.told = this.wanted;
    this.throttle.told(now);
    this.refreshMs = now + REFRESH_MS * (1 - REFRESH_SPREAD / 2 + REFRESH_SPREAD * environment.random());
    const record = encodeNodeRecord(
      { ...this.header(lifeS), ...this.wanted, envDigests: this.options.envDigests },
      this.sign,
    );
    this.owner.onOwnRecord(record, isUrgent);
  }

  private header(lifeS: number): { publicKey: Uint8Array; bootId: string; epoch: number; seq: number; lifeS: number } {
    const { publicKey, bootId } = this.environment.identity;
    if (this.seq === MAX_UINT32) {
      this.epoch++;
      this.seq = 0;
      this.owner.onEpoch(this.epoch);
    }
    return { publicKey, bootId, epoch: this.epoch, seq: ++this.seq, lifeS };
  }

  /**
   * Runs that know nothing of each other may come to the same epoch; by chance they count from different numbers, or there
   * would be two records under one.
   */
  private firstSeq(): number {
    return Math.floor(this.environment.random() * FIRST_SEQS);
  }

  private workAt(dueMs: number): void {
    if (dueMs === Number.POSITIVE_INFINITY || (this.timer !== undefined && this.timerMs <= dueMs)) return;
    const { timers } = this.environment;
    if (this.timer !== undefined) timers.cancel(this.timer);
    this.timerMs = dueMs;
    this.timer = timers.schedule(dueMs - this.now(), this);
  }

  private warn(nodeId: NodeId, what: string): void {
    this.owner.onWarning(starlaneError('ERR_STARLANE_DUPLICATE_IDENTITY', `${nodeId}: ${what}`));
  }

  private now(): number {
    return this.environment.timers.now();
  }
}

/** Where the node of a record is, as far as that says. */
function placeOf(record: MeshRecord): string {
  if (record.kind !== RecordKind.NODE) return 'somewhere';
  const [address] = record.addresses;
  if (address !== undefined) return `at ${address}`;
  const [link] = record.links;
  return link === undefined ? 'somewhere' : `linked to ${link.peerId}`;
}

/** As many as fit a record, the first ones, each peer once. Their order means nothing, so that it is no change either. */
function fittingLinks(links: readonly RecordLink[]): readonly RecordLink[] {
  const byPeer = new Map<NodeId, RecordLink>();
  for (const link of links) {
    if (byPeer.size < MAX_RECORD_LINKS && !byPeer.has(link.peerId)) byPeer.set(link.peerId, link);
  }
  return [...byPeer.values()].sort(byPeerId);
}

function fittingAddresses(addresses: readonly string[]): readonly string[] {
  return [...new Set(addresses)].slice(0, MAX_RECORD_ADDRESSES);
}

function byPeerId(a: RecordLink, b: RecordLink): number {
  return a.peerId < b.peerId ? -1 : Number(a.peerId > b.peerId);
}

function isSameDescription(a: NodeDescription, b: NodeDescription): boolean {
  return (
    a.flags === b.flags &&
    a.addresses.length === b.addresses.length &&
    a.addresses.every((address, index) => address === b.addresses[index]) &&
    a.links.length === b.links.length &&
    a.links.every(({ peerId, cost }, index) => peerId === b.links[index].peerId && cost === b.links[index].cost)
  );
}

function losesLink(before: NodeDescription, after: NodeDescription): boolean {
  const left = new Set(after.links.map(({ peerId }) => peerId));
  return before.links.some(({ peerId }) => !left.has(peerId));
}
