// What draws the topology. A small network is drawn by cytoscape, whose nodes can be dragged; it takes half a second for a thousand nodes, so larger ones
// are drawn as plain dots and lines.

import type { Query } from '../search.js';
import type { Point } from './layout.js';

export interface Picture {
  /** Takes over what has changed in the tables of nodes and edges. */
  update(): void;
  /** Lets nodes that do not match stand back. */
  search(query: Query): void;
  /** Marks a node and its links. */
  select(nodeId: string | undefined): void;
  fit(): void;
  zoom(factor: number): void;
  pan(by: Point): void;
  /** Called when the size of the pane has changed. */
  resize(): void;
  /** Called when the colours have changed. */
  restyle(): void;
  destroy(): void;
}
