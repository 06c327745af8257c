// Several services as a destination, and how the command line writes them.

import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Destination, failover, parseDestination, split } from '../../../lib/circuit/dial/destination.js';
import { DialTargets } from '../../../lib/circuit/dial/dial-target.js';
import { nodeIdOf } from '../../support/relay-fixture.js';
import { thrownCode } from '../../support/thrown.js';

/** The groups in a short form. */
function shown(destination: string | Destination): unknown {
  if (typeof destination === 'string') return destination;
  return destination.groups.map((group) => group.map(({ address, weight }) => `${address}*${weight}`).join(' '));
}

describe('the text of a destination', () => {
  it.each([
    ['web', 'web'],
    ['0.kafka', '0.kafka'],
    ['web:80', 'web:80'],
    [`@${nodeIdOf('A')}:80`, `@${nodeIdOf('A')}:80`],
    [':80', ':80'],
    ['web-v2,web-v1', ['web-v2*1', 'web-v1*1']],
    ['web-v1=90,web-v2=10', ['web-v1*90 web-v2*10']],
    [' web-v1 = 90 , web-v2=10 ', ['web-v1*90 web-v2*10']],
    ['web-v1=90,web-v2=10,web:80,0.web', ['web-v1*90 web-v2*10', 'web:80*1', '0.web*1']],
    ['a=1,b=0;c=5,d=6', ['a*1 b*0', 'c*5 d*6']],
    ['a;b', ['a*1', 'b*1']],
    ['web=5', ['web*5']],
  ])('%s is read', (text, groups) => {
    expect(shown(parseDestination(text))).toEqual(groups);
  });

  it.each([
    '',
    ',',
    'a,',
    'a,,b',
    'a=',
    'a=-1',
    'a=1.5',
    'a=x',
    'a=1=2',
    'a=10000000',
    'a=1,a=2',
    'a,a',
    '=1',
    'a b,c',
    'a,:80',
    `a,@${nodeIdOf('A')}:80`,
    'a,b:0',
    'a,b:x',
    Array.from({ length: 65 }, (_, index) => `s${index}`).join(','),
  ])('is refused when it is %j', (text) => {
    expect(thrownCode(() => parseDestination(text))).toBe('ERR_STARLANE_ADDRESS');
  });

  it('is what a destination prints, which reads as the same one', () => {
    const share = fc.tuple(fc.nat({ max: 40 }), fc.nat({ max: 1_000_000 }));
    const groups = fc.array(fc.uniqueArray(share, { minLength: 1, maxLength: 4, selector: ([id]) => id }), {
      minLength: 1,
      maxLength: 5,
    });
    fc.assert(
      fc.property(groups, (all) => {
        const destination = failover(
          ...all.map((group, index) =>
            group.length === 1
              ? `s${index}-${group[0][0]}`
              : split(Object.fromEntries(group.map(([id, weight]) => [`s${index}-${id}`, weight]))),
          ),
        );
        const text = String(destination);
        expect(shown(parseDestination(text))).toEqual(
          all.length === 1 && all[0].length === 1 ? text : shown(destination),
        );
      }),
    );
  });
});

describe('a destination', () => {
  it('cannot be changed', () => {
    const destination = split({ a: 1, b: 2 });
    expect(() => Object.assign(destination.groups[0][0], { weight: 5 })).toThrow(TypeError);
    expect(() => (destination.groups as unknown[]).push([])).toThrow(TypeError);
  });

  it.each<[string, () => unknown, string]>([
    ['no service', () => failover(), 'ERR_STARLANE_ADDRESS'],
    ['no name', () => failover('a', 5 as never), 'ERR_STARLANE_ADDRESS'],
    ['a node', () => failover('a', `@${nodeIdOf('A')}:5`), 'ERR_STARLANE_ADDRESS'],
    ['a service twice', () => failover('a', split({ b: 1, a: 2 })), 'ERR_STARLANE_ADDRESS'],
    ['a weight below 0', () => split({ a: -1 }), 'ERR_STARLANE_ARGUMENT'],
    ['a weight that is no integer', () => split({ a: 0.5 }), 'ERR_STARLANE_ARGUMENT'],
    ['no weights', () => split(null as never), 'ERR_STARLANE_ARGUMENT'],
    ['no weight', () => split({}), 'ERR_STARLANE_ADDRESS'],
  ])('is refused with %s', (_what, make, code) => {
    expect(thrownCode(make)).toBe(code);
  });

  it('is parsed once for all its dials', () => {
    const targets = new DialTargets(nodeIdOf('A'));
    const destination = failover('0.kafka', split({ a: 1, 'b:5': 2 }));
    expect(targets.get(destination)).toBe(targets.get(destination));
    expect(targets.get(destination).names).toEqual(['0.kafka', 'kafka', 'a', 'b']);
    expect(new Destination([[{ address: 'a', weight: 1 }]])).not.toBe(destination);
  });
});
