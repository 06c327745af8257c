// When a dial that is not answered asks a second instance as well. A process that stands still keeps its links for many seconds, as the
// kernel answers for it: without hedging, each dial to it would wait for the whole timeout.
//
// Only while nothing that the user has written has left: what may have been read must not be sent twice. A share of all dials
// bounds how often, so that a network that is slow everywhere does not get twice the load. And a node that was found silent is not
// asked first any more, until something comes from it.

import type { NodeId } from '../../address.js';
import type { ServiceInstance } from '../../mesh/directory/service.js';
import { ackTimeoutMs } from '../open/hop-timeout.js';

/** Dials that ask a second instance: this share of all, and so many at once. */
const HEDGES_PER_DIAL = 0.5;
const MAX_HEDGES_AT_ONCE = 50;
/** Hedges available at the start: the first dials of a program may be those to an instance that stands still. */
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

  /** @param hop returns the link to a node, if there is one to another node */
  constructor(private readonly hop: (nodeId: NodeId) => DirectHop | undefined) {}

  onDial(): void {
    if (this.hedges < MAX_HEDGES_AT_ONCE) this.hedges += HEDGES_PER_DIAL;
  }

  /** Returns how long an OPEN may go without an answer before that is odd, in ms; Infinity when it did not go over a link. */
  waitMs(nodeId: NodeId, isAcknowledged: boolean): number {
    const hop = this.hop(nodeId);
    if (hop === undefined) return Number.POSITIVE_INFINITY;
    const ackMs = ackTimeoutMs(Number.POSITIVE_INFINITY, true, hop.rttMs, hop.lateMs);
    return isAcknowledged ? Math.max(ANSWER_MS, ackMs) : ackMs;
  }

  /** Called when an OPEN that was sent to the node at `sentMs` is overdue. */
  onOverdue(nodeId: NodeId, sentMs: number): void {
    if (this.isSilentSince(nodeId, sentMs)) this.silent.set(nodeId, sentMs);
  }

  /** Returns whether one more dial may ask a second instance, and counts it if so. */
  tryTake(): boolean {
    if (this.hedges < 1) return false;
    this.hedges--;
    return true;
  }

  /** Returns the instances that are not known to stand still, or all of them when there are no others. */
  preferred(instances: readonly ServiceInstance[]): readonly ServiceInstance[] {
    if (this.silent.size === 0 || instances.length < 2) return instances;
    for (const [nodeId, sentMs] of this.silent) if (!this.isSilentSince(nodeId, sentMs)) this.silent.delete(nodeId);
    if (this.silent.size === 0) return instances;
    const responsive = instances.filter(({ nodeId }) => !this.silent.has(nodeId));
    return responsive.length === 0 ? instances : responsive;
  }

  private isSilentSince(nodeId: NodeId, sentMs: number): boolean {
    const hop = this.hop(nodeId);
    // What was on its way when the OPEN left proves nothing.
    return hop !== undefined && hop.lastHeardMs <= sentMs + hop.rttMs;
  }
}
