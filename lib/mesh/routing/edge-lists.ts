// The edges of a graph of dense indexes, packed: those of a node lie side by side in one pool, in a block with room for a power
// of two of them. A block that is too small moves, and its old place is reused.
//
//   starts, degrees   node -> where its block begins, and how many edges it has
//   peers, weights    the pool: the other end of an edge, and its weight

const MIN_ROOM = 4;
/** A node record lists no more, so no node has more. */
const ROOM_CLASSES = 6;

/** Undirected: each edge is in the lists of both its ends, with the same weight. Weights are positive 32 bit integers. */
export class EdgeLists {
  /** All arrays are replaced when they grow: they must be read again for each walk. */
  peers: Int32Array = new Int32Array(64);
  weights: Uint32Array = new Uint32Array(64);
  starts: Int32Array = new Int32Array(16);
  degrees: Uint8Array = new Uint8Array(16);
  private rooms = new Uint8Array(16);
  private readonly freeBlocks: number[][] = Array.from({ length: ROOM_CLASSES }, () => []);
  private end = 0;

  /** Makes room for the nodes below `size`. */
  reserve(size: number): void {
    if (size <= this.starts.length) return;
    const length = roundUp(size);
    this.starts = grown(this.starts, new Int32Array(length));
    this.degrees = grown(this.degrees, new Uint8Array(length));
    this.rooms = grown(this.rooms, new Uint8Array(length));
  }

  /** Returns 0 when there is no such edge. */
  weightOf(from: number, to: number): number {
    const at = this.find(from, to);
    return at < 0 ? 0 : this.weights[at];
  }

  /** Sets the weight of an edge; 0 removes it. */
  set(one: number, other: number, weight: number): void {
    this.setHalf(one, other, weight);
    this.setHalf(other, one, weight);
  }

  private setHalf(from: number, to: number, weight: number): void {
    const at = this.find(from, to);
    if (weight === 0) {
      if (at >= 0) this.removeAt(from, at);
      return;
    }
    if (at >= 0) this.weights[at] = weight;
    else this.append(from, to, weight);
  }

  private find(from: number, to: number): number {
    const { peers } = this;
    const end = this.starts[from] + this.degrees[from];
    for (let at = this.starts[from]; at < end; at++) {
      if (peers[at] === to) return at;
    }
    return -1;
  }

  private append(from: number, to: number, weight: number): void {
    const degree = this.degrees[from];
    if (degree === this.rooms[from]) this.move(from, degree === 0 ? MIN_ROOM : degree * 2);
    const at = this.starts[from] + degree;
    this.peers[at] = to;
    this.weights[at] = weight;
    this.degrees[from] = degree + 1;
  }

  /** The order does not matter, so the last edge takes the free place. */
  private removeAt(from: number, at: number): void {
    const last = this.starts[from] + --this.degrees[from];
    this.peers[at] = this.peers[last];
    this.weights[at] = this.weights[last];
    if (this.degrees[from] > 0) return;
    this.release(from);
    this.rooms[from] = 0;
  }

  private move(from: number, room: number): void {
    const start = this.take(room);
    const old = this.starts[from];
    const degree = this.degrees[from];
    this.peers.copyWithin(start, old, old + degree);
    this.weights.copyWithin(start, old, old + degree);
    this.release(from);
    this.starts[from] = start;
    this.rooms[from] = room;
  }

  private take(room: number): number {
    const free = this.freeBlocks[classOf(room)].pop();
    if (free !== undefined) return free;
    const start = this.end;
    this.end += room;
    if (this.end > this.peers.length) {
      const length = roundUp(this.end);
      this.peers = grown(this.peers, new Int32Array(length));
      this.weights = grown(this.weights, new Uint32Array(length));
    }
    return start;
  }

  private release(from: number): void {
    const room = this.rooms[from];
    if (room > 0) this.freeBlocks[classOf(room)].push(this.starts[from]);
  }
}

/** Returns a quarter more than is needed, so that a graph that grows by one does not copy everything each time. */
export function roundUp(size: number): number {
  return (Math.ceil(size * 1.25) + 15) & ~15;
}

export function grown<A extends Int32Array | Uint32Array | Uint8Array | Float64Array>(from: A, to: A): A {
  to.set(from);
  return to;
}

function classOf(room: number): number {
  return 29 - Math.clz32(room);
}
