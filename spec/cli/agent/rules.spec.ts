// The rules of a host.

import { describe, expect, it } from '@jest/globals';
import { type Caller, HostRules } from '../../../lib/cli/agent/rules.js';

const ID = 'AAAAAAAAAAA';
const caller = (of: Partial<Caller> = {}): Caller => ({ id: ID, name: 'ops-1', tags: ['ops'], verified: true, ...of });
const may = (rule: string, of?: Partial<Caller>, right: 'deploy' | 'status' = 'deploy', name?: string) =>
  new HostRules([rule]).of(caller(of)).may(right, name);

describe('a rule', () => {
  it.each([
    ['members=ops-* rights=deploy', {}, true],
    ['members=ops-* rights=deploy', { name: 'web' }, false],
    ['members=ops-* rights=deploy', { name: undefined }, false],
    ['tags=ops rights=deploy', {}, true],
    ['tags=ops rights=deploy', { tags: [] }, false],
    [`nodes=${ID} rights=deploy`, { name: undefined, tags: [] }, true],
    [`nodes=${ID} rights=deploy`, { id: 'AAAAAAAAAAE' }, false],
    ['members=* rights=deploy', { verified: false }, false],
    ['members=* rights=status', {}, false],
    ['members=a%20b rights=deploy', { name: 'a b' }, true],
  ] as const)('%s, for %j: %j', (rule, of, is) => {
    expect(may(rule, of as Partial<Caller>)).toBe(is);
  });

  it('holds for its apps, and for all when it names none', () => {
    expect(may('tags=ops rights=deploy apps=web-*', {}, 'deploy', 'web-1')).toBe(true);
    expect(may('tags=ops rights=deploy apps=web-*', {}, 'deploy', 'db')).toBe(false);
    expect(may('tags=ops rights=deploy', {}, 'deploy', 'db')).toBe(true);
  });

  it('with deploy also lets a caller see the status', () => {
    expect(may('tags=ops rights=deploy', {}, 'status', 'db')).toBe(true);
  });

  it('that does not fit a caller does not lend its apps to another rule', () => {
    const rules = new HostRules(['tags=ops rights=status apps=web', 'tags=other rights=deploy']);
    expect(rules.of(caller()).may('deploy', 'web')).toBe(false);
  });

  it.each([
    ['rights=deploy', 'names nobody: it needs members, tags or nodes, in "rights=deploy"'],
    ['members=a', 'gives no rights, in "members=a"'],
    [
      'members=a rights=all',
      'rights must be deploy, jobs, all-jobs, status or logs, not all, in "members=a rights=all"',
    ],
    ['members= rights=deploy', 'members has an empty value, in "members= rights=deploy"'],
    ['nodes=me rights=deploy', 'nodes must be ids of nodes, in "nodes=me rights=deploy"'],
    ['who=a rights=deploy', 'must consist of members=…, tags=…, nodes=…, rights=… or apps=…, in "who=a rights=deploy"'],
    ['members=a members=b rights=deploy', 'has members twice, in "members=a members=b rights=deploy"'],
  ])('%s is refused', (rule, message) => {
    expect(() => new HostRules([rule])).toThrow(message);
  });
});
