import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { AllowRules, EnvNames, envsOf, Pattern } from '../../lib/access/rules.js';
import { type AllowPeer, type AllowRequest, type AllowRule, resolveAllow } from '../../lib/options/allow.js';
import { envDigests } from '../../lib/wire/messages.js';

const ID = 'AAAAAAAAAAA';
const OTHER_ID = 'BBBBBBBBBBA';

function request(changes: Partial<AllowRequest> = {}, peer: Partial<AllowPeer> = {}): AllowRequest {
  return {
    peer: { id: ID, name: undefined, verified: true, via: [], env: [], ...peer },
    service: 'web',
    port: 80,
    direction: 'dial',
    ...changes,
  };
}

function fits(rule: AllowRule, ...asked: Parameters<typeof request>): boolean {
  return new AllowRules(resolveAllow([rule]) as AllowRule[]).allows(request(...asked));
}

describe('a rule', () => {
  it('matches everything when it names nothing', () => {
    expect(fits({})).toBe(true);
    expect(fits({}, { direction: 'bind' }, { verified: false })).toBe(true);
  });

  it('matches when everything that it names matches', () => {
    const rule: AllowRule = { id: ID, name: 'a', env: 'prod', service: 'web', direction: 'dial' };
    const peer = { name: 'a', env: ['test', 'prod'] };
    expect(fits(rule, {}, peer)).toBe(true);
    expect(fits(rule, {}, { ...peer, id: OTHER_ID })).toBe(false);
    expect(fits(rule, {}, { ...peer, name: 'b' })).toBe(false);
    expect(fits(rule, {}, { ...peer, name: undefined })).toBe(false);
    expect(fits(rule, {}, { ...peer, env: ['test'] })).toBe(false);
    expect(fits(rule, {}, { ...peer, env: [] })).toBe(false);
    expect(fits(rule, { service: 'webb' }, peer)).toBe(false);
    expect(fits(rule, { direction: 'bind' }, peer)).toBe(false);
  });

  it('matches when one of a list does', () => {
    expect(fits({ id: [OTHER_ID, ID] })).toBe(true);
    expect(fits({ id: [OTHER_ID] })).toBe(false);
    expect(fits({ service: ['db', 'w*'] })).toBe(true);
    expect(fits({ service: ['db', 'x*'] })).toBe(false);
    expect(fits({ name: ['a', 'b'] }, {}, { name: 'b' })).toBe(true);
    expect(fits({ env: ['a', 'b'] }, {}, { env: ['c', 'b'] })).toBe(true);
    expect(fits({ direction: ['dial', 'bind'] })).toBe(true);
  });

  it('about identities matches no peer without proof', () => {
    const unproved = { name: 'a', env: ['prod'], verified: false };
    for (const rule of [{ id: ID }, { name: 'a' }, { name: '*' }, { env: 'prod' }, { id: ID, service: 'web' }]) {
      expect(fits(rule, {}, { ...unproved, verified: true })).toBe(true);
      expect(fits(rule, {}, unproved)).toBe(false);
    }
    expect(fits({ service: 'web' }, {}, unproved)).toBe(true);
  });

  it('about names does not match a peer without one', () => {
    expect(fits({ name: '*' }, {}, { name: undefined })).toBe(false);
  });

  it('distinguishes a bare port from a name', () => {
    expect(fits({ service: '' }, { service: '' })).toBe(true);
    expect(fits({ service: '' })).toBe(false);
    expect(fits({ service: '?*' }, { service: '' })).toBe(false);
  });
});

describe('rules', () => {
  it('allow what one of them matches, and no more', () => {
    const rules = new AllowRules([{ service: 'web' }, { id: ID, service: 'db' }]);
    expect(rules.allows(request())).toBe(true);
    expect(rules.allows(request({ service: 'db' }))).toBe(true);
    expect(rules.allows(request({ service: 'db' }, { id: OTHER_ID }))).toBe(false);
    expect(rules.allows(request({ service: 'admin' }))).toBe(false);
  });

  it('deny everything when there are none', () => {
    expect(new AllowRules([]).allows(request())).toBe(false);
  });
});

describe('a pattern', () => {
  it.each([
    ['web', ['web'], ['', 'we', 'webb', 'Web', 'web*']],
    ['*', ['', 'a', 'anything'], []],
    ['web*', ['web', 'web-1', 'web*'], ['we', 'aweb']],
    ['*web', ['web', 'aweb', 'webweb'], ['webb']],
    ['a*a', ['aa', 'aba', 'aaa'], ['a', 'ab']],
    ['ab*ba', ['abba', 'ab-ba'], ['aba', 'abb']],
    ['a*b*c', ['abc', 'a1b2c', 'abbc'], ['acb', 'ac']],
    ['a*bc*c', ['abcc', 'abcbc'], ['abc', 'abcb']],
    ['**', ['', 'x'], []],
    ['a.b', ['a.b'], ['axb']],
    ['[a-z]?', ['[a-z]?'], ['a', 'ab']],
  ])('%s', (text, fitting, others) => {
    const pattern = new Pattern(text);
    expect(fitting.filter((one) => !pattern.fits(one))).toEqual([]);
    expect(others.filter((one) => pattern.fits(one))).toEqual([]);
  });

  it('fits what a regular expression of the same meaning does', () => {
    const letters = fc.array(fc.constantFrom('a', 'b', '*'), { maxLength: 8 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(letters, letters, (text, subject) => {
        const meaning = new RegExp(`^${text.replaceAll('*', '[^]*')}$`);
        expect(new Pattern(text).fits(subject)).toBe(meaning.test(subject));
      }),
      { numRuns: 3000 },
    );
  });

  it('takes no longer for a name that nearly fits in many ways', () => {
    const pattern = new Pattern(`${'*a'.repeat(120)}*b`);
    expect(pattern.fits('a'.repeat(255))).toBe(false);
    expect(pattern.fits(`${'a'.repeat(254)}b`)).toBe(true);
  });
});

describe('names of envs', () => {
  it('are found in rules', () => {
    expect(envsOf(resolveAllow([{ env: 'a' }, {}, { env: ['b', 'c'] }]))).toEqual(['a', 'b', 'c']);
    expect([envsOf(undefined), envsOf(() => true), envsOf([])]).toEqual([[], [], []]);
  });

  it('are those that the node knows', () => {
    const names = new EnvNames(['prod', 'test']);
    names.learn([]);
    names.learn(['other', 'prod']);
    const digests = envDigests(['other', 'unknown', 'prod', 'prod']);
    expect(names.of(digests)).toEqual(['other', 'prod']);
    expect(names.of(envDigests([]))).toEqual([]);
  });
});
