// When a dial that is not answered asks a second instance as well. A process that stands still keeps its links for many
// seconds, as the kernel answers for it: without this, each of its dials would wait for the whole timeout.
//
// Only as long as nothing that the user has written has left: what may have been read must not be sent twice. How often is
// bounded by a share of all dials, so that a network that is slow everywhere does not get twice the load. And who has been
// found silent is not asked first any more, until something comes from it.

import type { NodeId } from '../../address.js';
import type { ServiceInstance } from '../../mesh/directory/service.js';
import { kOnData, kOnEnd, kOnReset, kOnSent } from '../../mux/hidden.js';
import type { MuxStream, StreamSink } from '../../mux/stream/stream.js';
import { ReplyCode, tryReadReply } from '../../wire/open-reply.js';
import { ackTimeoutMs } from '../open/hop-timeout.js';
import type { Path } from '../path.js';
import type { SecureDial } from '../secure/handshake.js';

/** Dials that ask a second instance: this share of all, and so many at once. */
const HEDGES_PER_DIAL = 0.5;
const MAX_HEDGES_AT_ONCE = 50;
/** What there is at the start: the first dials of a program may be those to an instance that stands still. */
const FIRST_HEDGES = 10;

/** How long an instance may leave a stream unacknowledged at most, and take for its answer when it has acknowledged it, in ms. */
const ANSWER_MS = 1_500;

/** What is known of the link to a node. */
export interface DirectHop {
  /** The smallest recent round trip in ms, 0 while it is unknown. */
  readonly rttMs: number;
  /** How much later than that an answer may come where packets are lost, in ms. */
  readonly lateMs: number;
  /** When something last came over it, by the clock of the timers, in ms. */
  readonly lastHeardMs: number;
}

export class Hedging {
  private hedges = FIRST_HEDGES;
  /** Nodes that left an OPEN unanswered for too long, with the time at which it was sent. */
  private readonly silent = new Map<NodeId, number>();

  /** @param hop the link to a node, if there is one to another node */
  constructor(private readonly hop: (nodeId: NodeId) => DirectHop | undefined) {}

  onDial(): void {
    if (this.hedges < MAX_HEDGES_AT_ONCE) this.hedges += HEDGES_PER_DIAL;
  }

  /** How long an OPEN may be without an answer before that is odd, in ms; Infinity when it did not go over a link. */
  waitMs(nodeId: NodeId, isAcknowledged: boolean): number {
    const hop = this.hop(nodeId);
    if (hop === undefined) return Number.POSITIVE_INFINITY;
    const silentMs = ackTimeoutMs(Number.POSITIVE_INFINITY, true, hop.rttMs, hop.lateMs);
    return isAcknowledged ? Math.max(ANSWER_MS, silentMs) : silentMs;
  }

  /** An OPEN that was sent to the node at `sentMs` is overdue. */
  onOverdue(nodeId: NodeId, sentMs: number): void {
    if (this.isSilentSince(nodeId, sentMs)) this.silent.set(nodeId, sentMs);
  }

  /** Whether one more dial may ask a second instance; it counts as one that does. */
  tryTake(): boolean {
    if (this.hedges < 1) return false;
    this.hedges--;
    return true;
  }

  /** Those that are not known to stand still, or all when there are no others. */
  preferred(instances: readonly ServiceInstance[]): readonly ServiceInstance[] {
    if (this.silent.size === 0 || instances.length < 2) return instances;
    for (const [nodeId, sentMs] of this.silent) if (!this.isSilentSince(nodeId, sentMs)) this.silent.delete(nodeId);
    if (this.silent.size === 0) return instances;
    const heard = instances.filter(({ nodeId }) => !this.silent.has(nodeId));
    return heard.length === 0 ? instances : heard;
  }

  private isSilentSince(nodeId: NodeId, sentMs: number): boolean {
    const hop = this.hop(nodeId);
    // What was on its way when the OPEN left says nothing.
    return hop !== undefined && hop.lastHeardMs <= sentMs + hop.rttMs;
  }
}

export interface RivalOwner {
  /** It has accepted, with these bytes, of which none is consumed. */
  onRivalAccepted(rival: Rival, bytes: Buffer): void;
  /** It will not. */
  onRivalLost(rival: Rival): void;
}

/** What is known of the instance that was asked. */
export interface Asked {
  readonly instance: ServiceInstance;
  readonly nodeId: NodeId;
  readonly port: number;
  readonly path: Path;
  readonly secure: SecureDial | null;
  /** The part of a reply that has arrived. */
  readonly partial: Buffer | null;
}

export class Rival implements StreamSink {
  partial: Buffer | null;

  constructor(
    private readonly owner: RivalOwner,
    readonly stream: MuxStream,
    readonly asked: Asked,
    /** Bytes of OPEN that wait in the stream's queue. */
    public queuedOpen: number,
  ) {
    this.partial = asked.partial;
    stream.sink = this;
  }

  [kOnData](_stream: MuxStream, chunk: Buffer): void {
    const bytes = this.partial === null ? chunk : Buffer.concat([this.partial, chunk]);
    try {
      const reply = tryReadReply(bytes)?.reply;
      if (reply === undefined) this.partial = Buffer.from(bytes);
      else if (reply.code !== ReplyCode.ACCEPTED || this.asked.secure?.objection(reply) !== undefined) this.lose();
      else this.owner.onRivalAccepted(this, bytes);
    } catch {
      this.lose();
    }
  }

  [kOnEnd](): void {
    this.lose();
  }

  [kOnSent](_stream: MuxStream, bytes: number): void {
    this.queuedOpen -= Math.min(bytes, this.queuedOpen);
  }

  [kOnReset](): void {
    this.owner.onRivalLost(this);
  }

  private lose(): void {
    this.stream.reset();
    this.owner.onRivalLost(this);
  }
}
