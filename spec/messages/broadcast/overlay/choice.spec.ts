// The choice of neighbours: connected, of a small degree, the same at both ends, and stable.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { chooseNeighbours, ringCount } from '../../../../lib/messages/broadcast/overlay/choice.js';

const ids = (least: number, most: number) =>
  fc.uniqueArray(fc.stringMatching(/^[\w-]{11}$/), { minLength: least, maxLength: most });

function graphOf(members: readonly string[]): Map<string, Set<string>> {
  return new Map(members.map((id) => [id, chooseNeighbours(id, members, [])]));
}

function reached(graph: ReadonlyMap<string, ReadonlySet<string>>, from: string): Set<string> {
  const seen = new Set([from]);
  for (const id of seen) for (const other of graph.get(id) ?? []) seen.add(other);
  return seen;
}

describe('The neighbours that participants choose', () => {
  it('choose them, too, and connect all of them', () => {
    fc.assert(
      fc.property(ids(1, 20), (members) => {
        const graph = graphOf(members);
        for (const [id, chosen] of graph) {
          expect(chosen.has(id)).toBe(false);
          for (const other of chosen) expect(graph.get(other)?.has(id)).toBe(true);
        }
        expect(reached(graph, members[0]).size).toBe(members.length);
      }),
      { numRuns: 30 },
    );
  });

  it('are few', () => {
    const members = Array.from({ length: 1_000 }, (_, index) => `node-${index}`);
    expect([10, 1_000, 10_000, 1_000_000, 10_000_000].map(ringCount)).toEqual([2, 2, 3, 4, 4]);
    for (const id of members.slice(0, 50)) expect(chooseNeighbours(id, members, []).size).toBeLessThanOrEqual(4);
  });

  it('stay the same when somebody else comes or goes, except for those beside it', () => {
    fc.assert(
      fc.property(ids(10, 20), (members) => {
        const [gone, ...rest] = members;
        const before = graphOf(members);
        const after = graphOf(rest);
        for (const id of rest) {
          if (!before.get(id)?.has(gone)) expect(after.get(id)).toEqual(before.get(id));
        }
      }),
      { numRuns: 30 },
    );
  });

  it('include the nearest direct one, and nobody who does not take part', () => {
    fc.assert(
      fc.property(ids(10, 20), (members) => {
        const [self, ...others] = members;
        const ringed = chooseNeighbours(self, members, []);
        const direct = others.filter((id) => !ringed.has(id));
        fc.pre(direct.length > 0);
        expect(chooseNeighbours(self, members, [...ringed, ...direct])).toEqual(new Set([...ringed, direct[0]]));
      }),
      { numRuns: 30 },
    );
  });
});
