// The picture of a small network, by cytoscape. It follows the tables of nodes and edges; only what has changed is touched.

import cytoscape, { type Core, type ElementDefinition, type StylesheetJson } from 'cytoscape';
import type { NodeRow } from '../../snapshot.js';
import type { Query } from '../search.js';
import type { Store } from '../store.js';
import { colour } from '../theme.js';
import { type Graph, type Point, relax, ringLayout } from './layout.js';
import type { Picture } from './picture.js';

/** Pictures with more nodes show names only when they are large enough. */
const NAMED = 60;
const MARGIN = 24;

export class GraphPicture implements Picture {
  private readonly cy: Core;
  private stop: (() => void) | undefined;
  private isFirst = true;
  private readonly shown = new Map<string, string>();
  private query: Query | undefined;
  private selected: string | undefined;
  private wasMoved = false;
  private labelScale = 1;

  constructor(
    container: HTMLElement,
    private readonly store: Store,
    onOpen: (nodeId: string) => void,
  ) {
    this.cy = cytoscape({
      container,
      style: this.style(),
      minZoom: 0.1,
      maxZoom: 4,
      selectionType: 'single',
      boxSelectionEnabled: false,
    });
    this.cy.on('tap', 'node', ({ target }) => onOpen(target.id()));
    this.cy.on('dragpan scrollzoom pinchzoom grab', () => {
      this.wasMoved = true;
    });
  }

  /** Takes over what has changed in the tables of nodes and edges. */
  update(): void {
    const { store, cy } = this;
    let isReshaped = false;
    const added: ElementDefinition[] = [];
    cy.batch(() => {
      for (const row of store.nodes.values()) {
        const looks = `${row.name}\n${classesOf(row)}`;
        const before = this.shown.get(row.id);
        if (before === looks) continue;
        this.shown.set(row.id, looks);
        if (before === undefined) {
          added.push({ group: 'nodes', data: { id: row.id, label: row.name || row.id }, classes: classesOf(row) });
          isReshaped = true;
        } else {
          const shown = cy.getElementById(row.id);
          shown.data('label', row.name || row.id);
          shown.classes(`${classesOf(row)}${this.marks(row)}`);
        }
      }
      for (const edge of store.edges.values()) {
        if (this.shown.has(edge.id) || !store.nodes.has(edge.one) || !store.nodes.has(edge.other)) continue;
        this.shown.set(edge.id, '');
        const isOwn = edge.one === store.self.id || edge.other === store.self.id;
        added.push({
          group: 'edges',
          data: { id: edge.id, source: edge.one, target: edge.other },
          classes: isOwn ? 'own' : '',
        });
        isReshaped = true;
      }
      for (const id of this.shown.keys()) {
        const edge = store.edges.get(id);
        if (store.nodes.has(id) || (edge !== undefined && store.nodes.has(edge.one) && store.nodes.has(edge.other)))
          continue;
        this.shown.delete(id);
        cy.remove(cy.getElementById(id));
        isReshaped = true;
      }
      if (added.length > 0) {
        this.placeNew(added, cy);
        cy.add(added);
      }
    });
    if (isReshaped) {
      this.layout();
      if (this.query !== undefined && !this.query.isEmpty) this.search(this.query);
    }
  }

  /** Lets nodes that do not match stand back. */
  search(query: Query): void {
    this.query = query;
    const { cy } = this;
    cy.batch(() => {
      if (query.isEmpty) {
        cy.elements().removeClass('back');
        return;
      }
      for (const row of this.store.nodes.values()) cy.getElementById(row.id).toggleClass('back', !query.matches(row));
      cy.edges().addClass('back');
    });
  }

  /** Marks a node and its links. */
  select(nodeId: string | undefined): void {
    this.selected = nodeId;
    const { cy } = this;
    cy.batch(() => {
      cy.elements('.chosen').removeClass('chosen');
      if (nodeId === undefined) return;
      const node = cy.getElementById(nodeId);
      node.addClass('chosen').connectedEdges().addClass('chosen');
    });
  }

  fit(): void {
    const { cy } = this;
    this.wasMoved = false;
    cy.fit(undefined, MARGIN);
    // Names stay readable where there are not too many of them.
    const wanted = cy.nodes().length > NAMED ? 1 : Math.min(2, Math.max(1, 1 / cy.zoom()));
    if (Math.abs(wanted - this.labelScale) < 0.15) return;
    this.labelScale = wanted;
    cy.style(this.style());
  }

  zoom(factor: number): void {
    const { cy } = this;
    this.wasMoved = true;
    cy.zoom({ level: cy.zoom() * factor, renderedPosition: { x: cy.width() / 2, y: cy.height() / 2 } });
  }

  pan(by: Point): void {
    this.wasMoved = true;
    this.cy.panBy(by);
  }

  resize(): void {
    this.cy.resize();
    if (!this.wasMoved) this.fit();
  }

  restyle(): void {
    this.cy.style(this.style());
  }

  destroy(): void {
    this.stop?.();
    this.cy.destroy();
  }

  private marks({ id }: NodeRow): string {
    return id === this.selected ? ' chosen' : '';
  }

  /** New nodes begin near a node that they are linked to. */
  private placeNew(added: readonly ElementDefinition[], cy: Core): void {
    for (const one of added) {
      if (one.group !== 'nodes') continue;
      const id = one.data.id as string;
      const near = this.store.neighbours(id).find((other) => cy.getElementById(other).nonempty());
      const at = near === undefined ? { x: 0, y: 0 } : cy.getElementById(near).position();
      one.position = { x: at.x + ((added.length * 37) % 60) - 30, y: at.y + 45 };
    }
  }

  private layout(): void {
    const { store } = this;
    this.stop?.();
    const self = store.self.id;
    const others = [...store.nodes.keys()].filter((id) => id !== self).sort();
    const graph: Graph = {
      ids: store.nodes.has(self) ? [self, ...others] : others,
      neighbours: (id) => store.neighbours(id),
    };
    let places = ringLayout(graph);
    if (this.isFirst) this.place(places);
    else places = this.current(graph.ids, places);
    this.isFirst = false;
    this.stop = relax(graph, places, (isDone) => {
      this.place(places);
      if (isDone) this.stop = undefined;
    });
  }

  /** A picture that is there already changes from where it is. */
  private current(ids: readonly string[], fallback: Map<string, Point>): Map<string, Point> {
    const middle = this.middle();
    return new Map(
      ids.map((id) => {
        const shown = this.cy.getElementById(id);
        const at = shown.nonempty() ? shown.position() : (fallback.get(id) as Point);
        return [id, { x: at.x - middle.x, y: at.y - middle.y }];
      }),
    );
  }

  private middle(): Point {
    const self = this.cy.getElementById(this.store.self.id);
    return self.nonempty() ? self.position() : { x: 0, y: 0 };
  }

  private place(places: ReadonlyMap<string, Point>): void {
    const { cy } = this;
    cy.batch(() => {
      for (const [id, { x, y }] of places) cy.getElementById(id).position({ x, y });
    });
    if (!this.wasMoved) this.fit();
  }

  private style(): StylesheetJson {
    return [
      {
        selector: 'node',
        style: {
          width: 15,
          height: 15,
          'background-color': colour('--surface'),
          'border-width': 2,
          'border-color': colour('--node'),
          label: 'data(label)',
          color: colour('--ink'),
          'font-size': 11 * this.labelScale,
          'font-family': 'system-ui, sans-serif',
          'text-valign': 'bottom',
          'text-margin-y': 4,
          'text-max-width': `${110 * this.labelScale}px`,
          'text-wrap': 'ellipsis',
          'min-zoomed-font-size': 7.5,
          'text-background-color': colour('--surface'),
          'text-background-opacity': 0.75,
          'text-background-padding': '1px',
        },
      },
      { selector: 'node.relay', style: { 'background-color': colour('--node') } },
      {
        selector: 'node.draining',
        style: { 'border-color': colour('--warn'), 'border-style': 'dashed' },
      },
      { selector: 'node.draining.relay', style: { 'background-color': colour('--warn-soft') } },
      { selector: 'node.lost', style: { 'border-color': colour('--faint'), 'background-color': colour('--surface') } },
      {
        selector: 'node.self',
        style: {
          width: 26,
          height: 26,
          'background-color': colour('--accent'),
          'border-color': colour('--accent-soft'),
          'border-width': 5,
          'font-weight': 'bold',
          'z-index': 10,
        },
      },
      {
        selector: 'edge',
        style: {
          width: 1.4,
          'line-color': colour('--edge'),
          'curve-style': 'haystack',
          'haystack-radius': 0,
          opacity: 1,
        },
      },
      { selector: 'edge.own', style: { 'line-color': colour('--accent'), width: 2.2, opacity: 0.85 } },
      { selector: '.back', style: { opacity: 0.12 } },
      { selector: 'node.chosen', style: { 'border-color': colour('--accent'), 'border-width': 4, opacity: 1 } },
      { selector: 'edge.chosen', style: { 'line-color': colour('--accent'), width: 2.6, opacity: 1 } },
    ];
  }
}

function classesOf({ isSelf, isRelay, isDraining, hops }: NodeRow): string {
  const classes = [isSelf ? 'self' : '', isRelay ? 'relay' : '', isDraining ? 'draining' : '', hops < 0 ? 'lost' : ''];
  return classes.filter((name) => name !== '').join(' ');
}
