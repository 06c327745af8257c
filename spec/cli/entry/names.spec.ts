import { describe, expect, it } from '@jest/globals';
import { meaningOf } from '../../../lib/cli/entry/names.js';
import { shownAddress, splitLocal } from '../../../lib/cli/local/address.js';

describe('a host and a port', () => {
  it.each([
    ['web', 80, { kind: 'service', address: 'web', preferredPort: 80 }],
    ['web.', 443, { kind: 'service', address: 'web', preferredPort: 443 }],
    ['web.Starlane', 80, { kind: 'service', address: 'web', preferredPort: 80 }],
    ['0.kafka.starlane', 9092, { kind: 'service', address: '0.kafka:9092', preferredPort: undefined }],
    ['db', 5432, { kind: 'service', address: 'db:5432', preferredPort: undefined }],
    ['kafka.eu', 80, { kind: 'either', name: 'kafka.eu', port: 80 }],
    ['starlane', 80, { kind: 'service', address: 'starlane', preferredPort: 80 }],
    ['10.0.0.7', 80, { kind: 'host', host: '10.0.0.7', port: 80 }],
    ['::1', 80, { kind: 'host', host: '::1', port: 80 }],
    ['LOCALHOST', 80, { kind: 'host', host: 'LOCALHOST', port: 80 }],
    ['a b', 80, { kind: 'nothing' }],
    ['@node', 80, { kind: 'nothing' }],
    ['', 80, { kind: 'nothing' }],
  ])('%j port %i is %j', (host, port, meaning) => {
    expect(meaningOf(host, port, 'starlane')).toEqual(meaning);
  });
});

describe('where a port is forwarded', () => {
  it.each([
    ['6379:redis', '127.0.0.1:6379', 'redis'],
    ['6379:redis:6379', '127.0.0.1:6379', 'redis:6379'],
    ['10.1.2.3:6379:redis', '10.1.2.3:6379', 'redis'],
    ['[::1]:6379:redis:1', '[::1]:6379', 'redis:1'],
    ['*:6379:redis', '*:6379', 'redis'],
    ['0:@AAAAAAAAAAA:80', '127.0.0.1:0', '@AAAAAAAAAAA:80'],
    ['/run/x.sock:redis', '/run/x.sock', 'redis'],
    ['unix:./x.sock:redis:7', './x.sock', 'redis:7'],
    ['80:web-v1=90,web-v2=10', '127.0.0.1:80', 'web-v1=90,web-v2=10'],
  ])('%s', (spec, at, rest) => {
    const split = splitLocal(spec, '127.0.0.1');
    expect(split === undefined ? split : [shownAddress(split.at), split.rest]).toEqual([at, rest]);
  });

  it.each(['redis', 'redis:6379', '6379', '6379:', '65536:redis', '06379:redis', '[::g]:1:redis', ':', ''])(
    'not: %j',
    (spec) => {
      expect(splitLocal(spec, '127.0.0.1')).toBeUndefined();
    },
  );
});
