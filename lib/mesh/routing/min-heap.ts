// A binary heap of nodes by distance, in typed arrays that are kept: a walk over ten thousand nodes allocates nothing.

import { grown } from './edge-lists.js';

export class MinHeap {
  size = 0;
  private keys = new Float64Array(1024);
  private nodes = new Int32Array(1024);

  /** The smallest key. Not to be read when empty. */
  get smallest(): number {
    return this.keys[0];
  }

  push(key: number, node: number): void {
    if (this.size === this.keys.length) this.grow();
    const { keys, nodes } = this;
    let at = this.size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (keys[parent] <= key) break;
      keys[at] = keys[parent];
      nodes[at] = nodes[parent];
      at = parent;
    }
    keys[at] = key;
    nodes[at] = node;
  }

  /** The node with the smallest key. Not to be called when empty. */
  pop(): number {
    const { keys, nodes } = this;
    const first = nodes[0];
    const size = --this.size;
    const key = keys[size];
    const node = nodes[size];
    let at = 0;
    for (let child = 1; child < size; child = 2 * at + 1) {
      if (child + 1 < size && keys[child + 1] < keys[child]) child++;
      if (keys[child] >= key) break;
      keys[at] = keys[child];
      nodes[at] = nodes[child];
      at = child;
    }
    keys[at] = key;
    nodes[at] = node;
    return first;
  }

  private grow(): void {
    this.keys = grown(this.keys, new Float64Array(2 * this.size));
    this.nodes = grown(this.nodes, new Int32Array(2 * this.size));
  }
}
