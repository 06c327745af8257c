// The edges of meshes: pairs of indices, the first joins the second.

export type Edge = readonly [number, number];

export function line(nodes: number): Edge[] {
  return Array.from({ length: nodes - 1 }, (_, index) => [index + 1, index] as const);
}

export function ring(nodes: number): Edge[] {
  return [...line(nodes), [0, nodes - 1]];
}

/** A tree of random shape, so that all is connected, and `extra` more edges; the same for the same seed. */
export function randomGraph(nodes: number, extra: number, seed: number): Edge[] {
  let state = seed;
  const below = (limit: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  const edges: Edge[] = Array.from({ length: nodes - 1 }, (_, index) => [index + 1, below(index + 1)] as const);
  while (edges.length < nodes - 1 + extra) {
    const [one, other] = [below(nodes), below(nodes)];
    if (one <= other || edges.some(([a, b]) => a === one && b === other)) continue;
    edges.push([one, other]);
  }
  return edges;
}

/** Whether `from` still reaches `to` when the nodes in `without` are gone. */
export function isConnected(edges: readonly Edge[], from: number, to: number, without: ReadonlySet<number>): boolean {
  const reached = new Set([from]);
  for (const node of reached) {
    for (const [one, other] of edges) {
      const next = one === node ? other : other === node ? one : undefined;
      if (next !== undefined && !without.has(next)) reached.add(next);
    }
  }
  return reached.has(to);
}
