// The picture of a large network: dots and lines on a canvas, drawn as a whole in a few ms, at most once for each frame.

import type { NodeRow } from '../../snapshot.js';
import { element } from '../dom.js';
import type { Query } from '../search.js';
import type { Store } from '../store.js';
import { colour } from '../theme.js';
import { type Point, ringLayout } from './layout.js';
import type { Picture } from './picture.js';

const DOT = 7.5;
const MARGIN = 24;
const MIN_ZOOM = 0.02;
const MAX_ZOOM = 4;
/** From this zoom on nodes have their names, as long as not too many are in sight. */
const NAMES_FROM = 0.8;
const MAX_NAMES = 150;
/** How far from a dot a click may be, in px. */
const REACH_PX = 12;
/** A shorter way of the pointer is a click. */
const CLICK_PX = 4;
/** The network is laid out again at most this often. */
const RELAYOUT_MS = 4_000;
const WHEEL_SPEED = 0.0015;

export class CrowdPicture implements Picture {
  private readonly canvas = element('canvas', { class: 'crowd' });
  private readonly context = this.canvas.getContext('2d') as CanvasRenderingContext2D;
  private places = new Map<string, Point>();
  private center: Point = { x: 0, y: 0 };
  private scale = 1;
  private query: Query | undefined;
  private chosen: string | undefined;
  private hovered: string | undefined;
  private isFitted = true;
  private frame = 0;
  private layoutAt = Number.NEGATIVE_INFINITY;
  private later: ReturnType<typeof setTimeout> | undefined;
  private shape = '';
  private readonly pointers = new Map<number, Point>();
  private way = 0;

  constructor(
    private readonly container: HTMLElement,
    private readonly store: Store,
    private readonly onOpen: (nodeId: string) => void,
  ) {
    container.replaceChildren(this.canvas);
    const { canvas } = this;
    canvas.addEventListener('pointerdown', (event) => this.onDown(event));
    canvas.addEventListener('pointermove', (event) => this.onMove(event));
    canvas.addEventListener('pointerup', (event) => this.onUp(event));
    canvas.addEventListener('pointercancel', ({ pointerId }) => this.pointers.delete(pointerId));
    canvas.addEventListener('wheel', (event) => this.onWheel(event), { passive: false });
    this.resize();
  }

  update(): void {
    const shape = this.shapeNow();
    if (shape !== this.shape) {
      this.shape = shape;
      this.layoutSoon();
    }
    this.drawSoon();
  }

  search(query: Query): void {
    this.query = query.isEmpty ? undefined : query;
    this.drawSoon();
  }

  select(nodeId: string | undefined): void {
    this.chosen = nodeId;
    this.drawSoon();
  }

  fit(): void {
    this.isFitted = true;
    let left = 0;
    let right = 0;
    let top = 0;
    let bottom = 0;
    for (const { x, y } of this.places.values()) {
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
    const { clientWidth, clientHeight } = this.container;
    const scale = Math.min(
      (clientWidth - 2 * MARGIN) / (right - left || 1),
      (clientHeight - 2 * MARGIN) / (bottom - top || 1),
    );
    this.scale = Math.min(MAX_ZOOM / 2, Math.max(MIN_ZOOM, scale));
    this.center = { x: (left + right) / 2, y: (top + bottom) / 2 };
    this.drawSoon();
  }

  zoom(factor: number): void {
    this.zoomAt(factor, { x: this.container.clientWidth / 2, y: this.container.clientHeight / 2 });
  }

  pan({ x, y }: Point): void {
    this.isFitted = false;
    this.center = { x: this.center.x - x / this.scale, y: this.center.y - y / this.scale };
    this.drawSoon();
  }

  resize(): void {
    const { clientWidth, clientHeight } = this.container;
    const ratio = Math.min(2, devicePixelRatio);
    this.canvas.width = Math.max(1, Math.round(clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(clientHeight * ratio));
    if (this.isFitted) this.fit();
    this.drawSoon();
  }

  restyle(): void {
    this.drawSoon();
  }

  destroy(): void {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.later);
    this.canvas.remove();
  }

  /** Returns a text that differs when nodes or edges have come or gone, nearly always. */
  private shapeNow(): string {
    const { nodes, edges } = this.store;
    let sum = 0;
    for (const id of nodes.keys()) sum = (sum * 31 + hashOf(id)) | 0;
    for (const id of edges.keys()) sum = (sum * 31 + hashOf(id)) | 0;
    return `${nodes.size} ${edges.size} ${sum}`;
  }

  private layoutSoon(): void {
    clearTimeout(this.later);
    const waitMs = this.layoutAt + RELAYOUT_MS - performance.now();
    if (waitMs <= 0) this.layout();
    else this.later = setTimeout(() => this.layout(), waitMs);
  }

  private layout(): void {
    const { store } = this;
    const self = store.self.id;
    const others = [...store.nodes.keys()].filter((id) => id !== self).sort();
    this.places = ringLayout({
      ids: store.nodes.has(self) ? [self, ...others] : others,
      neighbours: (id) => store.neighbours(id),
    });
    this.layoutAt = performance.now();
    if (this.isFitted) this.fit();
    this.drawSoon();
  }

  private drawSoon(): void {
    if (this.frame !== 0) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  private draw(): void {
    const { context, canvas, container } = this;
    const ratio = canvas.width / Math.max(1, container.clientWidth);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.drawEdges();
    this.drawNodes();
    this.drawNames();
  }

  private drawEdges(): void {
    const { context, store, chosen } = this;
    const self = store.self.id;
    const plain = new Path2D();
    const own = new Path2D();
    const marked = new Path2D();
    for (const { one, other } of store.edges.values()) {
      const from = this.places.get(one);
      const to = this.places.get(other);
      if (from === undefined || to === undefined) continue;
      const isMarked = one === chosen || other === chosen;
      const path = isMarked ? marked : one === self || other === self ? own : plain;
      const a = this.onScreen(from);
      const b = this.onScreen(to);
      path.moveTo(a.x, a.y);
      path.lineTo(b.x, b.y);
    }
    const isBack = this.query !== undefined;
    context.lineWidth = 0.7;
    context.globalAlpha = isBack ? 0.12 : 0.45;
    context.strokeStyle = colour('--edge');
    context.stroke(plain);
    context.lineWidth = 1.1;
    context.globalAlpha = isBack ? 0.2 : 0.8;
    context.strokeStyle = colour('--accent');
    context.stroke(own);
    context.lineWidth = 1.8;
    context.globalAlpha = 1;
    context.stroke(marked);
  }

  private drawNodes(): void {
    const { context, store } = this;
    const radius = this.radius;
    // One path for each look: a call for each node would take ten times as long.
    const paths = new Map<string, Path2D>();
    let self: Point | undefined;
    for (const row of store.nodes.values()) {
      const place = this.places.get(row.id);
      if (place === undefined) continue;
      const { x, y } = this.onScreen(place);
      if (row.isSelf) self = { x, y };
      const look = this.lookOf(row);
      let path = paths.get(look);
      if (path === undefined) {
        path = new Path2D();
        paths.set(look, path);
      }
      path.moveTo(x + radius, y);
      path.arc(x, y, radius, 0, 2 * Math.PI);
    }
    context.lineWidth = Math.max(0.8, radius * 0.25);
    for (const [look, path] of paths) {
      const [fill, stroke, isBack] = look.split(' ') as [string, string, string];
      context.globalAlpha = isBack === 'back' ? 0.15 : 1;
      context.fillStyle = colour(fill);
      context.strokeStyle = colour(stroke);
      context.fill(path);
      context.stroke(path);
    }
    context.globalAlpha = 1;
    if (self === undefined) return;
    context.fillStyle = colour('--accent');
    context.strokeStyle = colour('--accent-soft');
    context.lineWidth = 3;
    context.beginPath();
    context.arc(self.x, self.y, Math.max(6, radius * 1.6), 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }

  private lookOf(row: NodeRow): string {
    const back = this.query !== undefined && !this.query.matches(row) ? 'back' : '';
    const border =
      row.id === this.chosen ? '--accent' : row.hops < 0 ? '--faint' : row.isDraining ? '--warn' : '--node';
    const fill = row.hops < 0 || !row.isRelay ? '--surface' : row.isDraining ? '--warn-soft' : '--node';
    return `${fill} ${border} ${back}`;
  }

  private drawNames(): void {
    const { context, store } = this;
    const named = new Set<string>();
    if (this.chosen !== undefined) named.add(this.chosen);
    if (this.hovered !== undefined) named.add(this.hovered);
    for (const id of this.namesInSight()) named.add(id);
    context.font = '11px system-ui, sans-serif';
    context.textAlign = 'center';
    context.textBaseline = 'top';
    context.lineWidth = 3;
    context.lineJoin = 'round';
    context.strokeStyle = colour('--surface');
    context.fillStyle = colour('--ink');
    for (const id of named) {
      const place = this.places.get(id);
      if (place === undefined) continue;
      const { x, y } = this.onScreen(place);
      const text = store.label(id);
      context.strokeText(text, x, y + this.radius + 3);
      context.fillText(text, x, y + this.radius + 3);
    }
  }

  /** Returns ids of nodes that get a name: those in sight, or those that match the search, if they are few. */
  private namesInSight(): readonly string[] {
    const { clientWidth, clientHeight } = this.container;
    const { query, store } = this;
    if (query === undefined && this.scale < NAMES_FROM) return [];
    const found: string[] = [];
    for (const [id, place] of this.places) {
      const { x, y } = this.onScreen(place);
      if (x < 0 || y < 0 || x > clientWidth || y > clientHeight) continue;
      const row = store.nodes.get(id);
      if (row === undefined || (query !== undefined && !query.matches(row))) continue;
      found.push(id);
      if (found.length > (query === undefined ? MAX_NAMES : MAX_NAMES / 5)) return [];
    }
    return found;
  }

  private get radius(): number {
    return Math.max(1.8, DOT * Math.min(1.2, this.scale));
  }

  private onScreen({ x, y }: Point): Point {
    return {
      x: (x - this.center.x) * this.scale + this.container.clientWidth / 2,
      y: (y - this.center.y) * this.scale + this.container.clientHeight / 2,
    };
  }

  /** Zooms so that what is at a point of the pane stays there. */
  private zoomAt(factor: number, at: Point): void {
    const scale = Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, this.scale * factor));
    const x = at.x - this.container.clientWidth / 2;
    const y = at.y - this.container.clientHeight / 2;
    this.center = {
      x: this.center.x + x / this.scale - x / scale,
      y: this.center.y + y / this.scale - y / scale,
    };
    this.scale = scale;
    this.isFitted = false;
    this.drawSoon();
  }

  private onWheel(event: WheelEvent): void {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1;
    this.zoomAt(Math.exp(-event.deltaY * lines * WHEEL_SPEED), this.pointOf(event));
  }

  private onDown(event: PointerEvent): void {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.pointOf(event));
    if (this.pointers.size === 1) this.way = 0;
  }

  private onMove(event: PointerEvent): void {
    const now = this.pointOf(event);
    const before = this.pointers.get(event.pointerId);
    if (before === undefined) {
      this.hover(this.nearest(now));
      return;
    }
    const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId);
    if (other !== undefined) {
      // Two fingers: their distance zooms.
      const [, still] = other;
      const length = Math.hypot(before.x - still.x, before.y - still.y);
      if (length > 0) this.zoomAt(Math.hypot(now.x - still.x, now.y - still.y) / length, still);
    } else this.pan({ x: now.x - before.x, y: now.y - before.y });
    this.way += Math.hypot(now.x - before.x, now.y - before.y);
    this.pointers.set(event.pointerId, now);
  }

  private onUp(event: PointerEvent): void {
    this.pointers.delete(event.pointerId);
    if (this.way > CLICK_PX || this.pointers.size > 0) return;
    const id = this.nearest(this.pointOf(event));
    if (id !== undefined) this.onOpen(id);
  }

  private hover(id: string | undefined): void {
    if (id === this.hovered) return;
    this.hovered = id;
    this.canvas.classList.toggle('pointing', id !== undefined);
    this.drawSoon();
  }

  private nearest(at: Point): string | undefined {
    let found: string | undefined;
    let best = REACH_PX;
    for (const [id, place] of this.places) {
      const { x, y } = this.onScreen(place);
      const distance = Math.hypot(x - at.x, y - at.y);
      if (distance >= best || !this.store.nodes.has(id)) continue;
      best = distance;
      found = id;
    }
    return found;
  }

  private pointOf({ clientX, clientY }: MouseEvent): Point {
    const { left, top } = this.canvas.getBoundingClientRect();
    return { x: clientX - left, y: clientY - top };
  }
}

function hashOf(text: string): number {
  let hash = 0;
  for (let at = 0; at < text.length; at++) hash = (hash * 31 + text.charCodeAt(at)) | 0;
  return hash;
}
