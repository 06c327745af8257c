// The links of this node as its neighbourhood sees them: what each is good for, since when it stands, and how it was
// chosen. Few, so everything is counted when it is asked for.

import type { NodeId } from '../../address.js';
import { NodeFlag } from '../../wire/records.js';
import type { MeshLink, MeshView } from '../ports.js';

/** How the node at the other end was picked, when this node picked it. */
export type Choice = 'random' | 'near';

export interface Neighbour {
  readonly link: MeshLink;
  readonly upSinceMs: number;
  choice: Choice | undefined;
}

export class Neighbours {
  private readonly all = new Map<MeshLink, Neighbour>();

  constructor(
    private readonly self: NodeId,
    private readonly view: MeshView,
  ) {}

  add(link: MeshLink, now: number): void {
    this.all.set(link, { link, upSinceMs: now, choice: undefined });
  }

  remove(link: MeshLink): Neighbour | undefined {
    const neighbour = this.all.get(link);
    this.all.delete(link);
    return neighbour;
  }

  /** Notes how the node of a link was picked. */
  choose(link: MeshLink, choice: Choice): void {
    const neighbour = this.all.get(link);
    if (neighbour !== undefined) neighbour.choice = choice;
  }

  /** Links that carry gossip to nodes that carry it on: to all but clients, and no shortcuts. */
  mesh(): Neighbour[] {
    return [...this.all.values()].filter(({ link }) => link.purpose !== 'direct' && link.role !== 'client');
  }

  /** How many mesh links there are. */
  get degree(): number {
    return this.mesh().length;
  }

  /** Those of them by which circuits go on. */
  get relays(): number {
    return this.mesh().filter(({ link }) => this.relaysOn(link)).length;
  }

  /** Links to clients: they receive all gossip, and are part of nothing. */
  get clients(): number {
    let count = 0;
    for (const { link } of this.all.values()) if (link.role === 'client' && link.purpose !== 'direct') count++;
    return count;
  }

  chosen(choice: Choice): number {
    return this.mesh().filter((neighbour) => neighbour.choice === choice).length;
  }

  /** Nodes that there is a link to; `shortcuts`: of any kind. */
  ids(shortcuts: boolean): Set<NodeId> {
    const ids = new Set<NodeId>();
    for (const { link } of this.all.values()) if (shortcuts || link.purpose !== 'direct') ids.add(link.peerId);
    return ids;
  }

  /** The link to a node, of whatever kind. */
  get(nodeId: NodeId): Neighbour | undefined {
    for (const neighbour of this.all.values()) if (neighbour.link.peerId === nodeId) return neighbour;
    return undefined;
  }

  /** How many links a node has to others that stay, by its own account, this one apart; none when nobody else reaches it. */
  others(nodeId: NodeId): number {
    const record = this.view.node(nodeId);
    if (record === undefined || !(this.view.isReachable(nodeId) || this.get(nodeId) !== undefined)) return 0;
    let count = 0;
    for (const { peerId } of record.links) {
      // A link to a node that has left stands in the record until there is another change to tell.
      if (peerId !== this.self && !this.hasLeft(peerId)) count++;
    }
    return count;
  }

  /** Whether others know of no other link that stands, of this node or of that one. */
  isOnlyWay(nodeId: NodeId): boolean {
    const told = this.view.node(this.self)?.links ?? [];
    const stands = (peerId: NodeId): boolean => this.get(peerId) !== undefined && !this.hasLeft(peerId);
    return !told.some(({ peerId }) => peerId !== nodeId && stands(peerId)) || this.others(nodeId) === 0;
  }

  /** Whether it has said itself that it leaves. */
  hasLeft(nodeId: NodeId): boolean {
    return ((this.view.node(nodeId)?.flags ?? 0) & NodeFlag.LEAVING) !== 0;
  }

  private relaysOn(link: MeshLink): boolean {
    const record = this.view.node(link.peerId);
    // A fresh link: the record is on its way.
    return record === undefined || (record.flags & NodeFlag.RELAY) !== 0;
  }
}
