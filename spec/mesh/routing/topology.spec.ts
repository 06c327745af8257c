import { beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Topology } from '../../../lib/mesh/routing/topology.js';
import { NodeFlag } from '../../../lib/wire/records.js';
import { type GraphNode, graphNode, naiveWeight, nameOf, recordOf } from '../graphs.js';
import { nodeRecord } from '../made-records.js';

let topology: Topology;
beforeEach(() => {
  topology = new Topology('me');
});

/** In ms, without the hop itself; undefined when there is no link. */
function costOf(one: string, other: string): number | undefined {
  const [from, to] = [topology.indexOf(one), topology.indexOf(other)];
  if (from === undefined || to === undefined) return undefined;
  const weight = topology.edges.weightOf(from, to);
  if (topology.edges.weightOf(to, from) !== weight)
    throw new Error(`${one} and ${other} differ in what the link costs`);
  return weight === 0 ? undefined : weight / 1000;
}

describe('a link', () => {
  it('counts when both ends list it', () => {
    topology.set(nodeRecord('a', { links: { b: 0, c: 0 } }));
    topology.set(nodeRecord('b', { links: { a: 0 } }));
    topology.set(nodeRecord('c', { links: {} }));
    expect(costOf('a', 'b')).toBe(2.1);
    expect(costOf('a', 'c')).toBeUndefined();
    topology.set(nodeRecord('b', { links: {} }));
    expect(costOf('a', 'b')).toBeUndefined();
  });

  it('counts as soon as the second end is known, whichever that is', () => {
    topology.set(nodeRecord('b', { links: { a: 0 } }));
    expect(costOf('a', 'b')).toBeUndefined();
    topology.set(nodeRecord('a', { links: { b: 0 } }));
    expect(costOf('a', 'b')).toBe(2.1);
  });

  it('has the higher cost of both sides, and 2 ms for the hop', () => {
    topology.set(nodeRecord('a', { links: { b: 8 } }));
    topology.set(nodeRecord('b', { links: { a: 24 } }));
    expect(costOf('a', 'b')).toBe(2.8);
    topology.set(nodeRecord('a', { links: { b: 32 } }));
    expect(costOf('a', 'b')).toBe(3.6);
  });

  it('does not count when one side says that it must not be used', () => {
    topology.set(nodeRecord('a', { links: { b: 8 } }));
    topology.set(nodeRecord('b', { links: { a: 0xff } }));
    expect(costOf('a', 'b')).toBeUndefined();
  });

  it('does not count when one side is leaving', () => {
    topology.set(nodeRecord('a', { links: { b: 8 } }));
    topology.set(nodeRecord('b', { links: { a: 8 }, flags: NodeFlag.RELAY | NodeFlag.LEAVING }));
    expect(costOf('a', 'b')).toBeUndefined();
  });

  it('costs eight times as much when one side is overloaded', () => {
    topology.set(nodeRecord('a', { links: { b: 24 } }));
    topology.set(nodeRecord('b', { links: { a: 24 }, flags: NodeFlag.RELAY | NodeFlag.OVERLOAD }));
    expect(costOf('a', 'b')).toBe(8 * 2.8);
  });

  it('of a node with itself does not count', () => {
    topology.set(nodeRecord('a', { links: { a: 8 } }));
    expect(costOf('a', 'a')).toBeUndefined();
  });
});

describe('a node', () => {
  it('loses its links when its record is deleted', () => {
    topology.set(nodeRecord('a', { links: { b: 8, c: 8 } }));
    topology.set(nodeRecord('b', { links: { a: 8 } }));
    topology.set(nodeRecord('c', { links: { a: 8 } }));
    topology.delete('a');
    expect(costOf('a', 'b')).toBeUndefined();
    expect(costOf('a', 'c')).toBeUndefined();
  });

  it('keeps its index when it comes back before that is reclaimed', () => {
    topology.set(nodeRecord('a', { links: { b: 8 } }));
    topology.set(nodeRecord('b', { links: { a: 8 } }));
    const index = topology.indexOf('a');
    topology.delete('a');
    topology.set(nodeRecord('a', { links: { b: 8 } }));
    topology.reclaim();
    expect(topology.indexOf('a')).toBe(index);
    expect(costOf('a', 'b')).toBeDefined();
  });

  it('leaves its index to others', () => {
    for (let round = 0; round < 100; round++) {
      topology.set(nodeRecord(`n${round}`));
      topology.delete(`n${round}`);
      topology.reclaim();
      expect(topology.indexOf(`n${round}`)).toBeUndefined();
    }
    expect(topology.size).toBeLessThan(5);
  });

  it('has no index without a record, whichever node lists it', () => {
    const links = Object.fromEntries(Array.from({ length: 128 }, (_, index) => [`x${index}`, 0]));
    topology.set(nodeRecord('a', { links }));
    expect(topology.size).toBe(2);
  });
});

describe('any order of records', () => {
  it('results in the links on which both ends agree', () => {
    const SIZE = 8;
    const step = fc.tuple(fc.nat(SIZE - 1), fc.option(graphNode(SIZE, 8), { freq: 5 }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        topology = new Topology(nameOf(0));
        const graph = new Map<number, GraphNode>();
        for (const [node, made] of steps) {
          if (made === null) {
            graph.delete(node);
            topology.delete(nameOf(node));
            if (node % 2 === 0) topology.reclaim();
          } else {
            graph.set(node, made);
            topology.set(recordOf(node, made));
          }
        }
        const costs: Array<number | undefined> = [];
        const weights: Array<number | undefined> = [];
        for (let one = 0; one < SIZE; one++) {
          for (let other = 0; other < SIZE; other++) {
            const weight = naiveWeight(graph, one, other);
            weights.push(weight === undefined ? undefined : weight / 1000);
            costs.push(costOf(nameOf(one), nameOf(other)));
          }
        }
        expect(costs).toEqual(weights);
      }),
      { numRuns: 300 },
    );
  });
});
