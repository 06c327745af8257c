// The links in the record of this node, each with a cost that follows its round trip slowly, since every change floods the
// mesh. The first measurement is published soon; later only a clear change that has lasted for a while.

import type { NodeId } from '../../address.js';
import type { Timers } from '../../util/timers.js';
import { COST_UNUSABLE, costToByte, type RecordLink } from '../../wire/records.js';
import type { MeshLink } from '../ports.js';
import type { Urgency } from '../records/throttle.js';
import { FlapDamping } from './flap-damping.js';

/** Eight times the cost, in steps of the scale: others avoid a peer whose process stands still. */
const STALLED_STEPS = 24;

interface AnnouncedLinksOwner {
  /** Returns the links that may be announced. */
  eligible(): readonly MeshLink[];
  isStalled(link: MeshLink): boolean;
  onChange(links: readonly RecordLink[], urgency: Urgency): void;
}

/** The announced links: costs of links, without suppressed ones, and higher for stalled peers. */
export class AnnouncedLinks {
  private readonly costs: LinkCosts;

  constructor(
    timers: Timers,
    private readonly owner: AnnouncedLinksOwner,
  ) {
    this.costs = new LinkCosts(timers, { onCosts: (urgency) => this.update(urgency) });
  }

  /** Called when a link is up and measured. `isNeeded`: others have no other path to one of its ends. */
  onUp(link: MeshLink, isNeeded: boolean): void {
    this.costs.onUp(link.peerId, isNeeded);
    this.onSample(link, false);
  }

  /** `isLoss`: neither node has closed it on purpose. `isLeaving`: the peer has announced its leaving. */
  onDown(link: MeshLink, isLoss: boolean, isLeaving: boolean): void {
    this.costs.onDown(link.peerId, isLoss, isLeaving);
  }

  /** Reads the round trip of a link. `isLagging`: this process is late, so the value says nothing about the link. */
  onSample(link: MeshLink, isLagging: boolean): void {
    if (link.rttMs > 0) this.costs.onSample(link.peerId, link.rttMs, isLagging);
  }

  /** Returns the cost for the routes of this node, in ms. */
  costMs(link: MeshLink): number {
    return link.purpose === 'direct' && link.rttMs > 0 ? link.rttMs : this.costs.costMs(link.peerId);
  }

  update(urgency: Urgency): void {
    const measured = new Map<NodeId, number>(this.costs.announced().map(({ peerId, cost }) => [peerId, cost]));
    const links: RecordLink[] = [];
    for (const link of this.owner.eligible()) {
      const cost = measured.get(link.peerId);
      if (cost === undefined) continue;
      const announced = this.owner.isStalled(link) ? Math.min(cost + STALLED_STEPS, COST_UNUSABLE - 1) : cost;
      links.push({ peerId: link.peerId, cost: announced });
    }
    this.owner.onChange(links, urgency);
  }

  dispose(): void {
    this.costs.dispose();
  }
}

/** The cost of a link that has not been measured yet. */
const UNKNOWN_MS = 5;

/** The share of a new sample in the average. */
const SAMPLE_SHARE = 42 / 256;

const MIN_STEPS = 3;
const MIN_MOVE_MS = 2;
const STEADY_MS = 30_000;
const PAUSE_MS = 60_000;

interface LinkCostOwner {
  /** Called when {@link LinkCosts.announced} has changed. */
  onCosts(urgency: Urgency): void;
}

interface Measured {
  /** Of the link coming up, and of its first measurement. */
  readonly urgency: 'soon' | 'redundantLink';
  /** The smoothed round trip; undefined until there is one. */
  rttMs: number | undefined;
  announcedMs: number;
  announcedAtMs: number;
  /** Since when the round trip differs clearly from the announced one. */
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
      if (this.links.has(peerId)) owner.onCosts('soon');
    });
  }

  /** Called when a link is up that is to be announced. `isNeeded`: others have no other path to one of its ends. */
  onUp(peerId: NodeId, isNeeded = true): void {
    if (this.links.has(peerId)) return;
    const urgency = isNeeded ? 'soon' : 'redundantLink';
    this.links.set(peerId, {
      urgency,
      rttMs: undefined,
      announcedMs: UNKNOWN_MS,
      announcedAtMs: Number.NEGATIVE_INFINITY,
      movedAtMs: undefined,
    });
    if (!this.damping.isSuppressed(peerId)) this.owner.onCosts(urgency);
  }

  /** Called when the link has ended. `isLoss`: neither node has closed it on purpose. `isLeaving`: the peer has announced its leaving. */
  onDown(peerId: NodeId, isLoss: boolean, isLeaving = false): void {
    if (!this.links.delete(peerId)) return;
    const wasAnnounced = !this.damping.isSuppressed(peerId);
    if (isLoss) this.damping.onLoss(peerId);
    if (wasAnnounced) this.owner.onCosts(isLeaving ? 'peerLeaving' : 'now');
  }

  /** Called with a measured round trip. One that was measured while this process was late is ignored. */
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
    if (!this.damping.isSuppressed(peerId)) this.owner.onCosts(isFirst ? link.urgency : 'metric');
  }

  /** Returns the smoothed round trip of a link; a guess until it has been measured. */
  costMs(peerId: NodeId): number {
    return this.links.get(peerId)?.rttMs ?? UNKNOWN_MS;
  }

  /** Returns the links for the record of this node. */
  announced(): RecordLink[] {
    const announced: RecordLink[] = [];
    for (const [peerId, { announcedMs }] of this.links) {
      if (!this.damping.isSuppressed(peerId)) announced.push({ peerId, cost: costToByte(announcedMs) });
    }
    return announced;
  }

  dispose(): void {
    this.damping.dispose();
  }
}

/** Whether two round trips differ by three steps of the scale and by 2 ms. */
function hasMoved(fromMs: number, toMs: number): boolean {
  return Math.abs(costToByte(toMs) - costToByte(fromMs)) >= MIN_STEPS && Math.abs(toMs - fromMs) >= MIN_MOVE_MS;
}
