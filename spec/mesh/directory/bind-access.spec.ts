// Whose services a node sees: the registry with an `allow` of the user.

import { beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type RecordSource, Registry } from '../../../lib/mesh/directory/registry.js';
import type { ServiceInstance } from '../../../lib/mesh/directory/service.js';
import type { Allow, AllowRequest } from '../../../lib/options/allow.js';
import { Timers } from '../../../lib/util/timers.js';
import { envDigests } from '../../../lib/wire/messages.js';
import type { NodeRecord, ServiceEntry, ShardRecord } from '../../../lib/wire/records.js';
import { FakeClock } from '../../support/fake-clock.js';
import { turn } from '../../support/turns.js';
import { nodeRecord, shardRecords } from '../made-records.js';

const ENV = ['prod', 'blue'];

/** A registry among nodes that a spec makes up. */
class World implements RecordSource {
  readonly clock = new FakeClock();
  readonly timers = new Timers(this.clock, 1);
  readonly events: string[] = [];
  onEvent: () => void = () => {};
  readonly warnings: Error[] = [];
  readonly registry: Registry;
  private readonly nodes = new Map<string, NodeRecord>();
  private readonly shards = new Map<string, ShardRecord[]>();

  constructor(allow: Allow, maxPending = 100) {
    const environment = { timers: this.timers, warn: (error: Error) => this.warnings.push(error) };
    const access = { allow, env: ENV, environment, timeoutMs: 100, maxPending };
    this.registry = new Registry({ nodeId: 'me', envDigests: envDigests(ENV), access }, this, this, {
      onService: (instance) => {
        this.events.push(`+${nameOf(instance)}`);
        this.onEvent();
      },
      onUnservice: (instance) => this.events.push(`-${nameOf(instance)}`),
    });
  }

  offer(nodeId: string, services: readonly ServiceEntry[], bootId = 'boot-1', shards = 1): this {
    this.nodes.set(nodeId, nodeRecord(nodeId, { bootId, envDigests: envDigests(['prod', 'else', 'unknown']) }));
    this.shards.set(nodeId, shardRecords(nodeId, shards, services, bootId));
    this.registry.onNodeChanged(nodeId);
    return this;
  }

  lose(nodeId: string): this {
    this.nodes.delete(nodeId);
    this.registry.onNodeChanged(nodeId);
    return this;
  }

  node(nodeId: string): NodeRecord | undefined {
    return this.nodes.get(nodeId);
  }

  shardsOf(nodeId: string): readonly ShardRecord[] {
    return this.shards.get(nodeId) ?? [];
  }

  isReachable(): boolean {
    return true;
  }

  distance(): number {
    return 1;
  }

  hopCount(): number {
    return 1;
  }

  get there(): string[] {
    return [...this.registry.table.values()].map(nameOf).sort();
  }

  /** Returns the events since the last call. */
  news(): string[] {
    return this.events.splice(0);
  }
}

function nameOf({ service, nodeId, weight }: ServiceInstance): string {
  return `${service}@${nodeId}${weight === 1 ? '' : `*${weight}`}`;
}

function entry(service: string, weight = 1, port = 0): ServiceEntry {
  return { service, port, weight, meta: undefined };
}

/** An `allow` in the hands of the spec. */
class Answers {
  readonly asked: string[] = [];
  private readonly open = new Map<string, (isAllowed: boolean) => void>();
  readonly allow = ({ peer, service }: AllowRequest): Promise<boolean> => {
    const name = `${service}@${peer.id}`;
    this.asked.push(name);
    return new Promise((resolve) => this.open.set(name, resolve));
  };

  async answer(name: string, isAllowed: boolean): Promise<void> {
    this.open.get(name)?.(isAllowed);
    await turn();
  }
}

describe('a service of another node', () => {
  it('is visible when a rule fits it, and hidden when none does', () => {
    const world = new World([{ id: ['AAAAAAAAAAA'] }, { service: 'web*', direction: 'bind' }, { name: '*' }]);
    world.offer('AAAAAAAAAAA', [entry('db'), entry('web')]).offer('b', [entry('db'), entry('web-1')]);
    expect(world.there).toEqual(['db@AAAAAAAAAAA', 'web-1@b', 'web@AAAAAAAAAAA']);
    expect(world.news().sort()).toEqual(['+db@AAAAAAAAAAA', '+web-1@b', '+web@AAAAAAAAAAA']);
    expect([world.registry.table.size, world.registry.hiddenCount]).toEqual([3, 1]);
    world.lose('b').lose('AAAAAAAAAAA');
    expect(world.news().sort()).toEqual(['-db@AAAAAAAAAAA', '-web-1@b', '-web@AAAAAAAAAAA']);
    expect([world.there, world.registry.hiddenCount]).toEqual([[], 0]);
  });

  it('is decided about as one of a verified peer, in the envs whose names are known', () => {
    const requests: AllowRequest[] = [];
    new World((request) => requests.push(request) > 0).offer('a', [entry('web', 1, 80)]);
    expect(requests).toEqual([
      {
        peer: { id: 'a', name: undefined, tags: [], verified: true, via: [], env: ['prod'] },
        service: 'web',
        port: 80,
        direction: 'bind',
      },
    ]);
    expect(new World([{ env: 'else' }]).offer('a', [entry('web')]).there).toEqual(['web@a']);
    expect(new World([{ env: 'blue' }]).offer('a', [entry('web')]).there).toEqual([]);
  });

  it('needs no decision when this node offers it itself', () => {
    const world = new World([]);
    world.registry.bind('web', 0, 1, undefined);
    expect(world.there).toEqual(['web@me']);
  });

  it('is decided about once, whatever happens to its weight and to other services', () => {
    const asked: string[] = [];
    const world = new World(({ service }) => {
      asked.push(service);
      return service === 'web';
    });
    world.offer('a', [entry('web'), entry('db')]);
    world.offer('a', [entry('web', 5), entry('db', 5), entry('ftp')]);
    world.offer('a', [entry('db', 7), entry('web', 7)], 'boot-1', 4);
    expect(asked).toEqual(['web', 'db', 'ftp']);
    expect([world.there, world.registry.hiddenCount]).toEqual([['web@a*7'], 1]);
    expect(world.news()).toEqual(['+web@a', '-web@a', '+web@a*5', '-web@a*5', '+web@a*7']);
    world.offer('a', [entry('db')]).offer('a', [entry('db'), entry('web')]);
    expect(asked).toEqual(['web', 'db', 'ftp', 'web']);
  });

  it('is decided about again when the node has restarted', () => {
    let isAllowed = false;
    const world = new World(() => isAllowed);
    world.offer('a', [entry('web')]);
    isAllowed = true;
    expect(world.offer('a', [entry('web', 2)]).there).toEqual([]);
    expect(world.offer('a', [entry('web', 2)], 'boot-2').there).toEqual(['web@a*2']);
  });

  it('is hidden until a promise resolves, and then visible in its latest version', async () => {
    const answers = new Answers();
    const world = new World(answers.allow);
    world.offer('a', [entry('web'), entry('db')]);
    world.offer('a', [entry('web', 9), entry('db')]);
    expect([world.there, world.news(), world.registry.hiddenCount]).toEqual([[], [], 2]);
    await answers.answer('web@a', true);
    await answers.answer('db@a', false);
    expect([world.there, world.news(), world.registry.hiddenCount]).toEqual([['web@a*9'], ['+web@a*9'], 1]);
    expect([answers.asked, world.timers.size]).toEqual([['web@a', 'db@a'], 0]);
  });

  it('stays hidden when the promise does not resolve in time, or the function fails, with a warning', async () => {
    const answers = new Answers();
    const late = new World(answers.allow).offer('a', [entry('web')]);
    late.clock.advance(101);
    late.clock.runImmediates();
    await answers.answer('web@a', true);
    expect([late.there, late.timers.size]).toEqual([[], 0]);
    const failing = new World(() => {
      throw new Error('of the user');
    }).offer('a', [entry('web'), entry('db')]);
    expect(failing.there).toEqual([]);
    expect(failing.warnings).toMatchObject([{ code: 'ERR_STARLANE_ALLOW' }]);
  });

  it('is not decided about any more when it is gone, or its node is', async () => {
    const answers = new Answers();
    const world = new World(answers.allow);
    world.offer('a', [entry('web'), entry('db')]).offer('b', [entry('web')]);
    world.offer('a', [entry('db')]).lose('b');
    await answers.answer('web@a', true);
    await answers.answer('web@b', true);
    expect([world.there, world.registry.hiddenCount, world.timers.size]).toEqual([[], 1, 1]);
    world.registry.dispose();
    await answers.answer('db@a', true);
    expect([world.there, world.registry.hiddenCount, world.timers.size]).toEqual([[], 0, 0]);
  });

  it('waits when its node offers many at a time, and other nodes do not wait for that', async () => {
    const answers = new Answers();
    const world = new World(answers.allow, 2);
    world
      .offer(
        'a',
        ['1', '2', '3', '4', '5'].map((name) => entry(name)),
      )
      .offer('b', [entry('1')]);
    expect(answers.asked).toEqual(['1@a', '2@a', '1@b']);
    await answers.answer('2@a', true);
    expect(answers.asked).toEqual(['1@a', '2@a', '1@b', '3@a']);
    // Neither a waiting nor a pending one is forgotten when the others change.
    world.offer(
      'a',
      ['2', '3', '4', '5'].map((name) => entry(name, 3)),
    );
    expect(answers.asked.slice(4)).toEqual(['4@a']);
    await answers.answer('3@a', false);
    await answers.answer('4@a', true);
    await answers.answer('5@a', true);
    expect(world.there).toEqual(['2@a*3', '4@a*3', '5@a*3']);
    expect(world.timers.size).toBe(1);
  });

  it('is in the table with all others before the first event', () => {
    const world = new World([{}]);
    const sizes: number[] = [];
    world.onEvent = () => sizes.push(world.registry.table.size);
    world.offer('a', [entry('web'), entry('db'), entry('ftp')]);
    expect(sizes).toEqual([3, 3, 3]);
  });

  it('takes no memory once it is gone, even if it was never decided about', () => {
    const world = new World(new Answers().allow, 1);
    for (let round = 0; round < 10; round++)
      world.offer('a', [entry('asked'), entry(`${round}-1`), entry(`${round}-2`)]);
    const queues = Reflect.get(world.registry['access'] as object, 'queues') as Map<string, { waiting: Set<unknown> }>;
    expect([world.registry.hiddenCount, queues.get('a')?.waiting.size]).toEqual([3, 2]);
    world.lose('a');
    expect([world.registry.hiddenCount, queues.size, world.timers.size]).toEqual([0, 0, 0]);
  });

  it('may come by the thousand', () => {
    const services = Array.from({ length: 20_000 }, (_, index) => entry(`s${index}`));
    const world = new World([{ service: 's*' }], 1).offer('a', services);
    expect([world.there.length, world.news().length, world.registry.hiddenCount]).toEqual([20_000, 20_000, 0]);
  });

  it('may make the function do anything', () => {
    const world: World = new World(({ peer, service }) => {
      if (service === 'bind') world.registry.bind('own', 0, 1, undefined);
      if (service === 'restart') world.offer(peer.id, [entry('after')], 'boot-2');
      if (service === 'lose') world.lose(peer.id);
      return true;
    });
    world.offer('a', [entry('bind'), entry('web')]);
    world.offer('b', [entry('restart'), entry('web')]);
    world.offer('c', [entry('web'), entry('lose'), entry('db')]);
    expect(world.there).toEqual(['after@b', 'bind@a', 'own@me', 'web@a']);
    expect(world.registry.hiddenCount).toBe(0);
  });

  it('is visible if it was allowed, whatever happens in between', async () => {
    const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'));
    const offer = fc.record({ names, weight: fc.integer({ min: 1, max: 3 }), shards: fc.constantFrom(1, 4) });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(offer, fc.integer({ min: 0, max: 9 })), { maxLength: 30 }), async (steps) => {
        const open: Array<{ service: string; resolve(isAllowed: boolean): void }> = [];
        const world = new World(({ service }) => new Promise((resolve) => open.push({ service, resolve })), 2);
        let offered: string[] = [];
        for (const step of steps) {
          if (typeof step === 'number') {
            const [one] = open.splice(step % (open.length || 1), 1);
            one?.resolve(one.service < 'c');
          } else {
            offered = step.names;
            world.offer(
              'n',
              step.names.map((name) => entry(name, step.weight)),
              'boot-1',
              step.shards,
            );
          }
          await Promise.resolve().then(() => {});
        }
        while (open.length > 0) {
          for (const one of open.splice(0)) one.resolve(one.service < 'c');
          await turn();
        }
        const seen = world.there.map((name) => name[0]);
        expect(seen).toEqual(offered.filter((name) => name < 'c').sort());
        expect(world.registry.hiddenCount).toBe(offered.length - seen.length);
        expect(world.timers.size).toBe(0);
      }),
      { numRuns: 200 },
    );
  });
});

describe('without allow', () => {
  let world: Registry;
  beforeEach(() => {
    const nothing = { node: () => undefined, shardsOf: () => [] };
    const reach = { isReachable: () => true, distance: () => 1, hopCount: () => 1 };
    const owner = { onService: () => {}, onUnservice: () => {} };
    world = new Registry({ nodeId: 'me', envDigests: [] }, nothing, reach, owner);
  });

  it('nothing is hidden', () => {
    world.dispose();
    expect(world.hiddenCount).toBe(0);
  });
});
