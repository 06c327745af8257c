import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type HopFailure, HopSearch, isFinal } from '../../../lib/circuit/open/hop-search.js';
import type { Routes } from '../../../lib/circuit/paths.js';
import { MAX_VISITED } from '../../../lib/wire/node-ids.js';
import { ReplyCode } from '../../../lib/wire/open-reply.js';
import { type Edge, Graph, GraphRoutes } from '../../support/graph-routes.js';

/** Routes with the same neighbours for every node, which note rewards and penalties. */
class ListedRoutes implements Routes {
  readonly told: string[] = [];

  constructor(private readonly neighbours: readonly string[]) {}

  nextHops(): readonly string[] {
    return this.neighbours;
  }

  route(): undefined {
    return undefined;
  }

  penalise(neighbour: string, dst: string): void {
    this.told.push(`penalise ${neighbour} ${dst}`);
  }

  reward(neighbour: string, dst: string): void {
    this.told.push(`reward ${neighbour} ${dst}`);
  }
}

const isUp = (): boolean => true;

function failure(code: number, at = 'X'): HopFailure {
  return { code, at, reason: '' };
}

/** A relay R on the way from S to D, behind P. */
function relay(neighbours: string[], tried: string[] = []): { search: HopSearch; routes: ListedRoutes } {
  const routes = new ListedRoutes(neighbours);
  const start = { self: 'R', src: 'S', dst: 'D', circuitHash: 1, passed: ['P'], tried };
  return { search: new HopSearch(start, routes), routes };
}

describe('A search for the next hop', () => {
  it('takes the neighbours in their order, three at most', () => {
    const { search, routes } = relay(['A', 'B', 'C', 'E']);
    const others: boolean[] = [];
    for (const neighbour of ['A', 'B', 'C']) {
      expect(search.next(isUp)).toBe(neighbour);
      others.push(search.hasOthers);
      expect(search.failed(failure(ReplyCode.NO_ROUTE), [])).toBe(true);
    }
    expect(others).toEqual([true, true, false]);
    expect(search.next(isUp)).toBeUndefined();
    expect(routes.told).toEqual(['penalise A D', 'penalise B D', 'penalise C D']);
  });

  it('never goes back: not to this node, the source, a node passed, or one that led nowhere', () => {
    const { search } = relay(['R', 'S', 'P', 'T', 'A', 'B', 'C'], ['T']);
    expect(search.next(isUp)).toBe('A');
    search.failed(failure(ReplyCode.NO_ROUTE), ['A', 'B', 'far']);
    expect(search.next(isUp)).toBe('C');
    expect(search.visited).toEqual(['T', 'A', 'B', 'far', 'P', 'R']);
    expect(search.relays).toBe(2);
    search.failed(failure(ReplyCode.NO_ROUTE), []);
    expect(search.tried).toEqual(['T', 'A', 'B', 'far', 'C', 'R']);
  });

  it('passes over neighbours that take no streams', () => {
    const { search } = relay(['A', 'B']);
    expect(search.next((neighbour) => neighbour !== 'A')).toBe('B');
    expect(search.hasOthers).toBe(false);
  });

  it('does not call the destination dead because one link to it is', () => {
    const { search } = relay(['D', 'A'], ['D']);
    expect(search.next(isUp)).toBe('D');
    search.failed(failure(ReplyCode.TIMEOUT, 'R'), ['D']);
    expect(search.next(isUp)).toBe('A');
    expect(search.visited).toEqual(['P', 'R']);
    search.failed(failure(ReplyCode.NO_ROUTE), ['A', 'D']);
    expect(search.tried).toEqual(['A', 'R']);
  });

  it('at the source names only nodes that led nowhere', () => {
    const start = { self: 'S', src: 'S', dst: 'D', circuitHash: 1, passed: [], tried: [] };
    const search = new HopSearch(start, new ListedRoutes(['A', 'B']));
    search.next(isUp);
    expect([search.visited, search.relays]).toEqual([[], 0]);
    search.failed(failure(ReplyCode.NO_ROUTE), []);
    search.next(isUp);
    expect([search.visited, search.relays]).toEqual([['A'], 0]);
  });

  it.each([
    ['refused', failure(ReplyCode.REFUSED, 'D')],
    ['denied by the destination', failure(ReplyCode.DENIED, 'D')],
    ['malformed', failure(ReplyCode.MALFORMED)],
    ['a limit of the destination', failure(ReplyCode.LIMIT, 'D')],
    ['something that a later version says', failure(99)],
  ])('ends at once with %s', (_what, last) => {
    const { search, routes } = relay(['A', 'B']);
    search.next(isUp);
    expect(search.failed(last, [])).toBe(false);
    expect(search.failure).toBe(last);
    expect(isFinal(last, 'D')).toBe(true);
    // A neighbour that brings an answer of the destination knows a way to it.
    expect(routes.told).toEqual(last.at === 'D' ? ['reward A D'] : []);
  });

  it('goes on when a relay denies the circuit, without blaming it for circuits of others', () => {
    const { search, routes } = relay(['A', 'B']);
    const denied = failure(ReplyCode.DENIED, 'A');
    search.next(isUp);
    expect(search.failed(denied, ['A'])).toBe(true);
    expect(search.next(isUp)).toBe('B');
    expect(search.failed(failure(ReplyCode.NO_ROUTE), [])).toBe(true);
    expect(search.failure).toBe(denied);
    expect(routes.told).toEqual(['penalise B D']);
  });

  it('at the source tries a neighbour that denies the circuit last', () => {
    const routes = new ListedRoutes(['A', 'B']);
    const start = { self: 'S', src: 'S', dst: 'D', circuitHash: 1, passed: [], tried: [] };
    const search = new HopSearch(start, routes);
    search.next(isUp);
    search.failed(failure(ReplyCode.DENIED, 'A'), ['A']);
    expect(routes.told).toEqual(['penalise A D']);
  });

  it('penalises a neighbour for its own faults only', () => {
    const { search, routes } = relay(['A', 'B', 'C']);
    for (const code of [ReplyCode.LOOP, ReplyCode.HOP_LIMIT, ReplyCode.LIMIT]) {
      search.next(isUp);
      expect(search.failed(failure(code), [])).toBe(true);
    }
    expect(routes.told).toEqual(['penalise C D']);
  });

  it('reports the failure that says most', () => {
    const { LOOP, NO_ROUTE, DENIED, TIMEOUT, LIMIT } = ReplyCode;
    const codes = [LOOP, NO_ROUTE, DENIED, TIMEOUT, LIMIT, NO_ROUTE];
    const routes = new ListedRoutes(['A', 'B', 'C', 'E', 'F', 'G']);
    const start = { self: 'R', src: 'S', dst: 'D', circuitHash: 1, passed: ['P'], tried: [] };
    const search = new HopSearch(start, routes, 6);
    const told: number[] = [search.failure.code];
    for (const code of codes) {
      search.next(isUp);
      search.failed(failure(code), []);
      told.push(search.failure.code);
    }
    expect(told).toEqual([NO_ROUTE, LOOP, NO_ROUTE, DENIED, TIMEOUT, LIMIT, LIMIT]);
  });

  it('rewards the neighbour that has led there, and penalises none when the time is up', () => {
    const { search, routes } = relay(['A']);
    search.next(isUp);
    search.accepted();
    expect(routes.told).toEqual(['reward A D']);
    const other = relay(['A']);
    other.search.next(isUp);
    other.search.expired();
    expect(other.search.failure).toMatchObject({ code: ReplyCode.TIMEOUT, at: 'R' });
    expect(other.routes.told).toEqual([]);
  });

  it('ends when no more nodes fit the list, whatever a neighbour claims to have tried', () => {
    const { search } = relay(['A', 'B']);
    search.next(isUp);
    expect(
      search.failed(
        failure(ReplyCode.NO_ROUTE),
        Array.from({ length: 100 }, (_, index) => `made up ${index}`),
      ),
    ).toBe(true);
    expect(search.next(isUp)).toBeUndefined();
    expect(search.tried).toHaveLength(MAX_VISITED);
    expect(search.tried.at(-1)).toBe('R');
  });
});

/** A circuit through a graph, as nodes that use the search would try to make it. */
class Trial {
  /** Nodes that it has come to: they recognise it if it comes again. */
  readonly visits = new Set<string>();
  loops = 0;
  attempts = 0;

  constructor(
    private readonly graph: Graph,
    private readonly dead: ReadonlySet<string>,
    /** Neighbours that lie about what they have tried. */
    private readonly liars: ReadonlySet<string> = new Set(),
  ) {}

  run(src: string, dst: string): { path?: string[]; code: number } {
    return this.step(src, src, dst, [], [], 16);
  }

  private step(
    self: string,
    src: string,
    dst: string,
    passed: readonly string[],
    tried: readonly string[],
    hopLimit: number,
  ): { path?: string[]; code: number; at: string; visited: readonly string[] } {
    if (self === dst) return { path: [], code: 0, at: self, visited: [] };
    if (hopLimit < 0) return { code: ReplyCode.HOP_LIMIT, at: self, visited: [self] };
    if (this.visits.has(self)) {
      this.loops++;
      return { code: ReplyCode.LOOP, at: self, visited: [self] };
    }
    this.visits.add(self);
    const search = new HopSearch({ self, src, dst, circuitHash: 7, passed, tried }, new GraphRoutes(self, this.graph));
    for (let next = search.next(isUp); next !== undefined; next = search.next(isUp)) {
      this.attempts++;
      const { visited, relays } = search;
      expect(new Set(visited).size).toBe(visited.length);
      expect(visited.length).toBeLessThanOrEqual(MAX_VISITED);
      expect(visited).not.toContain(next);
      expect([self, src]).not.toContain(next);
      const answer = this.dead.has(next)
        ? { code: ReplyCode.TIMEOUT, at: self, visited: [] }
        : this.step(
            next,
            src,
            dst,
            visited.slice(visited.length - relays),
            visited.slice(0, visited.length - relays),
            hopLimit - 1,
          );
      if (answer.code === 0) return { ...answer, path: [next, ...(answer.path as string[])] };
      const told = this.liars.has(next) ? [] : answer.visited;
      if (!search.failed({ code: answer.code, at: answer.at, reason: '' }, told)) break;
    }
    return { code: search.failure.code, at: search.failure.at, visited: search.tried };
  }
}

/** A graph of up to 24 nodes, any of which may be dead. */
const graphs = fc.integer({ min: 2, max: 24 }).chain((size) => {
  const node = fc.nat(size - 1);
  return fc.record({
    size: fc.constant(size),
    edges: fc.array(fc.tuple(node, node), { minLength: size, maxLength: size * 3 }) as fc.Arbitrary<Edge[]>,
    dead: fc.array(node, { maxLength: Math.floor(size / 3) }),
  });
});

describe('Searches all the way', () => {
  const idOf = (index: number): string => `n${index}`;

  it('never come to a node twice, and try no more nodes than there are', () => {
    fc.assert(
      fc.property(graphs, ({ size, edges, dead }) => {
        const ids = Array.from({ length: size }, (_, index) => idOf(index));
        const graph = new Graph(
          ids,
          edges.filter(([one, other]) => one !== other),
        );
        const trial = new Trial(graph, new Set(dead.map(idOf).filter((id) => id !== ids[0] && id !== ids[1])));
        const { path, code } = trial.run(ids[0], ids[1]);
        expect(trial.loops).toBe(0);
        expect(trial.attempts).toBeLessThanOrEqual(size - 1);
        if (path !== undefined) expect(new Set(path).size).toBe(path.length);
        else expect([ReplyCode.NO_ROUTE, ReplyCode.TIMEOUT, ReplyCode.LOOP, ReplyCode.HOP_LIMIT]).toContain(code);
      }),
      { numRuns: 500 },
    );
  });

  it('find a way past any one dead node, if there is one', () => {
    fc.assert(
      fc.property(graphs, fc.nat(), ({ size, edges }, which) => {
        const ids = Array.from({ length: size }, (_, index) => idOf(index));
        const graph = new Graph(
          ids,
          edges.filter(([one, other]) => one !== other),
        );
        const dead = idOf(which % size);
        fc.pre(dead !== ids[0] && dead !== ids[1]);
        const { path } = new Trial(graph, new Set([dead])).run(ids[0], ids[1]);
        expect(path !== undefined).toBe(graph.hops(ids[0], ids[1], new Set([dead])) !== undefined);
      }),
      { numRuns: 500 },
    );
  });

  it('also end when nodes do not list what they have tried', () => {
    fc.assert(
      fc.property(graphs, ({ size, edges, dead }) => {
        const ids = Array.from({ length: size }, (_, index) => idOf(index));
        const graph = new Graph(
          ids,
          edges.filter(([one, other]) => one !== other),
        );
        const trial = new Trial(graph, new Set(dead.map(idOf)), new Set(ids));
        trial.run(ids[0], ids[1]);
        expect(trial.attempts).toBeLessThanOrEqual(3 * size);
      }),
      { numRuns: 500 },
    );
  });
});
