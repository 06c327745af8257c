// Which links of others this node takes, which of too many it gives up again, and which it announces.

import type { NodeId } from '../../address.js';
import { starlaneError } from '../../errors.js';
import type { LinkPurpose } from '../../link/link-purpose.js';
import type { NodeRole } from '../../options/options.js';
import type { Timed, Timer } from '../../util/timers.js';
import { MAX_RECORD_LINKS } from '../../wire/records.js';
import type { MeshEnvironment, MeshLink, MeshView } from '../ports.js';
import {
  HUB_TAKES_NEEDY_BELOW,
  LOW,
  MAX_CLIENTS,
  SHED_ABOVE,
  TAKES_ALL_BELOW,
  TAKES_LONELY_BELOW,
  TAKES_NEEDY_BELOW,
} from './degree.js';
import type { Neighbour, Neighbours } from './neighbours.js';

/**
 * Several at once and then none for a while: each is told to everybody by both of its ends, and while one follows the other
 * the views of a large network are never the same.
 */
const SHED_INTERVAL_MS = 10_000;
const SHED_AT_ONCE = 6;
/** Where newcomers come faster than that, they need the room: with none left, the next ones have to wait outside. */
const CROWDED_INTERVAL_MS = 500;
const CROWDED_AGE_MS = 1_000;
/** A younger link is about to be used, or its peer has not told of its others yet. */
const MIN_AGE_MS = 5_000;
/** A node that a newcomer has come to is a hub for that long. */
const HUB_MS = 600_000;
const WARN_INTERVAL_MS = 3_600_000;
/** A node that has one other link or none needs this one. */
const NEEDY = 1;

/** Who wants a link. A link in handshake is such. */
export interface Applicant {
  readonly peerId: NodeId;
  readonly purpose: LinkPurpose;
  readonly role: NodeRole;
}

export interface LinkAdmissionSetup {
  readonly environment: MeshEnvironment;
  readonly neighbours: Neighbours;
  readonly view: MeshView;
  /** Links that this node is going to make. */
  reserved(): number;
  onWarning(error: Error): void;
}

export class LinkAdmission implements Timed {
  private timer: Timer | undefined;
  /** When links are shed next. */
  private dueMs = Number.POSITIVE_INFINITY;
  private newcomerMs = Number.NEGATIVE_INFINITY;
  private warnedMs = Number.NEGATIVE_INFINITY;
  private isStopped = false;
  private announcedLast = new Set<NodeId>();

  constructor(private readonly setup: LinkAdmissionSetup) {}

  /** Whether to take a link that a peer makes. */
  mayAccept({ peerId, purpose, role }: Applicant): boolean {
    const { environment, neighbours } = this.setup;
    // What stands already is for others to decide.
    if (purpose !== 'mesh' || neighbours.get(peerId) !== undefined) return true;
    if (role === 'client') return neighbours.clients < MAX_CLIENTS;
    const { degree } = neighbours;
    const others = neighbours.others(peerId);
    if (others === 0) this.newcomerMs = environment.timers.now();
    // Room is kept for the links that this node still has to make to nodes of its own choice.
    if (degree < TAKES_ALL_BELOW - this.setup.reserved()) return true;
    if (others > NEEDY) return false;
    if (others === 0) {
      const isTaken = degree < TAKES_LONELY_BELOW;
      if (!isTaken) this.warn(`${peerId} has no other link and is refused: there are ${degree}`);
      return isTaken;
    }
    return degree < (this.isHub ? HUB_TAKES_NEEDY_BELOW : TAKES_NEEDY_BELOW);
  }

  /** To be called when there is a link more. */
  onLink(): void {
    const { environment, neighbours } = this.setup;
    if (this.isStopped || neighbours.degree <= SHED_ABOVE) return;
    const now = environment.timers.now();
    const dueMs = now + (neighbours.degree > HUB_TAKES_NEEDY_BELOW ? CROWDED_INTERVAL_MS : SHED_INTERVAL_MS);
    if (this.timer !== undefined) {
      if (dueMs >= this.dueMs) return;
      environment.timers.cancel(this.timer);
    }
    this.dueMs = dueMs;
    this.timer = environment.timers.schedule(dueMs - now, this);
  }

  stop(): void {
    this.isStopped = true;
    if (this.timer !== undefined) this.setup.environment.timers.cancel(this.timer);
    this.timer = undefined;
  }

  /** The mesh links to tell others of: those that a record holds, and that are there for others to use. */
  announced(): MeshLink[] {
    const { neighbours, view } = this.setup;
    const known = neighbours.mesh().filter(({ link }) => view.node(link.peerId) !== undefined);
    const unannounced = known.length - MAX_RECORD_LINKS;
    if (unannounced > 0) this.warn(`${unannounced} of ${known.length} linked peers cannot be announced`);
    const links = known.length <= MAX_RECORD_LINKS ? known : this.mostNeeded(known);
    this.announcedLast = new Set(links.map(({ link }) => link.peerId));
    return links.map(({ link }) => link);
  }

  onDeadline(): void {
    this.timer = undefined;
    const { environment, neighbours } = this.setup;
    const { degree } = neighbours;
    let surplus = Math.min(degree - SHED_ABOVE, Math.max(SHED_AT_ONCE, degree - HUB_TAKES_NEEDY_BELOW));
    const now = environment.timers.now();
    const leastAgeMs = degree > HUB_TAKES_NEEDY_BELOW ? CROWDED_AGE_MS : MIN_AGE_MS;
    const spare = neighbours.mesh().filter((neighbour) => this.isSpare(neighbour, now - leastAgeMs));
    for (; surplus > 0 && spare.length > 0; surplus--) {
      const [neighbour] = spare.splice(Math.floor(environment.random() * spare.length), 1);
      (neighbour as Neighbour).link.shed();
    }
    this.onLink();
  }

  /** Peers can cause it, and it may last: told once in a while. */
  private warn(what: string): void {
    const now = this.setup.environment.timers.now();
    if (now - this.warnedMs < WARN_INTERVAL_MS) return;
    this.warnedMs = now;
    this.setup.onWarning(starlaneError('ERR_STARLANE_LINK_LIMIT', what));
  }

  private get isHub(): boolean {
    const { environment, neighbours } = this.setup;
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
      this.setup.neighbours.others(link.peerId) >= LOW
    );
  }

  /** Links of needy peers first, then those that were announced before: a change costs a flood. */
  private mostNeeded(known: Neighbour[]): Neighbour[] {
    const { neighbours } = this.setup;
    const ranks = new Map<Neighbour, number>();
    for (const neighbour of known) {
      const { peerId } = neighbour.link;
      const isNeedy = neighbours.others(peerId) <= NEEDY;
      ranks.set(neighbour, (isNeedy ? 0 : 2) + (this.announcedLast.has(peerId) ? 0 : 1));
    }
    const rank = (neighbour: Neighbour): number => ranks.get(neighbour) as number;
    return known.sort((a, b) => rank(a) - rank(b) || a.upSinceMs - b.upSinceMs).slice(0, MAX_RECORD_LINKS);
  }
}
