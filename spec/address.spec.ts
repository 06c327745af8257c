import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  formatLinkAddress,
  formatServiceAddress,
  isNodeId,
  isServiceName,
  type LinkAddress,
  nodeIdFromBytes,
  nodeIdFromPublicKey,
  nodeIdToBytes,
  parseLinkAddress,
  parseServiceAddress,
  type ServiceAddress,
  splitInstance,
} from '../lib/address.js';
import { StarlaneError } from '../lib/errors.js';

/** Characters of all of Unicode. The unit "binary" of fast-check makes a table of a million first. */
const anyText = fc
  .array(fc.integer({ min: 0, max: 0x10_ffff }).filter((code) => code < 0xd800 || code > 0xdfff))
  .map((codes) => String.fromCodePoint(...codes));

const NODE_ID = 'AAECAwQFBgc';

function codeOf(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(StarlaneError);
    return (error as StarlaneError).code;
  }
  return 'no error';
}

describe('a node id', () => {
  it('is the first 8 bytes of the hash of the public key', () => {
    const raw = Buffer.alloc(32, 7);
    const hash = createHash('sha256').update(raw).digest();
    expect(nodeIdFromPublicKey(raw)).toBe(hash.subarray(0, 8).toString('base64url'));
    expect(codeOf(() => nodeIdFromPublicKey(Buffer.alloc(31)))).toBe('ERR_STARLANE_ARGUMENT');
  });

  it('is the same as text and as bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 8, maxLength: 8 }), fc.nat(20), (bytes, offset) => {
        const id = nodeIdFromBytes(bytes);
        expect(isNodeId(id)).toBe(true);
        expect([...nodeIdToBytes(id)]).toEqual([...bytes]);
        expect(nodeIdFromBytes(Buffer.concat([Buffer.alloc(offset), bytes]), offset)).toBe(id);
      }),
    );
  });

  it('has one spelling', () => {
    expect(isNodeId(NODE_ID)).toBe(true);
    // The last character carries four bits; the other two must be zero.
    for (const text of [
      'AAECAwQFBgd',
      'AAECAwQFBg',
      `${NODE_ID}=`,
      'AAECAwQFB+c',
      `${NODE_ID}\n`,
      '',
      5,
      null,
      undefined,
    ]) {
      expect(isNodeId(text)).toBe(false);
    }
    expect(codeOf(() => nodeIdToBytes('AAECAwQFBgd'))).toBe('ERR_STARLANE_ADDRESS');
    expect(codeOf(() => nodeIdFromBytes(Buffer.alloc(7)))).toBe('ERR_STARLANE_ARGUMENT');
    expect(codeOf(() => nodeIdFromBytes(Buffer.alloc(8), 1))).toBe('ERR_STARLANE_ARGUMENT');
  });
});

describe('a service address', () => {
  it.each<[string, ServiceAddress]>([
    ['echo', { kind: 'service', service: 'echo', port: undefined }],
    ['echo:80', { kind: 'service', service: 'echo', port: 80 }],
    ['echo:0', { kind: 'service', service: 'echo', port: 0 }],
    [':4294967295', { kind: 'port', port: 4294967295 }],
    [`@${NODE_ID}:7`, { kind: 'node', nodeId: NODE_ID, port: 7 }],
    ['a@b:1', { kind: 'service', service: 'a@b', port: 1 }],
    ['127.0.0.1:80', { kind: 'service', service: '127.0.0.1', port: 80 }],
    ['__proto__', { kind: 'service', service: '__proto__', port: undefined }],
    ['größe-😀/v1', { kind: 'service', service: 'größe-😀/v1', port: undefined }],
    ['x'.repeat(255), { kind: 'service', service: 'x'.repeat(255), port: undefined }],
  ])('reads %s and writes it back', (text, address) => {
    expect(parseServiceAddress(text)).toEqual(address);
    expect(formatServiceAddress(address)).toBe(text);
  });

  it.each([
    '',
    ':',
    'echo:',
    'echo:-1',
    'echo:080',
    'echo:1.5',
    'echo:1e3',
    'echo:0x50',
    'echo: 80',
    'echo:4294967296',
    'echo:99999999999999999999',
    'a:b:80',
    '::1',
    '[::1]:80',
    'tcp://a:1',
    '@',
    '@:80',
    `@${NODE_ID}`,
    '@short:80',
    'two words',
    ' echo',
    'echo\n',
    'a\u0000b',
    'a\u2028b',
    'a\ud800b',
    'x'.repeat(256),
    'é'.repeat(128),
  ])('refuses %j', (text) => {
    expect(codeOf(() => parseServiceAddress(text))).toBe('ERR_STARLANE_ADDRESS');
  });

  it.each([undefined, null, 80, {}, ['echo']])('refuses %p, which is not text', (value) => {
    expect(codeOf(() => parseServiceAddress(value as string))).toBe('ERR_STARLANE_ADDRESS');
  });

  it('is read back as written, and anything else is refused with a code', () => {
    fc.assert(
      fc.property(fc.oneof(anyText, fc.stringMatching(/^[@:]?\w*:?\d*$/)), (text) => {
        const code = codeOf(() => parseServiceAddress(text));
        if (code === 'no error') expect(formatServiceAddress(parseServiceAddress(text))).toBe(text);
        else expect(code).toBe('ERR_STARLANE_ADDRESS');
      }),
    );
  });

  it('has a name of at most 255 bytes, however few characters that is', () => {
    expect(isServiceName('é'.repeat(127))).toBe(true);
    expect(isServiceName('é'.repeat(128))).toBe(false);
    expect(isServiceName('😀'.repeat(63))).toBe(true);
    expect(isServiceName('😀'.repeat(64))).toBe(false);
  });
});

describe('the name of an instance', () => {
  it.each([
    ['0.kafka', { instance: '0', service: 'kafka' }],
    ['web-1.shop.eu', { instance: 'web-1', service: 'shop.eu' }],
    ['kafka', undefined],
    ['.kafka', undefined],
    ['0.', undefined],
    ['-0.kafka', undefined],
    ['0.@kafka', undefined],
    [`${'a'.repeat(64)}.kafka`, undefined],
    ['ü.kafka', undefined],
  ])('and its service are what %s stands for', (name, parts) => {
    expect(splitInstance(name)).toEqual(parts);
  });
});

describe('a link address', () => {
  it.each<[string, LinkAddress, string]>([
    ['tcp://10.0.0.1:80', { scheme: 'tcp', host: '10.0.0.1', port: 80 }, 'tcp://10.0.0.1:80'],
    [
      'tls://mesh.example.org:443',
      { scheme: 'tls', host: 'mesh.example.org', port: 443 },
      'tls://mesh.example.org:443',
    ],
    ['localhost:0', { scheme: 'tcp', host: 'localhost', port: 0 }, 'tcp://localhost:0'],
    [':10000', { scheme: 'tcp', host: undefined, port: 10000 }, 'tcp://:10000'],
    ['tls://:1', { scheme: 'tls', host: undefined, port: 1 }, 'tls://:1'],
    ['[::1]:80', { scheme: 'tcp', host: '::1', port: 80 }, 'tcp://[::1]:80'],
    ['tcp://[fe80::1%eth0]:80', { scheme: 'tcp', host: 'fe80::1%eth0', port: 80 }, 'tcp://[fe80::1%eth0]:80'],
    ['unix:/run/star.sock', { scheme: 'unix', path: '/run/star.sock' }, 'unix:/run/star.sock'],
    ['unix:./star.sock', { scheme: 'unix', path: './star.sock' }, 'unix:./star.sock'],
  ])('reads %s', (text, address, written) => {
    expect(parseLinkAddress(text)).toEqual(address);
    expect(formatLinkAddress(address)).toBe(written);
    expect(parseLinkAddress(written)).toEqual(address);
  });

  it('takes the scheme it is given when the text names none', () => {
    expect(parseLinkAddress(':1', 'tls').scheme).toBe('tls');
    expect(parseLinkAddress('tcp://:1', 'tls').scheme).toBe('tcp');
  });

  it.each([
    '',
    'host',
    'host:',
    'host:65536',
    'host:08',
    'tcp://host',
    'tcp://host:1/',
    'tcp://user@host:1',
    'http://host:80',
    'TCP://host:80',
    '://host:80',
    '::1:80',
    '[::1]',
    '[::1:80',
    '[nonsense]:80',
    '[127.0.0.1]:80',
    'ho st:80',
    'ho\nst:80',
    'unix:',
    'unix:80',
    'unix:relative.sock',
    'unix:/a\u0000b',
    `${'x'.repeat(254)}:1`,
  ])('refuses %j', (text) => {
    expect(codeOf(() => parseLinkAddress(text))).toBe('ERR_STARLANE_ADDRESS');
  });

  it('is read back as written, and anything else is refused with a code', () => {
    const text = fc.oneof(
      anyText,
      fc
        .tuple(
          fc.constantFrom('tcp://', 'tls://', 'unix:', ''),
          fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6(), fc.string()),
          fc.nat(70_000),
        )
        .map(([scheme, host, port]) => `${scheme}${host.includes(':') ? `[${host}]` : host}:${port}`),
    );
    fc.assert(
      fc.property(text, (address) => {
        const code = codeOf(() => parseLinkAddress(address));
        if (code !== 'no error') expect(code).toBe('ERR_STARLANE_ADDRESS');
        else {
          const parsed = parseLinkAddress(address);
          expect(parseLinkAddress(formatLinkAddress(parsed))).toEqual(parsed);
        }
      }),
    );
  });
});
