import { describe, expect, it } from '@jest/globals';
import { TlsSessions } from '../../lib/http/connector.js';

const [a, b, c] = ['a', 'b', 'c'].map((text) => Buffer.from(text));

describe('a cache of TLS sessions', () => {
  it('returns the last session of each key, until it is deleted', () => {
    const sessions = new TlsSessions(2);
    sessions.set('one', a);
    sessions.set('two', b);
    sessions.set('one', c);
    expect([sessions.get('one'), sessions.get('two')]).toEqual([c, b]);
    sessions.delete('one');
    expect(sessions.get('one')).toBeUndefined();
  });

  it('forgets the key that was set longest ago beyond its limit', () => {
    const sessions = new TlsSessions(2);
    sessions.set('one', a);
    sessions.set('two', b);
    sessions.set('one', a);
    sessions.set('three', c);
    expect(['one', 'two', 'three'].map((key) => sessions.get(key))).toEqual([a, undefined, c]);
  });

  it('keeps nothing with a limit of 0', () => {
    const sessions = new TlsSessions(0);
    sessions.set('one', a);
    expect(sessions.get('one')).toBeUndefined();
  });
});
