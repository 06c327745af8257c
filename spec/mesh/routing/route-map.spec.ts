import { describe, expect, it } from '@jest/globals';
import { RouteMap } from '../../../lib/mesh/routing/route-map.js';
import { RoutedNode } from '../routed-node.js';

describe('the view of the routes', () => {
  it('reads like a Map of snapshots', () => {
    const node = new RoutedNode().mesh('me-a a-b').link('a', 4).settle();
    const view = new RouteMap(node.routing);
    const [a, b] = [
      { nodeId: 'a', nextHop: 'a', hops: 1, cost: 4 },
      { nodeId: 'b', nextHop: 'a', hops: 2, cost: 6.1 },
    ];
    expect([view.get('b'), view.get('me'), view.get('nobody')]).toEqual([b, undefined, undefined]);
    expect([view.size, view.has('b'), view.has('me')]).toEqual([2, true, false]);
    expect([...view]).toEqual([
      ['a', a],
      ['b', b],
    ]);
    expect([[...view.keys()], [...view.values()]]).toEqual([
      ['a', 'b'],
      [a, b],
    ]);
  });

  it('is live', () => {
    const node = new RoutedNode().link('a', 4);
    const view = new RouteMap(node.routing);
    node.link('a', 9);
    expect(view.get('a')?.cost).toBe(9);
    node.unlink('a');
    expect([view.size, view.has('a'), [...view]]).toEqual([0, false, []]);
  });

  it('emits an event for each route that is added or removed', () => {
    const view = new RouteMap(new RoutedNode().routing);
    const heard: string[] = [];
    view.on('add', ({ nodeId }) => heard.push(`+${nodeId}`));
    view.on('remove', ({ nodeId }) => heard.push(`-${nodeId}`));
    const route = { nodeId: 'a', nextHop: 'a', hops: 1, cost: 4 };
    view.emitSafely('add', route);
    view.emitSafely('remove', route);
    expect(heard).toEqual(['+a', '-a']);
  });
});
