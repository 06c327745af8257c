import { beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ServiceInstance } from '../../../lib/mesh/directory/service.js';
import { ServiceMap } from '../../../lib/mesh/directory/service-map.js';
import { ServiceTable } from '../../../lib/mesh/directory/service-table.js';

const VIA = { rttMs: 4 };

function instance(service: string, port: number, nodeId = 'n'): ServiceInstance {
  return new ServiceInstance(service, nodeId, port, 1, undefined, VIA);
}

let table: ServiceTable;
beforeEach(() => {
  table = new ServiceTable();
});

describe('the table of services', () => {
  it('finds instances by name, whatever their port', () => {
    const all = [instance('web', 80), instance('web', 0), instance('web', 443)];
    for (const one of all) table.add(one);
    table.add(instance('other', 80));
    expect(new Set(table.find('web'))).toEqual(new Set(all));
    expect([table.size, table.nameCount]).toEqual([4, 2]);
  });

  it('finds by name and port those bound to it and those that answer any', () => {
    const [exact, any, other] = [instance('web', 80), instance('web', 0, 'm'), instance('web', 443)];
    for (const one of [exact, any, other]) table.add(one);
    expect(new Set(table.find('web', 80))).toEqual(new Set([exact, any]));
    expect(table.find('web', 81)).toEqual([any]);
    table.delete(any);
    expect(table.find('web', 80)).toEqual([exact]);
    expect(table.find('web', 81)).toEqual([]);
  });

  it('forgets a name with its last instance', () => {
    const one = instance('web', 80);
    table.add(one);
    table.delete(one);
    table.delete(one);
    expect([table.size, table.nameCount, table.has('web'), table.find('web')]).toEqual([0, 0, false, []]);
  });

  it('is not confused by names that objects have as properties', () => {
    expect(table.find('__proto__')).toEqual([]);
    table.add(instance('__proto__', 0));
    table.add(instance('constructor', 0));
    expect([...table.names()]).toEqual(['__proto__', 'constructor']);
  });
});

describe('any order of adding and deleting', () => {
  it('leaves the right instances, by name and by port', () => {
    const place = fc.tuple(fc.constantFrom('a', 'b'), fc.nat(2));
    const step = fc.tuple(place, fc.boolean(), fc.nat());
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
        table = new ServiceTable();
        const there: ServiceInstance[] = [];
        for (const [[service, port], isAdd, pick] of steps) {
          if (isAdd || there.length === 0) {
            const one = instance(service, port);
            there.push(one);
            table.add(one);
          } else {
            const [one] = there.splice(pick % there.length, 1);
            table.delete(one);
            table.delete(one);
          }
        }
        const found = (service: string, port?: number) => new Set(table.find(service, port));
        for (const service of ['a', 'b']) {
          const named = there.filter((one) => one.service === service);
          expect(found(service)).toEqual(new Set(named));
          for (const port of [1, 2, 3]) {
            expect(found(service, port)).toEqual(new Set(named.filter((one) => one.port === port || one.port === 0)));
          }
        }
        expect([table.size, [...table.values()].length]).toEqual([there.length, there.length]);
      }),
    );
  });
});

describe('the view of it', () => {
  it('reads like a Map of snapshots', () => {
    const view = new ServiceMap(table);
    table.add(instance('web', 80));
    table.add(instance('db', 0));
    const web = {
      service: 'web',
      nodeId: 'n',
      port: 80,
      cost: 4,
      hops: 1,
      local: false,
      weight: 1,
      meta: undefined,
    };
    expect(view.get('web')).toEqual([web]);
    expect(view.get('nobody')).toEqual([]);
    expect([view.size, view.has('web'), view.has('nobody')]).toEqual([2, true, false]);
    expect([...view.keys()]).toEqual(['web', 'db']);
    expect([...view].map(([name, instances]) => [name, instances.length])).toEqual([
      ['web', 1],
      ['db', 1],
    ]);
    expect([...view.values()].flat()).toHaveLength(2);
  });

  it('is live', () => {
    const view = new ServiceMap(table);
    const one = instance('web', 80);
    table.add(one);
    expect(view.has('web')).toBe(true);
    table.delete(one);
    expect(view.has('web')).toBe(false);
  });
});

describe('an instance', () => {
  it('costs the round trip of its link, as it is now', () => {
    const via = { rttMs: 4 };
    const far = new ServiceInstance('web', 'n', 80, 1, undefined, via);
    via.rttMs = 9;
    expect([far.cost, far.hops, far.local, far.snapshot().cost]).toEqual([9, 1, false, 9]);
    const here = new ServiceInstance('web', 'n', 80, 1, undefined, undefined);
    expect([here.cost, here.hops, here.local]).toEqual([0, 0, true]);
  });

  it('finds instances by their names, unless a service has the whole name', () => {
    const table = new ServiceTable();
    const make = (service: string, nodeId: string, port: number, name?: string): ServiceInstance =>
      new ServiceInstance(service, nodeId, port, 1, undefined, VIA, name);
    const [any, exact, twin, plain] = [
      make('kafka', 'n', 0, '0'),
      make('kafka', 'n', 80, '1'),
      make('kafka', 'm', 0, '0'),
      make('kafka', 'm', 81),
    ];
    for (const instance of [any, exact, twin, plain]) table.add(instance);
    expect(table.lookUp('0.kafka')).toEqual([any, twin]);
    expect(table.lookUp('1.kafka')).toEqual([exact]);
    // At port 80, the node n has another one.
    expect(table.lookUp('0.kafka', 80)).toEqual([twin]);
    expect(table.lookUp('0.kafka', 81)).toEqual([any]);
    expect(table.lookUp('1.kafka', 81)).toEqual([]);
    expect([table.lookUp('2.kafka'), table.lookUp('0.web'), table.lookUp('.kafka')]).toEqual([[], [], []]);
    const whole = make('0.kafka', 'x', 5);
    table.add(whole);
    expect([table.lookUp('0.kafka'), table.lookUp('0.kafka', 80)]).toEqual([[whole], []]);
    table.delete(whole);
    expect(table.lookUp('0.kafka')).toEqual([any, twin]);
  });
});
