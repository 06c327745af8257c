// Which links of others this node accepts, which of too many it sheds again, and which it announces.

import type { NodeId } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { LinkPurpose } from '../../link/link-purpose.js';
import type { NodeRole } from '../../options/options.js';
import { Deadline } from '../../util/deadline.js';
import { MAX_RECORD_LINKS } from '../../wire/records.js';
import type { MeshLink } from '../ports.js';
import {
  ACCEPT_ANY_BELOW,
  ACCEPT_ISOLATED_BELOW,
  ACCEPT_NEEDY_BELOW,
  HUB_ACCEPTS_NEEDY_BELOW,
  LOW,
  MAX_CLIENTS,
  RANDOM_KEPT,
  SHED_ABOVE,
} from './degree.js';
import type { NeighbourhoodContext } from './neighbourhood.js';
import type { Neighbour } from './neighbours.js';

/**
 * Several links are shed at once and then none for a while: both ends of each flood a record, and while one follows the other
 * the views of a large network never become equal.
 */
const SHED_INTERVAL_MS = 10_000;
const SHED_AT_ONCE = 6;
/** Shorter for a hub that is nearly full: new nodes need the room, or they stay outside. */
const CROWDED_INTERVAL_MS = 500;
const CROWDED_AGE_MS = 1_000;
/** A younger link is about to be used, or its peer has not announced its other links yet. */
const MIN_AGE_MS = 5_000;
/** A node counts as a hub for this long after a node without links has dialled it. */
const HUB_MS = 600_000;
const WARN_INTERVAL_MS = 3_600_000;
/** A needy node has this many other links at most. */
const NEEDY_LINKS = 1;

/** A node that wants a link, such as the peer of a link in handshake. */
export interface Applicant {
  readonly peerId: NodeId;
  readonly purpose: LinkPurpose;
  readonly role: NodeRole;
}

export class LinkAdmission {
  private readonly deadline: Deadline;
  /** When links are shed next. */
  private dueMs = Number.POSITIVE_INFINITY;
  private newcomerMs = Number.NEGATIVE_INFINITY;
  private warnedMs = Number.NEGATIVE_INFINITY;
  private isClosed = false;
  private announcedLast = new Set<NodeId>();

  constructor(private readonly context: NeighbourhoodContext) {
    this.deadline = new Deadline(context.environment.timers, () => this.shed());
  }

  /** Whether to accept a link that a peer makes. */
  mayAccept({ peerId, purpose, role }: Applicant): boolean {
    const { environment, neighbours } = this.context;
    // A second link to a peer is decided elsewhere.
    if (purpose !== 'mesh' || neighbours.get(peerId) !== undefined) return true;
    if (role === 'client') return neighbours.clients < MAX_CLIENTS;
    const { degree } = neighbours;
    const others = neighbours.otherLinksOf(peerId);
    if (others === 0) this.newcomerMs = environment.timers.now();
    if (degree < ACCEPT_ANY_BELOW - this.reserved()) return true;
    if (others > NEEDY_LINKS) return false;
    if (others === 0) {
      const isAccepted = degree < ACCEPT_ISOLATED_BELOW;
      if (!isAccepted) this.warn(`${peerId} has no other link and is refused: there are ${degree}`);
      return isAccepted;
    }
    return degree < (this.isHub ? HUB_ACCEPTS_NEEDY_BELOW : ACCEPT_NEEDY_BELOW);
  }

  /** Must be called after each new link. */
  onLink(): void {
    const { environment, neighbours } = this.context;
    if (this.isClosed || neighbours.degree <= SHED_ABOVE) return;
    const now = environment.timers.now();
    const dueMs = now + (neighbours.degree > HUB_ACCEPTS_NEEDY_BELOW ? CROWDED_INTERVAL_MS : SHED_INTERVAL_MS);
    if (this.deadline.isSet && dueMs >= this.dueMs) return;
    this.dueMs = dueMs;
    this.deadline.set(dueMs - now);
  }

  dispose(): void {
    this.isClosed = true;
    this.deadline.clear();
  }

  /**
   * Returns the mesh links for the record of this node: as many as fit, to peers whose records are known. Changes when a link
   * comes, goes or is promoted, and with the first record of a peer.
   */
  announced(): MeshLink[] {
    const { neighbours, view } = this.context;
    const known = neighbours.mesh().filter(({ link }) => view.node(link.peerId) !== undefined);
    const unannounced = known.length - MAX_RECORD_LINKS;
    if (unannounced > 0) this.warn(`${unannounced} of ${known.length} linked peers cannot be announced`);
    const links = known.length <= MAX_RECORD_LINKS ? known : this.mostNeeded(known);
    this.announcedLast = new Set(links.map(({ link }) => link.peerId));
    return links.map(({ link }) => link);
  }

  private shed(): void {
    const { environment, neighbours } = this.context;
    const { degree } = neighbours;
    let surplus = Math.min(degree - SHED_ABOVE, Math.max(SHED_AT_ONCE, degree - HUB_ACCEPTS_NEEDY_BELOW));
    const now = environment.timers.now();
    const leastAgeMs = degree > HUB_ACCEPTS_NEEDY_BELOW ? CROWDED_AGE_MS : MIN_AGE_MS;
    const spare = neighbours.mesh().filter((neighbour) => this.isSpare(neighbour, now - leastAgeMs));
    for (; surplus > 0 && spare.length > 0; surplus--) {
      const [neighbour] = spare.splice(Math.floor(environment.random() * spare.length), 1);
      (neighbour as Neighbour).link.shed();
    }
    this.onLink();
  }

  /** Warns at most once in a while: peers can cause the problem, and it may last. */
  private warn(what: string): void {
    const now = this.context.environment.timers.now();
    if (now - this.warnedMs < WARN_INTERVAL_MS) return;
    this.warnedMs = now;
    this.context.environment.warn(starlaneError('ERR_STARLANE_LINK_LIMIT', what));
  }

  /** Room for links to random nodes that this node still has to make. */
  private reserved(): number {
    const { neighbours, options } = this.context;
    if (options.role !== 'peer' && options.role !== 'router') return 0;
    return Math.max(0, RANDOM_KEPT - neighbours.chosen('random'));
  }

  private get isHub(): boolean {
    const { environment, neighbours } = this.context;
    if (environment.timers.now() - this.newcomerMs < HUB_MS) return true;
    return neighbours.mesh().some(({ link }) => link.direction === 'inbound' && link.purpose === 'join');
  }

  private isSpare({ link, upSinceMs, choice }: Neighbour, latestMs: number): boolean {
    return (
      link.isUp &&
      link.purpose === 'mesh' &&
      choice === undefined &&
      link.streams === 0 &&
      upSinceMs <= latestMs &&
      this.context.neighbours.otherLinksOf(link.peerId) >= LOW
    );
  }

  /** Links of needy peers first, then those that were announced before, since a change costs a flood. */
  private mostNeeded(known: Neighbour[]): Neighbour[] {
    const { neighbours } = this.context;
    const ranks = new Map<Neighbour, number>();
    for (const neighbour of known) {
      const { peerId } = neighbour.link;
      const isNeedy = neighbours.otherLinksOf(peerId) <= NEEDY_LINKS;
      ranks.set(neighbour, (isNeedy ? 0 : 2) + (this.announcedLast.has(peerId) ? 0 : 1));
    }
    const rank = (neighbour: Neighbour): number => ranks.get(neighbour) as number;
    return known.sort((a, b) => rank(a) - rank(b) || a.upSinceMs - b.upSinceMs).slice(0, MAX_RECORD_LINKS);
  }
}
