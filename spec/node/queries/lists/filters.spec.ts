// Filters of nodes and services.

import { describe, expect, it } from '@jest/globals';
import {
  NodeFilter,
  type NodeSubject,
  ServiceFilter,
  type ServiceSubject,
} from '../../../../lib/node/queries/lists/filters.js';
import { Parameters } from '../../../../lib/node/queries/parameters.js';

const web: ServiceSubject = {
  service: 'web.eu',
  port: 80,
  nodeId: 'AAAAAAAAAAA',
  local: false,
  instance: 'a1',
  meta: { region: 'eu', owner: { team: 'db-core' }, zones: ['x', 'y'], version: 2, beta: false, none: null },
};
const names = { name: 'edge-1', tags: ['edge', 'blue'] };

function fits(query: string, subject = web): boolean {
  return new ServiceFilter(new Parameters(new URLSearchParams(query))).fits(subject, () => names);
}

describe('a filter of services', () => {
  it.each([
    [''],
    ['service=web.*'],
    ['service=db*&service=web.*'],
    ['port=80&local=false'],
    ['instance=a*'],
    ['node=edge-*'],
    ['node=AAAAAAAAAAA'],
    ['tag=red&tag=bl*'],
    ['meta.region=eu'],
    ['meta.region=us&meta.region=e*'],
    ['meta.owner.team=db*'],
    ['meta.zones=y'],
    ['meta.version=2&meta.beta=false&meta.none=null'],
    ['service=web.*&tag=edge&meta.region=eu&local=false'],
  ])('lets through what fits: %s', (query) => {
    expect(fits(query)).toBe(true);
  });

  it.each([
    ['service=web'],
    ['service=*.us'],
    ['port=81'],
    ['local=true'],
    ['instance=b*'],
    ['node=core-*'],
    ['tag=red'],
    ['meta.region=us'],
    ['meta.owner=*'],
    ['meta.owner.name=*'],
    ['meta.missing=*'],
    ['meta.toString=*'],
    ['meta.zones=z'],
    ['service=web.*&meta.region=us'],
  ])('leaves out what does not: %s', (query) => {
    expect(fits(query)).toBe(false);
  });

  it('leaves out services without meta, or without a name of the instance', () => {
    const plain = { ...web, meta: undefined, instance: undefined };
    expect(fits('meta.region=*', plain)).toBe(false);
    expect(fits('instance=*', plain)).toBe(false);
  });

  it.each([
    ['servce=web', /servce is no parameter/],
    ['meta.=x', /meta. is no parameter/],
    ['port=-1', /port must be an integer/],
    ['local=perhaps', /local must be true or false/],
    [`${'tag=x&'.repeat(17)}`, /16 times at most/],
    [Array.from({ length: 17 }, (_, at) => `meta.${at}=x`).join('&'), /16 times at most/],
    [`meta.${'a.'.repeat(9)}b=x`, /8 parts at most/],
  ])('refuses %s', (query, message) => {
    expect(() => fits(query)).toThrow(message);
  });
});

describe('a filter of nodes', () => {
  const node: NodeSubject = {
    id: 'AAAAAAAAAAA',
    name: 'edge-1',
    tags: ['edge'],
    self: false,
    role: 'peer',
    relay: true,
    draining: false,
    reachable: true,
  };
  const filter = (query: string) => new NodeFilter(new Parameters(new URLSearchParams(query)));

  it.each([
    ['name=edge-*', true],
    ['name=AAAAAAAAAAA', true],
    ['name=core-*', false],
    ['tag=edge', true],
    ['tag=core', false],
    ['role=peer&role=router', true],
    ['role=client', false],
    ['relay=true&reachable=true&draining=false&self=false', true],
    ['relay=false', false],
    ['self=true', false],
  ])('%s: %s', (query, isThere) => {
    expect(filter(query).fits(node)).toBe(isThere);
  });

  it('is about services only if it names some', () => {
    expect(filter('tag=edge').isAboutServices).toBe(false);
    expect(filter('service=web*').isAboutServices).toBe(true);
    expect(filter('meta.region=eu').fitsService(web)).toBe(true);
    expect(filter('meta.region=eu&service=db*').fitsService(web)).toBe(false);
  });

  it('refuses roles that there are not', () => {
    expect(() => filter('role=boss')).toThrow(/role must be one of/);
  });
});
