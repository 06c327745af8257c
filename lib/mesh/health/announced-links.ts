// The links in the record of this node: those that may stand there, each with the cost that is told of it.

import type { NodeId } from '../../address.js';
import type { Timers } from '../../util/timers.js';
import { COST_UNUSABLE, type RecordLink } from '../../wire/records.js';
import type { MeshLink } from '../ports.js';
import type { Urgency } from '../records/throttle.js';
import { LinkCosts } from './link-cost.js';

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
