// Where the nodes of the topology are drawn: this node in the middle, and each other one on a ring for its distance, near the nodes by which it is reached.
// That takes a few ms for a thousand nodes. Small networks are then relaxed by forces, a few ms at a time.

export interface Point {
  x: number;
  y: number;
}

export interface Graph {
  /** The first one is in the middle. */
  readonly ids: readonly string[];
  neighbours(id: string): readonly string[];
}

const RING = 74;
const SPACING = 30;
const ROUNDS = 220;
const SLICE_MS = 5;
const LENGTH = 62;
/** Beyond this nodes do not push each other away. */
const REACH = 260;

/** Returns a place for each node. */
export function ringLayout({ ids, neighbours }: Graph): Map<string, Point> {
  const places = new Map<string, Point>();
  const [middle] = ids;
  if (middle === undefined) return places;
  const known = new Set(ids);
  const seen = new Set([middle]);
  const angles = new Map<string, number>([[middle, 0]]);
  places.set(middle, { x: 0, y: 0 });
  let ring = [middle];
  let radius = 0;
  const lost: string[] = [];
  while (ring.length > 0) {
    const next: { id: string; angle: number }[] = [];
    for (const [index, id] of ring.entries()) {
      const children = neighbours(id).filter((other) => known.has(other) && !seen.has(other));
      for (const [at, child] of children.entries()) {
        seen.add(child);
        // Around the middle they share the circle; further out they stay near their parent.
        const angle =
          id === middle
            ? (at / children.length) * 2 * Math.PI
            : (angles.get(id) ?? 0) + (at - (children.length - 1) / 2) * 0.01 + index * 1e-6;
        next.push({ id: child, angle });
      }
    }
    next.sort((one, other) => one.angle - other.angle);
    // A full ring becomes a band of several, so that the picture fills its space.
    const inner = radius + RING;
    let rows = 1;
    while (roomOf(inner, rows) < next.length) rows++;
    // Even distances around the circle, turned so that the nodes are near the angles that they asked for.
    const share = (2 * Math.PI) / Math.max(1, next.length);
    let turn = 0;
    for (const [at, { angle }] of next.entries()) turn += angle - at * share;
    turn /= Math.max(1, next.length);
    for (const [at, { id }] of next.entries()) {
      const angle = at * share + turn;
      const distance = inner + (at % rows) * SPACING;
      angles.set(id, angle);
      places.set(id, { x: distance * Math.cos(angle), y: distance * Math.sin(angle) });
    }
    if (next.length > 0) radius = inner + (rows - 1) * SPACING;
    ring = next.map(({ id }) => id);
  }
  for (const id of ids) if (!seen.has(id)) lost.push(id);
  // Those without a way are in rows below the rest.
  const perRow = Math.max(6, Math.ceil(Math.sqrt(lost.length * 4)));
  for (const [at, id] of lost.entries()) {
    const column = (at % perRow) - (Math.min(perRow, lost.length) - 1) / 2;
    places.set(id, { x: column * SPACING * 1.4, y: radius + RING + Math.floor(at / perRow) * SPACING });
  }
  return places;
}

/** Returns how many nodes fit on so many rings, of which the innermost has this radius. */
function roomOf(radius: number, rows: number): number {
  return (2 * Math.PI * rows * (radius + ((rows - 1) * SPACING) / 2)) / SPACING;
}

/** Improves places by forces; calls back with them after each slice. Returns a function that ends it. */
export function relax(
  { ids, neighbours }: Graph,
  places: Map<string, Point>,
  onSlice: (isDone: boolean) => void,
): () => void {
  const points = ids.map((id) => places.get(id) as Point);
  const index = new Map(ids.map((id, at) => [id, at]));
  const pairs: [number, number][] = [];
  const linked = ids.map((id) => neighbours(id).length > 0);
  for (const [at, id] of ids.entries()) {
    for (const other of neighbours(id)) {
      const to = index.get(other);
      if (to !== undefined && to > at) pairs.push([at, to]);
    }
  }
  let round = 0;
  let frame = 0;
  const slice = (): void => {
    const until = performance.now() + SLICE_MS;
    while (round < ROUNDS && performance.now() < until) step(points, pairs, linked, 1 - round++ / ROUNDS);
    const isDone = round >= ROUNDS;
    onSlice(isDone);
    if (!isDone) frame = requestAnimationFrame(slice);
  };
  frame = requestAnimationFrame(slice);
  return () => cancelAnimationFrame(frame);
}

function step(
  points: readonly Point[],
  pairs: ReadonlyArray<readonly [number, number]>,
  linked: readonly boolean[],
  heat: number,
): void {
  const moves = points.map(() => ({ x: 0, y: 0 }));
  for (let one = 0; one < points.length; one++) {
    for (let other = one + 1; other < points.length; other++) {
      const a = points[one] as Point;
      const b = points[other] as Point;
      const dx = a.x - b.x || 0.1;
      const dy = a.y - b.y || 0.1;
      const square = dx * dx + dy * dy;
      if (square > REACH * REACH) continue;
      const force = (LENGTH * LENGTH) / square;
      push(moves, one, dx * force, dy * force);
      push(moves, other, -dx * force, -dy * force);
    }
  }
  for (const [one, other] of pairs) {
    const a = points[one] as Point;
    const b = points[other] as Point;
    const dx = b.x - a.x;
    const dy = b.y - a.y;
    const force = 0.35 * (1 - LENGTH / (Math.hypot(dx, dy) || 1));
    push(moves, one, dx * force, dy * force);
    push(moves, other, -dx * force, -dy * force);
  }
  const limit = 4 + 26 * heat;
  for (const [at, point] of points.entries()) {
    // This node stays in the middle, and nodes without links where they are. Panes are wider than high.
    if (at === 0 || !linked[at]) continue;
    const move = moves[at] as Point;
    move.x -= point.x * 0.006;
    move.y -= point.y * 0.02;
    const length = Math.hypot(move.x, move.y);
    const scale = length > limit ? limit / length : 1;
    point.x += move.x * scale * 0.6;
    point.y += move.y * scale * 0.6;
  }
}

function push(moves: readonly Point[], at: number, x: number, y: number): void {
  const move = moves[at] as Point;
  move.x += x;
  move.y += y;
}
