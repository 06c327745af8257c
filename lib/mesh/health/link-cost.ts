// What this node announces of its links: a cost that follows the round trip slowly, since every change of it goes to the
// whole mesh. The first measure is told soon; from then on only what has clearly moved, and has stayed there for a while.

import type { NodeId } from '../../address.js';
import type { Timers } from '../../util/timers.js';
import { COST_UNUSABLE, costToByte, type RecordLink } from '../../wire/records.js';
import type { MeshLink } from '../ports.js';
import type { Urgency } from '../records/throttle.js';
import { FlapDamping } from './flap-damping.js';

// The links in the record of this node: those that may stand there, each with the cost that is told of it.

/** Eight times the cost, in steps of the scale: others go round a peer that stands still. */
const STALLED_STEPS = 24;

export interface AnnouncedLinksOwner {
  /** The links that may be announced. */
  eligible(): readonly MeshLink[];
  isStalled(link: MeshLink): boolean;
  onChange(links: readonly RecordLink[], urgency: Urgency): void;
}

export class AnnouncedLinks {
  private readonly costs: LinkCosts;

  constructor(
    timers: Timers,
    private readonly owner: AnnouncedLinksOwner,
  ) {
    this.costs = new LinkCosts(timers, { onCosts: (urgency) => this.update(urgency) });
  }

  /** A link is up, and measured. `isNeeded`: others have no other way to one of its ends. */
  onUp(link: MeshLink, isNeeded: boolean): void {
    this.costs.onUp(link.peerId, isNeeded);
    this.onSample(link, false);
  }

  /** `isLoss`: nobody wanted that. `isKnown`: the peer has said itself that it leaves. */
  onDown(link: MeshLink, isLoss: boolean, isKnown: boolean): void {
    this.costs.onDown(link.peerId, isLoss, isKnown);
  }

  /** Looks at the round trip of a link. `isLagging`: what was measured is this process. */
  onSample(link: MeshLink, isLagging: boolean): void {
    if (link.rttMs > 0) this.costs.onSample(link.peerId, link.rttMs, isLagging);
  }

  /** What routes of this node itself reckon with, in ms. */
  costMs(link: MeshLink): number {
    return link.purpose === 'direct' && link.rttMs > 0 ? link.rttMs : this.costs.costMs(link.peerId);
  }

  update(urgency: Urgency): void {
    const measured = new Map<NodeId, number>(this.costs.announced().map(({ peerId, cost }) => [peerId, cost]));
    const links: RecordLink[] = [];
    for (const link of this.owner.eligible()) {
      const cost = measured.get(link.peerId);
      if (cost === undefined) continue;
      const told = this.owner.isStalled(link) ? Math.min(cost + STALLED_STEPS, COST_UNUSABLE - 1) : cost;
      links.push({ peerId: link.peerId, cost: told });
    }
    this.owner.onChange(links, urgency);
  }

  stop(): void {
    this.costs.stop();
  }
}

/** Of a link that has not been measured yet. */
const UNKNOWN_MS = 5;

/** The share of a new sample in the average. */
const SAMPLE_SHARE = 42 / 256;

const MIN_STEPS = 3;
const MIN_MOVE_MS = 2;
const STEADY_MS = 30_000;
const PAUSE_MS = 60_000;

export interface LinkCostOwner {
  /** {@link LinkCosts.announced} gives something else than before. */
  onCosts(urgency: Urgency): void;
}

interface Measured {
  /** Of its coming, and of its first measure. */
  readonly urgency: 'good' | 'more';
  /** The smoothed round trip; undefined until there is one. */
  rttMs: number | undefined;
  announcedMs: number;
  announcedAtMs: number;
  /** Since when it has been elsewhere. */
  movedAtMs: number | undefined;
}

export class LinkCosts {
  private readonly links = new Map<NodeId, Measured>();
  private readonly damping: FlapDamping;

  constructor(
    private readonly timers: Timers,
    private readonly owner: LinkCostOwner,
  ) {
    this.damping = new FlapDamping(timers, (peerId) => {
      if (this.links.has(peerId)) owner.onCosts('good');
    });
  }

  /** A link to the peer is up that is to be announced. `isNeeded`: others have no other way to one of its ends. */
  onUp(peerId: NodeId, isNeeded = true): void {
    if (this.links.has(peerId)) return;
    const urgency = isNeeded ? 'good' : 'more';
    this.links.set(peerId, {
      urgency,
      rttMs: undefined,
      announcedMs: UNKNOWN_MS,
      announcedAtMs: Number.NEGATIVE_INFINITY,
      movedAtMs: undefined,
    });
    if (!this.damping.isSuppressed(peerId)) this.owner.onCosts(urgency);
  }

  /** It is not up any more; `isLoss` when nobody wanted that, `isKnown` when the peer itself has told others. */
  onDown(peerId: NodeId, isLoss: boolean, isKnown = false): void {
    if (!this.links.delete(peerId)) return;
    const wasAnnounced = !this.damping.isSuppressed(peerId);
    if (isLoss) this.damping.onLoss(peerId);
    if (wasAnnounced) this.owner.onCosts(isKnown ? 'known' : 'bad');
  }

  /** A round trip that was measured. One measured while this process was late says nothing about the link. */
  onSample(peerId: NodeId, rttMs: number, isLagging = false): void {
    const link = this.links.get(peerId);
    if (link === undefined || isLagging || !(rttMs >= 0)) return;
    const isFirst = link.rttMs === undefined;
    link.rttMs = link.rttMs === undefined ? rttMs : link.rttMs + (rttMs - link.rttMs) * SAMPLE_SHARE;
    if (!hasMoved(link.announcedMs, link.rttMs)) {
      link.movedAtMs = undefined;
      return;
    }
    const now = this.timers.now();
    link.movedAtMs ??= now;
    const isDue = now - link.movedAtMs >= STEADY_MS && now - link.announcedAtMs >= PAUSE_MS;
    if (!isFirst && !isDue) return;
    link.announcedMs = link.rttMs;
    link.announcedAtMs = now;
    link.movedAtMs = undefined;
    if (!this.damping.isSuppressed(peerId)) this.owner.onCosts(isFirst ? link.urgency : 'cost');
  }

  /** The round trip of a link as it is now, smoothed; a guess until it has been measured. */
  costMs(peerId: NodeId): number {
    return this.links.get(peerId)?.rttMs ?? UNKNOWN_MS;
  }

  /** For the record of this node. */
  announced(): RecordLink[] {
    const announced: RecordLink[] = [];
    for (const [peerId, { announcedMs }] of this.links) {
      if (!this.damping.isSuppressed(peerId)) announced.push({ peerId, cost: costToByte(announcedMs) });
    }
    return announced;
  }

  stop(): void {
    this.damping.stop();
  }
}

/** By three steps of the scale and by 2 ms. */
function hasMoved(fromMs: number, toMs: number): boolean {
  return Math.abs(costToByte(toMs) - costToByte(fromMs)) >= MIN_STEPS && Math.abs(toMs - fromMs) >= MIN_MOVE_MS;
}
