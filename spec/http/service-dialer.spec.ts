import { describe, expect, it } from '@jest/globals';
import * as http from '../../lib/http/index.js';
import { agent, connector, serviceAddress } from '../../lib/http/index.js';
import { createNode } from '../../lib/index.js';
import { thrownCode } from '../support/thrown.js';

describe('the address that a request dials', () => {
  it.each([
    ['http:', 'web', 80, 'web'],
    ['https:', 'web', 443, 'web'],
    ['http:', 'web', 8080, 'web:8080'],
    ['https:', 'web', 80, 'web:80'],
    ['http:', 'web', 443, 'web:443'],
    ['http:', 'web.shop_1', 80, 'web.shop_1'],
    ['http:', '@AAAAAAAAAAA', 80, '@AAAAAAAAAAA:80'],
    ['https:', '@AAAAAAAAAAA', 443, '@AAAAAAAAAAA:443'],
  ] as const)('for %s at %s, port %i, is %4$s', (protocol, hostname, port, address) => {
    expect(serviceAddress({ protocol, hostname, port })).toBe(address);
  });
});

describe('the options of agents and connectors', () => {
  const node = createNode();
  const notNumber = '5' as unknown as number;

  it.each([
    ['an agent, address', () => agent(node, { address: 'web' as never })],
    ['an agent, selector', () => agent(node, { dial: { selector: 'best' as never } })],
    ['a connector, address', () => connector(node, { address: 'web' as never })],
    ['a connector, timeout', () => connector(node, { timeout: 0 })],
    ['a connector, timeout that is no number', () => connector(node, { timeout: notNumber })],
    ['a connector, maxCachedSessions', () => connector(node, { maxCachedSessions: -1 })],
  ])('are checked: %s', (_what, make) => {
    expect(thrownCode(make)).toBe('ERR_STARLANE_OPTION');
  });

  it('are checked by Node where they are its own', () => {
    expect(() => agent(node, { scheduling: 'random' as never })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }),
    );
  });
});

describe('starlane/http', () => {
  it('exports these values', () => {
    expect(Object.keys(http).sort()).toEqual(['agent', 'connector', 'gateway', 'metrics', 'monitor', 'serviceAddress']);
  });
});
