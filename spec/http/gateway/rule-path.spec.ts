// How rules see paths that a service might read in another way.

import { describe, expect, it } from '@jest/globals';
import { rulePath } from '../../../lib/http/gateway/rule-path.js';
import { gatewayFixture, rawExchange } from './fixture.js';

describe('a path for rules', () => {
  it.each([
    ['/', '/'],
    ['/a/b?c=/../d', '/a/b?c=/../d'],
    ['/%61pi/x', '/api/x'],
    ['//api///x', '/api/x'],
    ['/@scope%2fname', '/@scope%2Fname'],
    ['/a;b=c/d', '/a;b=c/d'],
    ['/a..b/...', '/a..b/...'],
    ['/.well-known/x', '/.well-known/x'],
  ])('%s is %s', (path, expected) => {
    expect(rulePath(path)).toBe(expected);
  });

  it.each([
    '/..',
    '/.',
    '/a/../b',
    '/a/%2e%2E/b',
    '/a/.%2e',
    '/a/..;x/b',
    '/a/..%3bx',
    '/a/..%2fb',
    '/a\\..\\b',
    '/a%5c..',
  ])('%s is none', (path) => {
    expect(rulePath(path)).toBeUndefined();
  });
});

describe('a gateway with rules for paths', () => {
  const net = gatewayFixture();

  it('publishes nothing beyond them, however the path is spelled', async () => {
    for (const name of ['api', 'locked', 'rest'])
      await net.serve(name, (message, response) => response.end(`${name} got ${message.url}`));
    const opened = await net.open({
      hosts: {
        'a.test': { services: 'rest', paths: { '/api': { services: 'api', strip: true }, '/admin': 'locked' } },
        'b.test': 'rest',
      },
    });
    const ask = async (host: string, path: string): Promise<string> =>
      rawExchange(opened, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    expect(await ask('a.test', '/api/x')).toContain('api got /x');
    for (const path of ['/api/../admin', '/api/%2e%2e/admin', '/x/..;/admin', '/api/..%2fadmin'])
      expect(await ask('a.test', path)).toMatch(/^HTTP\/1.1 400 /);
    for (const path of ['//admin', '/%61dmin/x', '/admin;x', '/admin?x'])
      expect(await ask('a.test', path)).toContain('locked got');
    expect(await ask('a.test', '/%61pi/x%2fy')).toContain('api got /x%2Fy');
    expect(await ask('a.test', '/api//evil.test')).toContain('api got /evil.test');
    expect(await ask('b.test', '/a/../b')).toContain('rest got /a/../b');
  });
});
