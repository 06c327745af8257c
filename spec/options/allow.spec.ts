import { describe, expect, it } from '@jest/globals';
import { StarlaneError } from '../../lib/errors.js';
import { type Allow, type AllowRule, resolveAllow } from '../../lib/options/allow.js';

const ID = 'AAAAAAAAAAA';
const OTHER_ID = 'BBBBBBBBBBA';

function refusalOf(allow: unknown, directions?: ['dial']): string {
  try {
    resolveAllow(allow, directions);
  } catch (error) {
    expect(error).toBeInstanceOf(StarlaneError);
    expect((error as StarlaneError).code).toBe('ERR_STARLANE_OPTION');
    return (error as StarlaneError).message.replace('unknown or invalid option: ', '');
  }
  return 'no error';
}

describe('the option allow', () => {
  it('is nothing, a function, or a frozen list of rules', () => {
    const ask = (): boolean => true;
    expect(resolveAllow(undefined)).toBeUndefined();
    expect((resolveAllow(ask) as () => boolean)()).toBe(true);
    const ids = [ID];
    const rules = [{ id: ids, service: 'web*' }];
    const resolved = resolveAllow(rules) as readonly AllowRule[];
    ids.push(OTHER_ID);
    rules.push({ id: [], service: '*' });
    expect(resolved).toEqual([{ id: [ID], service: 'web*' }]);
    for (const part of [resolved, resolved[0], resolved[0].id]) expect(Object.isFrozen(part)).toBe(true);
  });

  it('takes its own result', () => {
    const rules: Allow = [
      { id: ID, name: ['a', '*.b'], tag: ['ops', 'team:*'], env: 'prod', service: ['', 'web*'], direction: 'dial' },
      {},
    ];
    const resolved = resolveAllow(rules);
    expect(resolved).toEqual(rules);
    expect(resolveAllow(resolved)).toEqual(rules);
  });

  it.each<[string, unknown]>([
    ['allow: must be a function or a list of rules', null],
    ['allow: must be a function or a list of rules', true],
    ['allow: must be a function or a list of rules', { id: ID }],
    ['allow[1]: must be a rule such as', [{}, null]],
    ['allow[0]: must be a rule such as', ['*']],
    ['allow[0]: must be a rule such as', [[]]],
    // biome-ignore lint/suspicious/noSparseArray: a hole is what is tested
    ['allow[0]: must be a rule such as', [, {}]],
    ['allow[0].ids: unknown field', [{ ids: ID }]],
    ['allow[0].constructor: unknown field', [{ constructor: ID }]],
    ['allow[0].id: must be a node id', [{ id: 'me' }]],
    ['allow[0].id: must be a node id', [{ id: [ID, ''] }]],
    ['allow[0].id: must be a node id', [{ id: 'AAAAAAAA*' }]],
    ['allow[0].name: must be a name', [{ name: '' }]],
    ['allow[2].env: must be the name of an env', [{}, {}, { env: 'not ok' }]],
    ['allow[0].service: must be the name of a service', [{ service: 'web:80' }]],
    ['allow[0].service: must be the name of a service', [{ service: 7 }]],
    ["allow[0].direction: must be 'dial' or 'bind'", [{ direction: 'both' }]],
    ['allow[0].tag: must be a tag', [{ tag: '' }]],
    ['allow[0].tag: must be a tag', [{ tag: ['a', 7] }]],
  ])('is refused with "%s": %j', (start, allow) => {
    expect(refusalOf(allow)).toContain(start);
  });

  it.each(['id', 'name', 'tag', 'env', 'service', 'direction'])(
    'has no rule that fits everybody since its %s is missing',
    (key) => {
      // biome-ignore lint/suspicious/noSparseArray: a hole is what is tested
      for (const value of [undefined, null, [], [undefined], [,]]) {
        expect(refusalOf([{ [key]: value }])).toMatch(new RegExp(`^allow\\[0\\]\\.${key}: .*must be .*$`));
      }
    },
  );

  it('has no rules about binding where only dials are asked', () => {
    expect(refusalOf([{ direction: 'bind' }], ['dial'])).toContain('allow[0].direction: a server can only');
    expect(refusalOf([{ direction: ['bind', 'dial'] }, {}], ['dial'])).toBe('no error');
  });

  it('may speak of the name and tags of a node that binds', () => {
    const rules: Allow = [{ name: 'a', tag: 'ops', direction: 'bind' }];
    expect(resolveAllow(rules)).toEqual(rules);
  });
});
