import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { readEnvironment, withEnvironment } from '../../lib/node/environment.js';
import { resolveNodeOptions } from '../../lib/options/options.js';
import { resolveVia } from '../../lib/options/via.js';

function partsOf(url: string): unknown {
  const { scheme, host, port, credentials, url: shown } = resolveVia(url) ?? {};
  return { scheme, host, port, credentials, shown };
}

describe('the option via', () => {
  it.each([
    ['http://proxy:3128', 'http', 'proxy', 3128, 'http://proxy:3128'],
    ['HTTP://proxy.example/', 'http', 'proxy.example', 80, 'http://proxy.example:80'],
    ['https://proxy', 'https', 'proxy', 443, 'https://proxy:443'],
    ['socks5://10.0.0.1', 'socks5', '10.0.0.1', 1080, 'socks5://10.0.0.1:1080'],
    ['socks5h://proxy:80', 'socks5', 'proxy', 80, 'socks5://proxy:80'],
    ['http://[::1]:8080', 'http', '::1', 8080, 'http://[::1]:8080'],
    ['socks5://[2001:db8::1]:8080', 'socks5', '2001:db8::1', 8080, 'socks5://[2001:db8::1]:8080'],
  ])('reads %s', (url, scheme, host, port, shown) => {
    expect(partsOf(url)).toEqual({ scheme, host, port, credentials: undefined, shown });
  });

  it('decodes user and password, and does not show them', () => {
    const via = resolveVia('http://j%C3%B6rg:p%3Ass%40w%2Frd@proxy:3128');
    expect(via?.credentials).toEqual({ user: 'jörg', password: 'p:ss@w/rd' });
    expect(resolveVia('socks5://a%3Ab@proxy')?.credentials).toEqual({ user: 'a:b', password: '' });
    const printed =
      inspect(via, { depth: 9, showHidden: true, getters: false }) + JSON.stringify(via) + String(via?.url);
    expect(printed).not.toMatch(/ss@|rg/);
  });

  it.each([
    '',
    'proxy:3128',
    'ftp://proxy:21',
    'http://',
    'http://proxy:0',
    'http://proxy:65536',
    'http://proxy/path',
    'http://proxy?query',
    'http://proxy#hash',
    'http://me:pass-word/@proxy:3128',
    'http://me:pass-word%zz@proxy:3128',
    'http://me:pass-word%0a@proxy:3128',
    'http://:pass-word@proxy:3128',
    'http://a%3Ab:pass-word@proxy:3128',
    `socks5://me:pass-word${'x'.repeat(255)}@proxy`,
    'socks5://me:pass-word@pro xy',
    5,
    null,
  ])('refuses %p, without a word of it in the error', (via) => {
    let failure: unknown;
    try {
      resolveNodeOptions({ via } as never);
    } catch (error) {
      failure = error;
    }
    expect(failure).toMatchObject({ code: 'ERR_STARLANE_OPTION', message: expect.stringContaining('via: ') });
    expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain('pass-word');
  });

  it('is checked, but not kept', () => {
    expect(inspect(resolveNodeOptions({ via: 'http://me:pass-word@proxy:1' }), { depth: 9 })).not.toContain(
      'pass-word',
    );
  });
});

describe('the option noProxy', () => {
  function excepts(list: string | string[], host: string, port = 7400): boolean | undefined {
    return resolveVia('http://proxy:3128', list)?.excepts(host, port);
  }

  it.each<[string, string, boolean]>([
    ['*', 'any.example', true],
    ['*', '192.0.2.1', true],
    ['example.com', 'example.com', true],
    ['example.com', 'a.b.EXAMPLE.com', true],
    ['example.com', 'example.com.', true],
    ['example.com', 'badexample.com', false],
    ['example.com', 'example.com.evil', false],
    ['.example.com', 'example.com', true],
    ['.example.com', 'a.example.com', true],
    ['*.Example.com', 'a.example.com', true],
    ['example.com:7400', 'a.example.com', true],
    ['example.com:7401', 'a.example.com', false],
    ['10.0.0.1', '10.0.0.1', true],
    ['10.0.0.1', '10.0.0.11', false],
    ['10.0.0.1:7400', '10.0.0.1', true],
    ['10.0.0.1:1', '10.0.0.1', false],
    ['10.0.0.0/8', '10.255.0.1', true],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['10.0.0.0/8', 'ten.example', false],
    ['2001:db8::/32', '2001:db8::7', true],
    ['2001:db8::/32', '2001:db9::7', false],
    ['::1', '::1', true],
    ['[2001:db8::1]', '2001:db8::1', true],
    ['[2001:db8::1]:7400', '2001:db8::1', true],
    ['[2001:db8::1]:1', '2001:db8::1', false],
    ['a.example, 10.0.0.0/8 b.example', 'b.example', true],
    ['', 'b.example', false],
  ])('%j excepts %s: %s', (list, host, expected) => {
    expect(excepts(list, host)).toBe(expected);
  });

  it.each(['a b', '10.0.0.0/33', '::/129', 'a.*.example', 'host:0', 'host:99999', 'http://host', '[x]', ''])(
    'refuses the entry %j',
    (entry) => {
      expect(() => excepts(['ok.example', entry], 'x')).toThrow(/noProxy\[1\]: must be/);
    },
  );

  it('needs the option via', () => {
    expect(() => resolveNodeOptions({ noProxy: 'host' })).toThrow(/noProxy: needs the option via/);
    expect(() => resolveNodeOptions({ noProxy: 5 } as never)).toThrow(/noProxy: must be a list/);
  });
});

describe('the proxy of the environment', () => {
  function optionsIn(variables: Record<string, string>, options = {}) {
    const { via, noProxy } = withEnvironment(options, readEnvironment(variables));
    return { via, noProxy };
  }

  it('is that of STARLANE_VIA, with the exceptions of STARLANE_NO_PROXY, unless the program has its own', () => {
    const variables = { STARLANE_VIA: 'http://a:1', STARLANE_NO_PROXY: 'x, y', NO_PROXY: 'z' };
    expect(optionsIn(variables)).toEqual({ via: 'http://a:1', noProxy: ['x', 'y'] });
    expect(optionsIn(variables, { via: 'http://b:1' })).toEqual({ via: 'http://b:1', noProxy: ['x', 'y'] });
    expect(optionsIn(variables, { noProxy: 'q' })).toEqual({ via: 'http://a:1', noProxy: 'q' });
  });

  it('is none where only variables of the machine are set, or only exceptions', () => {
    const variables = { HTTPS_PROXY: 'http://a:1', NO_PROXY: 'z', STARLANE_NO_PROXY: 'x' };
    expect(optionsIn(variables)).toEqual({ via: undefined, noProxy: undefined });
  });

  it.each([
    [
      { HTTPS_PROXY: 'http://a:1', NO_PROXY: 'x;y, .z,10.0.0.0/8' },
      { via: 'http://a:1', noProxy: ['x;y', '.z', '10.0.0.0/8'] },
    ],
    [
      { HTTPS_PROXY: 'a:1', https_proxy: 'b:2' },
      { via: 'http://b:2', noProxy: [] },
    ],
    [
      { ALL_PROXY: 'socks5h://a', no_proxy: 'http://x,y', NO_PROXY: 'z' },
      { via: 'socks5h://a', noProxy: ['y'] },
    ],
    [
      { HTTPS_PROXY: '', HTTP_PROXY: 'http://a:1', NO_PROXY: 'z' },
      { via: undefined, noProxy: undefined },
    ],
    [
      { HTTPS_PROXY: 'http://a:1', NO_PROXY: 'z', STARLANE_NO_PROXY: 'x' },
      { via: 'http://a:1', noProxy: ['x'] },
    ],
  ])('is, by via: environment, that of the machine: %j', (variables, expected) => {
    expect(optionsIn(variables as never, { via: 'environment' })).toEqual(expected);
    expect(optionsIn({ ...variables, STARLANE_VIA: 'environment' } as never)).toEqual(expected);
  });
});
