// The links of this node as its neighbourhood sees them: their purpose, age, and how their peers were picked. There are few, so
// everything is counted on demand.

import type { NodeId } from '../../address.js';
import { NodeFlag } from '../../wire/records.js';
import type { MeshLink, MeshView } from '../ports.js';

/** How this node picked the peer, when it did. */
export type Choice = 'random' | 'near';

export interface Neighbour {
  readonly link: MeshLink;
  readonly upSinceMs: number;
  choice: Choice | undefined;
}

export class Neighbours {
  /** Whether this node drains: one link is enough then. */
  isDraining = false;
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

  /** Notes how the peer of a link was picked. */
  choose(link: MeshLink, choice: Choice): void {
    const neighbour = this.all.get(link);
    if (neighbour !== undefined) neighbour.choice = choice;
  }

  /** Returns the links that carry gossip to nodes that pass it on: no clients, no shortcuts. */
  mesh(): Neighbour[] {
    return [...this.all.values()].filter(({ link }) => link.purpose !== 'direct' && link.role !== 'client');
  }

  /** The number of mesh links. */
  get degree(): number {
    return this.mesh().length;
  }

  /** The number of mesh links to relays. */
  get relays(): number {
    return this.mesh().filter(({ link }) => this.relaysOn(link)).length;
  }

  /** The number of links to clients, which receive all gossip and pass none on. */
  get clients(): number {
    let count = 0;
    for (const { link } of this.all.values()) if (link.role === 'client' && link.purpose !== 'direct') count++;
    return count;
  }

  chosen(choice: Choice): number {
    return this.mesh().filter((neighbour) => neighbour.choice === choice).length;
  }

  /** Returns the nodes with a link; `shortcuts`: including those with only a shortcut. */
  ids(shortcuts: boolean): Set<NodeId> {
    const ids = new Set<NodeId>();
    for (const { link } of this.all.values()) if (shortcuts || link.purpose !== 'direct') ids.add(link.peerId);
    return ids;
  }

  /** Returns the link to a node, of any purpose. */
  get(nodeId: NodeId): Neighbour | undefined {
    for (const neighbour of this.all.values()) if (neighbour.link.peerId === nodeId) return neighbour;
    return undefined;
  }

  /** Returns how many other links a node announces, to nodes that have not left; 0 when it is unreachable. */
  otherLinksOf(nodeId: NodeId): number {
    const record = this.view.node(nodeId);
    if (record === undefined || !(this.view.isReachable(nodeId) || this.get(nodeId) !== undefined)) return 0;
    let count = 0;
    for (const { peerId } of record.links) {
      // A link to a node that has left stays in the record until the next change.
      if (peerId !== this.self && !this.hasLeft(peerId)) count++;
    }
    return count;
  }

  /** Whether others know of no other link of this node, or of that one. */
  isOnlyWay(nodeId: NodeId): boolean {
    const announced = this.view.node(this.self)?.links ?? [];
    const isUp = (peerId: NodeId): boolean => this.get(peerId) !== undefined && !this.hasLeft(peerId);
    return !announced.some(({ peerId }) => peerId !== nodeId && isUp(peerId)) || this.otherLinksOf(nodeId) === 0;
  }

  /** Whether a node has announced its leaving. */
  hasLeft(nodeId: NodeId): boolean {
    return ((this.view.node(nodeId)?.flags ?? 0) & NodeFlag.LEAVING) !== 0;
  }

  private relaysOn(link: MeshLink): boolean {
    const record = this.view.node(link.peerId);
    // The record of a new peer is on its way. One that drains is replaced while its link is still up.
    if (record === undefined) return this.view.mayRelay(link.peerId);
    return (record.flags & (NodeFlag.RELAY | NodeFlag.DRAIN)) === NodeFlag.RELAY && this.view.mayRelay(link.peerId);
  }
}
