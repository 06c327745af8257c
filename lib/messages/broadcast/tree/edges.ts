// Which neighbours get the messages of a tree, and which get announcements only. All origins share one tree, and each origin that sends more
// has another one. A tree is the set of neighbours that are lazy in it. At first all neighbours are eager, so the first message of a tree
// goes to all of them, and the duplicates show which paths are superfluous.

import { RecentMap } from '../../../util/recent-map.js';

/** Messages in a row that must have been had sooner by the same other neighbour. */
const TIMES = 4;

export class Edges {
  readonly lazy = new Set<string>();
  /** The neighbour that brought the last message, in the tree of one origin. */
  parent: string | undefined;
  /** Whether that one has gone, so that nobody brings the next message by itself. */
  isOrphan = false;
  private rival: { readonly peer: string; readonly parent: string; times: number } | undefined;

  isEager(peer: string): boolean {
    return !this.lazy.has(peer);
  }

  /** Notes that `peer` had a message sooner than `parent` brought it. True when it shall take its place. */
  isBetter(peer: string, parent: string): boolean {
    const { rival } = this;
    if (rival === undefined || rival.peer !== peer || rival.parent !== parent) {
      this.rival = { peer, parent, times: 1 };
      return false;
    }
    if (++rival.times < TIMES) return false;
    this.rival = undefined;
    return true;
  }
}

/** The name of the tree that all origins share. */
const SHARED = '';

export class Trees {
  private readonly own: RecentMap<string, Edges>;
  readonly shared = new Edges();

  constructor(limit: number) {
    this.own = new RecentMap(limit);
  }

  of(origin: string, own: boolean): Edges {
    const key = own ? origin : SHARED;
    if (key === SHARED) return this.shared;
    let edges = this.own.get(key);
    if (edges === undefined) {
      edges = new Edges();
      this.own.set(key, edges);
    }
    return edges;
  }

  /** Returns the edges of a tree that has carried a message; undefined of another one. */
  known(origin: string, own: boolean): Edges | undefined {
    return own ? this.own.peek(origin) : this.shared;
  }

  *values(): IterableIterator<Edges> {
    yield this.shared;
    yield* this.own.values();
  }

  /** A neighbour is gone: it is eager again when it comes back. */
  drop(peer: string): void {
    for (const edges of this.values()) {
      edges.lazy.delete(peer);
      if (edges.parent !== peer) continue;
      edges.parent = undefined;
      edges.isOrphan = true;
    }
  }
}
