// The records that this node publishes about itself: its node record and its service shards, when they are renewed, and
// how they stay newer than any other record under its id. Nothing is published before the node has received what others
// still know of it from an earlier run.

import type { NodeId } from '../../address.js';
import { starlaneError } from '../../errors.js';
import { Deadline } from '../../util/deadline.js';
import { NextTurn } from '../../util/next-turn.js';
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
import type { MeshEnvironment } from '../ports.js';
import { startsToDrain } from './order.js';
import { OwnShards } from './own-shards.js';
import { NodeThrottle, type Urgency } from './throttle.js';

const LIFE_S = 3_600;
/** The record is renewed after an hour, a quarter more or less. */
const REFRESH_MS = 3_600_000;
const REFRESH_SPREAD = 0.5;
const MAX_UINT32 = 0xffff_ffff;
/** A few milliseconds of sorting, hashing and Ed25519; the rest follows in the next turn. */
const SHARDS_PER_TURN = 32;

interface OwnRecordsOptions {
  /** False for a client: it publishes nothing. */
  readonly announces: boolean;
  readonly firstEpoch: number;
  readonly envDigests: readonly string[];
  readonly maxServicesPerNode: number;
}

interface OwnRecordsOwner {
  /** Called with a new version of a record of this node. */
  onOwnRecord(record: MeshRecord, isUrgent: boolean): void;
  onEpoch(epoch: number): void;
  warn(error: Error): void;
}

/** What the node record says, apart from the envs. */
interface NodeDescription {
  readonly flags: number;
  readonly addresses: readonly string[];
  readonly links: readonly RecordLink[];
}

const FIRST_SEQS = 0x10_0000;

const MAX_EARLIER_RUNS = 8;

const NOTHING: NodeDescription = { flags: 0, addresses: [], links: [] };

export class OwnRecords {
  epoch: number;
  private seq = 0;
  private wanted = NOTHING;
  /** Undefined until there is a record, or when it is to be published again. */
  private published: NodeDescription | undefined;
  private isSpeaking = false;
  private readonly nextTurn: NextTurn;
  private hasLeft = false;
  private readonly throttle = new NodeThrottle();
  private readonly shards: OwnShards;
  /** Runs of this node that others knew of before it published anything. */
  private readonly earlierRuns = new Set<string>();
  private readonly conflict = new IdentityConflict();
  /** Until when nothing is published because another process uses the same identity; 0 when none does. */
  private silentUntilMs = 0;
  private refreshMs = Number.POSITIVE_INFINITY;
  private readonly deadline: Deadline;
  private deadlineMs = Number.POSITIVE_INFINITY;
  private readonly sign = (bytes: Uint8Array): Uint8Array => this.environment.identity.sign(bytes);

  constructor(
    private readonly environment: MeshEnvironment,
    private readonly options: OwnRecordsOptions,
    private readonly owner: OwnRecordsOwner,
  ) {
    this.deadline = new Deadline(environment.timers, () => this.onDue());
    this.nextTurn = new NextTurn(environment.timers.clock, () => this.work());
    this.epoch = options.firstEpoch;
    this.seq = this.firstSeq();
    this.shards = new OwnShards(options.maxServicesPerNode, (error) => owner.warn(error));
  }

  /** Changes a part of the node record. */
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

  /** Starts publishing: what others know of this node has arrived, or should have. */
  begin(): void {
    if (this.isSpeaking || this.hasLeft || !this.options.announces) return;
    this.isSpeaking = true;
    this.owner.onEpoch(this.epoch);
    this.throttle.want('now', this.now());
    this.hurry();
  }

  /** Publishes at once what would wait for further changes: a new neighbour is about to compare records. */
  hurry(): void {
    this.shards.hurry(this.now());
    this.work(Number.POSITIVE_INFINITY);
  }

  /** Called with a record under this id that this run has not made, and that others take for newer than its own. */
  onConflict(record: MeshRecord): void {
    if (this.hasLeft || record.epoch < this.epoch) return;
    if (record.epoch === MAX_UINT32) {
      this.warn(record.nodeId, 'it has used up the epochs');
      return;
    }
    this.epoch = record.epoch + 1;
    this.seq = this.firstSeq();
    if (!this.isSpeaking) {
      // One earlier run as a rule; more only where the latest ones have not spread yet.
      if (this.earlierRuns.size < MAX_EARLIER_RUNS) this.earlierRuns.add(record.bootId);
      return;
    }
    // It is newer than what this run has published since, so the other process is still running.
    if (this.earlierRuns.delete(record.bootId)) this.warn(record.nodeId, `an older process has it, ${placeOf(record)}`);
    this.owner.onEpoch(this.epoch);
    const now = this.now();
    const wasActive = this.conflict.isActive;
    const delayMs = this.conflict.onConflict(now);
    if (this.conflict.isActive && !wasActive) this.warn(record.nodeId, 'it answers every record of this one');
    this.silentUntilMs = delayMs === 0 ? 0 : now + delayMs;
    this.published = undefined;
    this.throttle.want('now', now);
    this.shards.renew(now);
    this.work();
  }

  /** Publishes the last record of this run. */
  leave(): void {
    if (this.hasLeft) return;
    const { flags } = this.wanted;
    this.wanted = { flags: flags | NodeFlag.LEAVING, addresses: [], links: [] };
    if (this.isSpeaking) this.publishNode(this.now(), LEAVING_LIFE_S);
    this.dispose();
  }

  dispose(): void {
    this.hasLeft = true;
    this.deadline.clear();
  }

  private onDue(): void {
    this.deadlineMs = Number.POSITIVE_INFINITY;
    this.work();
  }

  /** Publishes what is due, and schedules what is not. */
  private work(maxShards = SHARDS_PER_TURN): void {
    if (!this.isSpeaking || this.hasLeft) return;
    let shardsLeft = maxShards;
    const now = this.now();
    if (now >= this.silentUntilMs) {
      if (now >= this.refreshMs) this.published = undefined;
      if (this.throttle.dueAt(now) <= now || now >= this.refreshMs) this.publishNodeIfChanged(now);
      // The owner may call back.
      if (this.hasLeft) return;
      for (let content = this.shards.next(now); content !== undefined; content = this.shards.next(now)) {
        const record = encodeShardRecord({ ...this.header(LIFE_S), ...content }, this.sign);
        this.owner.onOwnRecord(record, false);
        if (this.hasLeft || now < this.silentUntilMs) return;
        if (--shardsLeft > 0) continue;
        this.nextTurn.request();
        return;
      }
    }
    this.workLater();
  }

  /** Schedules the next publication, never at once: a loop that binds thousands of services ends first. */
  private workLater(): void {
    if (!this.isSpeaking || this.hasLeft) return;
    const now = this.now();
    this.workAt(
      Math.max(this.silentUntilMs, Math.min(this.throttle.dueAt(now), this.shards.dueAt(now), this.refreshMs)),
    );
  }

  private publishNodeIfChanged(now: number): void {
    if (this.published !== undefined && isSameDescription(this.published, this.wanted)) this.throttle.cancel();
    else this.publishNode(now, LIFE_S);
  }

  private publishNode(now: number, lifeS: number): void {
    const { environment } = this;
    const { published, wanted } = this;
    const isUrgent =
      published === undefined || lifeS !== LIFE_S || startsToDrain(wanted, published) || losesLink(published, wanted);
    this.published = this.wanted;
    this.throttle.onPublished(now);
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
   * Returns a random number to start from. Runs that know nothing of each other may use the same epoch; starting from
   * different numbers keeps their versions apart.
   */
  private firstSeq(): number {
    return Math.floor(this.environment.random() * FIRST_SEQS);
  }

  private workAt(dueMs: number): void {
    if (dueMs === Number.POSITIVE_INFINITY || (this.deadline.isSet && this.deadlineMs <= dueMs)) return;
    this.deadlineMs = dueMs;
    this.deadline.set(dueMs - this.now());
  }

  private warn(nodeId: NodeId, what: string): void {
    this.owner.warn(starlaneError('ERR_STARLANE_DUPLICATE_IDENTITY', `${nodeId}: ${what}`));
  }

  private now(): number {
    return this.environment.timers.now();
  }
}

/** Describes where the node of a record is, as far as the record says. */
function placeOf(record: MeshRecord): string {
  if (record.kind !== RecordKind.NODE) return 'somewhere';
  const [address] = record.addresses;
  if (address !== undefined) return `at ${address}`;
  const [link] = record.links;
  return link === undefined ? 'somewhere' : `linked to ${link.peerId}`;
}

/** Returns the first links that fit a record, one for each peer, sorted: their order carries no meaning and must not count as a change. */
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

const WINDOW_MS = 60_000;
const MAX_STEPS = 3;
const MIN_DELAY_MS = 1_000;
const MAX_DELAY_MS = 60_000;
const CALM_MS = 5 * 60_000;

/**
 * How fast to react when a newer record of this node comes from elsewhere. After a restart it is left over from the last
 * run, and one higher epoch settles the matter. When it happens again and again, another process uses the same key: each
 * record of one is answered by the other, and both go to the whole network. So the answers become rare. Pure.
 */
export class IdentityConflict {
  /** Conflicts of the last minute. */
  private steps: number[] = [];
  private lastMs = Number.NEGATIVE_INFINITY;
  /** 0 while there is no conflict. */
  private delayMs = 0;

  /** Whether another process seems to use this identity. */
  get isActive(): boolean {
    return this.delayMs > 0;
  }

  /** Returns how long to wait before answering with a newer record, in ms. */
  onConflict(now: number): number {
    if (now - this.lastMs > CALM_MS) this.delayMs = 0;
    this.lastMs = now;
    this.steps = this.steps.filter((at) => now - at < WINDOW_MS);
    this.steps.push(now);
    if (this.isActive) this.delayMs = Math.min(2 * this.delayMs, MAX_DELAY_MS);
    else if (this.steps.length > MAX_STEPS) this.delayMs = MIN_DELAY_MS;
    return this.delayMs;
  }
}
