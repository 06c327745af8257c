// The pane of the topology: its buttons and keys, a summary in words, and the picture, which depends on the size of the network.

import { byId, setText } from '../dom.js';
import { plural } from '../format.js';
import type { Query } from '../search.js';
import type { Store } from '../store.js';
import { onThemeChange } from '../theme.js';
import { CrowdPicture } from './crowd-picture.js';
import { GraphPicture } from './graph-picture.js';
import type { Point } from './layout.js';
import type { Picture } from './picture.js';

/** The largest network for cytoscape, and the size below which one that has been larger is small again. */
const SMALL = 150;
const SMALL_AGAIN = 120;
const PAN_PX = 60;
const ZOOM_STEP = 1.3;

const PANS: Readonly<Record<string, Point>> = {
  ArrowLeft: { x: PAN_PX, y: 0 },
  ArrowRight: { x: -PAN_PX, y: 0 },
  ArrowUp: { x: 0, y: PAN_PX },
  ArrowDown: { x: 0, y: -PAN_PX },
};

export class TopologyView {
  private readonly container = byId('graph');
  private picture: Picture | undefined;
  private isLarge = false;
  private query: Query | undefined;
  private selected: string | undefined;

  constructor(
    private readonly store: Store,
    private readonly onOpen: (nodeId: string) => void,
  ) {
    byId('fit').addEventListener('click', () => this.picture?.fit());
    byId('zoom-in').addEventListener('click', () => this.picture?.zoom(ZOOM_STEP));
    byId('zoom-out').addEventListener('click', () => this.picture?.zoom(1 / ZOOM_STEP));
    this.container.addEventListener('keydown', (event) => this.onKey(event));
    onThemeChange(() => this.picture?.restyle());
    new ResizeObserver(() => this.picture?.resize()).observe(this.container);
  }

  /** Takes over what has changed in the tables of nodes and edges. */
  update(): void {
    this.choose();
    this.picture?.update();
    this.summarize();
  }

  search(query: Query): void {
    this.query = query;
    this.picture?.search(query);
  }

  select(nodeId: string | undefined): void {
    this.selected = nodeId;
    this.picture?.select(nodeId);
  }

  /** Makes the picture that fits the size of the network, unless it is there. */
  private choose(): void {
    const { store, container } = this;
    const isLarge = store.nodes.size > (this.isLarge ? SMALL_AGAIN : SMALL);
    if (this.picture !== undefined && isLarge === this.isLarge) return;
    this.picture?.destroy();
    this.isLarge = isLarge;
    const Kind = isLarge ? CrowdPicture : GraphPicture;
    this.picture = new Kind(container, store, this.onOpen);
    if (this.query !== undefined) this.picture.search(this.query);
    this.picture.select(this.selected);
  }

  private onKey(event: KeyboardEvent): void {
    const pan = PANS[event.key];
    if (pan !== undefined) this.picture?.pan(pan);
    else if (event.key === '+' || event.key === '=') this.picture?.zoom(ZOOM_STEP);
    else if (event.key === '-') this.picture?.zoom(1 / ZOOM_STEP);
    else if (event.key === '0') this.picture?.fit();
    else return;
    event.preventDefault();
  }

  private summarize(): void {
    const { nodes, edges } = this.store;
    let relays = 0;
    let draining = 0;
    let lost = 0;
    for (const row of nodes.values()) {
      if (row.isRelay) relays++;
      if (row.isDraining) draining++;
      if (row.hops < 0) lost++;
    }
    const parts = [plural(nodes.size, 'node'), plural(edges.size, 'link'), plural(relays, 'relay')];
    if (draining > 0) parts.push(`${draining} draining`);
    if (lost > 0) parts.push(`${lost} without a way`);
    setText(byId('map-summary'), parts.join(' · '));
  }
}
