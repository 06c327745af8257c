// What the neighbourhood knows of the network beyond its own links: the records of the nodes, and which of them this
// node reaches. The record store and the routes together are such a view.

import type { NodeId } from '../../address.js';
import type { NodeRecord } from '../../wire/records.js';

export interface MeshView {
  /** How many other nodes are reached. */
  readonly reachable: number;
  isReachable(nodeId: NodeId): boolean;
  /** It has sent what it should not, and is not linked to for a while. */
  isBanned(nodeId: NodeId): boolean;
  node(nodeId: NodeId): NodeRecord | undefined;
  /** Every record that is kept, reachable or not. The own one may be among them. */
  nodes(): Iterable<NodeRecord>;
  /** The cost of the way there, in ms; undefined where there is none. */
  distance(nodeId: NodeId): number | undefined;
}
