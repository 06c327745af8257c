import { beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type RecordSource, Registry } from '../../../lib/mesh/directory/registry.js';
import type { ServiceInstance } from '../../../lib/mesh/directory/service.js';
import { NodeFlag, type NodeRecord, type ServiceEntry, type ShardRecord } from '../../../lib/wire/records.js';
import { BOOT, type MadeNode, nodeRecord, shardRecords } from '../made-records.js';

const ENV = ['0011223344556677'];

class World implements RecordSource {
  readonly nodes = new Map<string, NodeRecord>();
  readonly shards = new Map<string, ShardRecord[]>();
  readonly reached = new Map<string, number>();
  readonly events: string[] = [];
  onEvent: (event: string, instance: ServiceInstance) => void = () => {};
  readonly registry: Registry;

  constructor() {
    const note = (sign: string) => (instance: ServiceInstance) => {
      const event = sign + describeInstance(instance);
      this.events.push(event);
      this.onEvent(event, instance);
    };
    this.registry = new Registry({ nodeId: 'me', envDigests: ENV }, this, this, {
      onService: note('+'),
      onUnservice: note('-'),
    });
  }

  node(nodeId: string): NodeRecord | undefined {
    return this.nodes.get(nodeId);
  }

  shardsOf(nodeId: string): readonly ShardRecord[] {
    return this.shards.get(nodeId) ?? [];
  }

  isReachable(nodeId: string): boolean {
    return this.reached.has(nodeId);
  }

  distance(nodeId: string): number | undefined {
    return this.reached.get(nodeId);
  }

  hopCount(nodeId: string): number | undefined {
    return this.reached.has(nodeId) ? 2 : undefined;
  }

  /** A node that is reached and offers these. */
  offer(nodeId: string, services: ServiceEntry[], { shards = 1, ...made }: MadeNode & { shards?: number } = {}): this {
    this.nodes.set(nodeId, nodeRecord(nodeId, { envDigests: ENV, ...made }));
    this.shards.set(nodeId, shardRecords(nodeId, shards, services, made.bootId));
    this.reached.set(nodeId, 7);
    this.registry.onNodeChanged(nodeId);
    return this;
  }

  get there(): string[] {
    return [...this.registry.table.values()].map(describeInstance).sort();
  }

  /** Returns the events since the last call. */
  news(): string[] {
    return this.events.splice(0);
  }
}

function describeInstance({ service, port, nodeId, weight, meta }: ServiceInstance): string {
  const extras = `${weight === 1 ? '' : `*${weight}`}${meta === undefined ? '' : JSON.stringify(meta)}`;
  return `${service}:${port}@${nodeId}${extras}`;
}

function entry(service: string, port = 0, changes: Partial<ServiceEntry> = {}): ServiceEntry {
  return { service, port, weight: 1, ...changes };
}

let world: World;
beforeEach(() => {
  world = new World();
});

describe('a service of this node', () => {
  it('exists, local and without cost, until it is unbound', () => {
    world.registry.bind('web', 80, 3, { a: 1 });
    const [instance] = world.registry.table.find('web');
    expect([instance.local, instance.cost, instance.hops, instance.nodeId]).toEqual([true, 0, 0, 'me']);
    world.registry.unbind('web', 80);
    world.registry.unbind('web', 80);
    expect([world.there, world.news()]).toEqual([[], ['+web:80@me*3{"a":1}', '-web:80@me*3{"a":1}']]);
  });

  it('does not follow the records of this node', () => {
    world.offer('me', [entry('web')]);
    expect(world.there).toEqual([]);
  });
});

describe('a service that a node announces', () => {
  it('exists while the node is reachable', () => {
    world.offer('a', [entry('web'), entry('db', 5432)]);
    expect(world.there).toEqual(['db:5432@a', 'web:0@a']);
    world.reached.delete('a');
    world.registry.onNodeChanged('a');
    expect([world.there, world.registry.table.size]).toEqual([[], 0]);
    expect(world.news().sort()).toEqual(['+db:5432@a', '+web:0@a', '-db:5432@a', '-web:0@a']);
  });

  it('has the current cost of the route, and afterwards the last one', () => {
    world.offer('a', [entry('web')]);
    const [instance] = world.registry.table.find('web');
    world.reached.set('a', 9.5);
    expect([instance.cost, instance.hops, instance.local, instance.snapshot().cost]).toEqual([9.5, 2, false, 9.5]);
    world.reached.delete('a');
    expect([instance.cost, instance.hops]).toEqual([9.5, 2]);
  });

  it('does not exist in other envs', () => {
    world.offer('a', [entry('web')], { envDigests: ['ffffffffffffffff'] });
    world.offer('b', [entry('web')], { envDigests: ['ffffffffffffffff', ...ENV] });
    expect(world.there).toEqual(['web:0@b']);
    expect([world.registry.sharesEnv(ENV), world.registry.sharesEnv([])]).toEqual([true, false]);
  });

  it.each([
    ['leaves', NodeFlag.LEAVING, []],
    ['drains', NodeFlag.DRAIN, []],
    ['cannot keep up', NodeFlag.OVERLOAD, ['web:0@a']],
  ])('is offered as it should be when the node %s', (_what, flag, expected) => {
    world.offer('a', [entry('web')]);
    world.offer('a', [entry('web')], { flags: NodeFlag.RELAY | flag });
    expect(world.there).toEqual(expected);
    world.offer('a', [entry('web')]);
    expect(world.there).toEqual(['web:0@a']);
  });

  it('is gone when the record of the node or its shards are', () => {
    world.offer('a', [entry('web')]).offer('b', [entry('web')]);
    world.nodes.delete('a');
    world.shards.delete('b');
    world.registry.onNodesChanged(['a', 'b']);
    expect(world.there).toEqual([]);
  });

  it('does not come from an earlier run', () => {
    world.offer('a', [entry('web')]);
    world.nodes.set('a', nodeRecord('a', { envDigests: ENV, bootId: 'boot-2' }));
    world.registry.onNodeChanged('a');
    expect(world.there).toEqual([]);
  });

  it('is new when the node has restarted, although it has the same name', () => {
    world.offer('a', [entry('web')]);
    world.news();
    world.offer('a', [entry('web')], { bootId: 'boot-2' });
    expect(world.news()).toEqual(['-web:0@a', '+web:0@a']);
  });

  it('stays when it is unchanged, whatever else changes', () => {
    world.offer('a', [entry('web', 80, { meta: { v: [1] } }), entry('db')]);
    const [web] = world.registry.table.find('web');
    world.news();
    world.offer('a', [entry('web', 80, { meta: { v: [1] } }), entry('db'), entry('new')]);
    world.offer('a', [entry('web', 80, { meta: { v: [1] } }), entry('db'), entry('new')], { flags: 0 });
    expect(world.news()).toEqual(['+new:0@a']);
    expect(world.registry.table.find('web')).toEqual([web]);
  });

  it('is replaced when its weight or meta has changed', () => {
    world.offer('a', [entry('web', 80), entry('db')]);
    world.news();
    world.offer('a', [entry('web', 80, { weight: 5 }), entry('db')]);
    world.offer('a', [entry('web', 80, { weight: 5, meta: 'x' }), entry('db')]);
    expect(world.news()).toEqual(['-web:80@a', '+web:80@a*5', '-web:80@a*5', '+web:80@a*5"x"']);
  });

  it('stays when the services are spread over more shards', () => {
    const services = Array.from({ length: 40 }, (_, index) => entry(`s${index}`));
    world.offer('a', services);
    const before = new Set(world.registry.table.values());
    world.news();
    world.offer('a', [...services.slice(1), entry('new')], { shards: 8 });
    expect(world.news().sort()).toEqual(['+new:0@a', '-s0:0@a']);
    for (const instance of world.registry.table.values()) {
      if (instance.service !== 'new') expect(before.has(instance)).toBe(true);
    }
  });

  it('is read by shards: the others are not read when one has changed', () => {
    const services = Array.from({ length: 640 }, (_, index) => entry(`s${index}`));
    world.offer('a', services, { shards: 16 });
    const shards = world.shards.get('a') as ShardRecord[];
    let reads = 0;
    const watched = shards.map((shard) => ({
      ...shard,
      get services() {
        reads++;
        return shard.services;
      },
    }));
    world.shards.set('a', watched);
    world.registry.onNodeChanged('a');
    watched[3] = { ...shards[3], services: [...shards[3].services, entry('new')] };
    reads = 0;
    world.registry.onNodeChanged('a');
    expect([reads, world.news().at(-1), world.registry.table.size]).toEqual([0, '+new:0@a', 641]);
  });
});

describe('an event', () => {
  it('comes when the table holds all changes', () => {
    world.onEvent = () => expect(world.there).toEqual(['db:0@a', 'web:0@a', 'web:0@b']);
    for (const nodeId of ['a', 'b']) {
      world.nodes.set(nodeId, nodeRecord(nodeId, { envDigests: ENV }));
      world.reached.set(nodeId, 1);
    }
    world.shards.set('a', shardRecords('a', 1, [entry('web'), entry('db')]));
    world.shards.set('b', shardRecords('b', 1, [entry('web')]));
    world.registry.onNodesChanged(['a', 'b']);
    expect(world.news()).toHaveLength(3);
  });

  it('comes after all changes when several nodes are lost', () => {
    world.offer('a', [entry('web')]).offer('b', [entry('web')]);
    world.onEvent = () => expect(world.there).toEqual([]);
    world.reached.clear();
    world.registry.onNodesChanged(['a', 'b']);
    expect(world.news().slice(2)).toEqual(['-web:0@a', '-web:0@b']);
  });

  it('does not come for an instance that came and went before its turn', () => {
    world.onEvent = (event) => {
      if (event !== '+one:0@a') return;
      world.reached.clear();
      world.registry.onNodeChanged('a');
    };
    world.offer('a', [entry('one'), entry('two')]);
    expect(world.news()).toEqual(['+one:0@a', '-one:0@a']);
  });

  it('comes in order when a listener binds', () => {
    world.onEvent = (event) => {
      if (event === '+web:0@a') world.registry.bind('mine', 0, 1, undefined);
    };
    world.offer('a', [entry('web'), entry('db')]);
    expect(world.news()).toEqual(['+web:0@a', '+db:0@a', '+mine:0@me']);
  });
});

describe('any order of changes', () => {
  const NODES = ['a', 'b', 'me'];
  const services = fc.uniqueArray(
    fc.record({
      service: fc.constantFrom('web', 'db', 'x', 'y', '__proto__'),
      port: fc.nat(2),
      weight: fc.constantFrom(1, 1, 2),
      meta: fc.constantFrom(undefined, undefined, 'm', { k: 1 }),
    }),
    { selector: ({ service, port }) => `${service}:${port}`, maxLength: 8 },
  );
  const flags = fc.constantFrom(1, 1, 0, NodeFlag.DRAIN, NodeFlag.LEAVING, NodeFlag.OVERLOAD);
  const envs = fc.constantFrom(ENV, ENV, ENV, []);
  const boots = fc.constantFrom(BOOT, BOOT, BOOT, 'boot-2');
  const onNode = fc.constantFrom(...NODES);
  const step = fc.oneof(
    fc.tuple(onNode, services, fc.constantFrom(1, 2, 8), boots).map(([nodeId, list, shards, bootId]) => {
      return () =>
        void world.shards.set(nodeId, keepSame(world.shardsOf(nodeId), shardRecords(nodeId, shards, list, bootId)));
    }),
    fc.tuple(onNode, flags, envs, boots).map(([nodeId, own, envDigests, bootId]) => {
      return () => void world.nodes.set(nodeId, nodeRecord(nodeId, { flags: own, envDigests, bootId }));
    }),
    onNode.map((nodeId) => () => void world.reached.set(nodeId, 1)),
    onNode.map((nodeId) => () => void world.reached.delete(nodeId)),
    onNode.map((nodeId) => () => void world.nodes.delete(nodeId)),
    fc.constant(() => {}),
  );

  /** A shard in which nothing changes is the same record. */
  function keepSame(before: readonly ShardRecord[], after: ShardRecord[]): ShardRecord[] {
    return after.map((shard, index) => {
      const same = JSON.stringify(before[index]) === JSON.stringify(shard);
      return same ? before[index] : shard;
    });
  }

  function expected(): string[] {
    const found: string[] = [];
    for (const [nodeId, record] of world.nodes) {
      const isOffered = !(record.flags & (NodeFlag.DRAIN | NodeFlag.LEAVING)) && record.envDigests.length > 0;
      if (nodeId === 'me' || !world.reached.has(nodeId) || !isOffered) continue;
      for (const shard of world.shardsOf(nodeId)) {
        if (shard.bootId !== record.bootId) continue;
        for (const { service, port, weight, meta } of shard.services) {
          found.push(describeInstance({ service, port, nodeId, weight, meta } as ServiceInstance));
        }
      }
    }
    return found.sort();
  }

  it('leaves the right table, with one event for each change', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), fc.boolean(), (steps, isTogether) => {
        world = new World();
        const known = new Set<string>();
        for (const change of steps) {
          change();
          if (isTogether) world.registry.onNodesChanged(NODES);
          else for (const nodeId of NODES) world.registry.onNodeChanged(nodeId);
          expect(world.there).toEqual(expected());
          for (const event of world.news()) {
            const name = event.slice(1);
            expect(known.has(name)).toBe(event.startsWith('-'));
            if (event.startsWith('+')) known.add(name);
            else known.delete(name);
          }
          expect([...known].sort()).toEqual(world.there);
        }
      }),
      { numRuns: 200 },
    );
  });
});
