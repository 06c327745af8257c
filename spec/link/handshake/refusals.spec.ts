// Links that must not come up: the reason that each end gets, how soon, and what is counted.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type NodeOptions, type StarlaneError } from '../../../lib/index.js';
import { certificateFor, memberTls, strangerTls } from '../../support/certificates.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { turnsUntil } from '../../support/turns.js';

const SECRET = { secret: 'a secret of more than 16 bytes' };
const OTHER_SECRET = { secret: 'another one of more than 16 bytes' };

const nodes: Node[] = [];

function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 200, ...options });
  nodes.push(node);
  return node;
}

beforeAll(async () => {
  // What is loaded once for all specs is not what they leave behind.
  const node = createNode(SECRET);
  await node.listenAndServe('127.0.0.1:0');
  await node.close();
});
beforeEach(() => watchHandles());
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await nothingLeft();
});

/** What an end says of a refusal: its code, and words of its message. */
type Said = [code: string, words: string];
type Ends = () => Promise<{ listener: NodeOptions; joiner: NodeOptions }>;

async function pki(certificate: Promise<{ cert: string | Buffer; key: string | Buffer }>): Promise<NodeOptions> {
  const { cert, key } = await certificate;
  return { tls: { cert, key, ca: (await memberTls()).cert } };
}

async function stranger(): Promise<NodeOptions> {
  return pki(strangerTls() as Promise<{ cert: string; key: string }>);
}

async function member(): Promise<NodeOptions> {
  return { tls: await memberTls() };
}

const CASES: Array<[what: string, schemes: [string, string], ends: Ends, joiner: Said, listener: Said, kind: string]> =
  [
    [
      'another secret, with tls',
      ['tls', 'tls'],
      async () => ({ listener: SECRET, joiner: OTHER_SECRET }),
      ['ERR_STARLANE_SECRET', 'the peer refused the link: this node has a secret, and the peer has a different one'],
      ['ERR_STARLANE_SECRET', 'differ: this node has a secret, and the peer has a different one'],
      'secret',
    ],
    [
      'another secret, without tls',
      ['tcp', 'tcp'],
      async () => ({ listener: SECRET, joiner: OTHER_SECRET }),
      ['ERR_STARLANE_SECRET', 'the peer refused the link: this node has a secret, and the peer has a different one'],
      ['ERR_STARLANE_SECRET', 'differ: this node has a secret, and the peer has a different one'],
      'secret',
    ],
    [
      'another secret, in one PKI',
      ['tls', 'tls'],
      async () => ({ listener: { ...SECRET, ...(await member()) }, joiner: { ...OTHER_SECRET, ...(await member()) } }),
      ['ERR_STARLANE_SECRET', 'the peer refused the link: this node has a secret, and the peer has a different one'],
      ['ERR_STARLANE_SECRET', 'differ: this node has a secret, and the peer has a different one'],
      'secret',
    ],
    [
      'no secret, where the listener has one',
      ['tcp', 'tcp'],
      async () => ({ listener: SECRET, joiner: {} }),
      ['ERR_STARLANE_SECRET', 'the peer refused the link: the peer has a secret, this node has none'],
      ['ERR_STARLANE_SECRET', 'differ: this node has a secret, the peer has none'],
      'secret',
    ],
    [
      'a secret, where the listener has none',
      ['tcp', 'tcp'],
      async () => ({ listener: {}, joiner: SECRET }),
      ['ERR_STARLANE_SECRET', 'the peer refused the link: this node has a secret, the peer has none'],
      ['ERR_STARLANE_SECRET', 'differ: the peer has a secret, this node has none'],
      'secret',
    ],
    [
      'no tls, where the listener has it',
      ['tls', 'tcp'],
      async () => ({ listener: SECRET, joiner: {} }),
      ['ERR_STARLANE_TLS', 'the peer accepts only tls'],
      ['ERR_STARLANE_TLS', 'the peer does not speak tls'],
      'tls',
    ],
    [
      'tls, where the listener is a plain one',
      ['tcp', 'tls'],
      async () => ({ listener: SECRET, joiner: SECRET }),
      ['ERR_STARLANE_TLS', 'the peer does not speak tls'],
      ['ERR_STARLANE_TLS', 'the peer speaks tls'],
      'tls',
    ],
    [
      'a certificate that the listener does not take',
      ['tls', 'tls'],
      async () => ({ listener: await member(), joiner: await stranger() }),
      [
        'ERR_STARLANE_TLS',
        'the peer refused the link: the peer does not accept the certificate of this node (DEPTH_ZERO_SELF_SIGNED_CERT)',
      ],
      ['ERR_STARLANE_TLS', 'this node does not accept the certificate of the peer (DEPTH_ZERO_SELF_SIGNED_CERT)'],
      'tls',
    ],
    [
      'an authority that has not signed the listener',
      ['tls', 'tls'],
      async () => ({ listener: await stranger(), joiner: await member() }),
      ['ERR_STARLANE_TLS', 'this node does not accept the certificate of the peer (DEPTH_ZERO_SELF_SIGNED_CERT)'],
      [
        'ERR_STARLANE_TLS',
        'the peer refused the link: the peer does not accept the certificate of this node (DEPTH_ZERO_SELF_SIGNED_CERT)',
      ],
      'tls',
    ],
    [
      'another host in mind than the certificate of the listener',
      ['tls', 'tls'],
      async () => {
        const elsewhere = await certificateFor('elsewhere.example');
        const tls = { ...elsewhere, ca: elsewhere.cert };
        return { listener: { tls }, joiner: { tls } };
      },
      ['ERR_STARLANE_TLS', 'ERR_TLS_CERT_ALTNAME_INVALID'],
      ['ERR_STARLANE_TLS', 'the peer refused the link: the peer does not accept the certificate of this node'],
      'tls',
    ],
    [
      'no PKI, where the listener has one',
      ['tls', 'tls'],
      async () => ({ listener: { ...SECRET, ...(await member()) }, joiner: SECRET }),
      ['ERR_STARLANE_TLS', 'the certificate of the peer does not follow from its identity'],
      ['ERR_STARLANE_TLS', 'this node does not accept the certificate of the peer'],
      'tls',
    ],
    [
      'a PKI, where the listener has none',
      ['tls', 'tls'],
      async () => ({ listener: SECRET, joiner: { ...SECRET, ...(await member()) } }),
      ['ERR_STARLANE_TLS', 'this node does not accept the certificate of the peer'],
      ['ERR_STARLANE_TLS', 'the certificate of the peer does not follow from its identity'],
      'tls',
    ],
  ];

describe('a node that joins with', () => {
  it.each(CASES)(
    '%s is refused, and both ends know why',
    async (_what, [scheme, joinScheme], ends, said, heard, kind) => {
      const options = await ends();
      // So long that a wait for it fails the spec.
      const listener = makeNode({ handshakeTimeoutMs: 60_000, ...options.listener });
      const joiner = makeNode({ handshakeTimeoutMs: 60_000, ...options.joiner });
      const { address } = await listener.listenAndServe(`${scheme}://127.0.0.1:0`);
      const warned = once(listener, 'warning');
      const [code, words] = said;
      await expect(joiner.join(address.replace(scheme, joinScheme))).rejects.toMatchObject({
        code,
        message: expect.stringContaining(words),
      });
      const [warning] = (await warned) as [StarlaneError];
      expect(warning).toMatchObject({ code: heard[0], message: expect.stringContaining(heard[1]) });
      expect(warning.message).toMatch(/^t(ls|cp):\/\/127\.0\.0\.1:\d+: /);
      // It is final: nothing is tried again.
      expect(joiner.stats().links).toMatchObject({ joins: 0, up: 0, failed: 1, refused: { [kind]: 1 } });
      expect(listener.stats().links).toMatchObject({ up: 0, failed: 1, refused: { [kind]: 1 } });
    },
  );

  it('no credentials for tls fails at once', async () => {
    const joiner = makeNode();
    await expect(joiner.join('tls://127.0.0.1:1')).rejects.toMatchObject({
      code: 'ERR_STARLANE_OPTION',
      message: expect.stringContaining('needs the option credentials, secret or tls'),
    });
  });

  it('a secret or a PKI does not dial plain tcp beyond loopback, without insecure: true', async () => {
    for (const options of [SECRET, await member()]) {
      const joiner = makeNode(options);
      await expect(joiner.join('tcp://192.0.2.1:1')).rejects.toMatchObject({
        code: 'ERR_STARLANE_INSECURE',
        message: expect.stringContaining('tcp://192.0.2.1:1'),
      });
    }
    for (const options of [{}, { ...SECRET, insecure: true }]) {
      const signal = AbortSignal.abort(new Error('far enough'));
      await expect(makeNode(options).join('tcp://192.0.2.1:1', { signal })).rejects.toThrow('far enough');
    }
  });

  it('a secret does not listen at plain tcp beyond loopback either', async () => {
    await expect(makeNode(SECRET).listenAndServe('tcp://0.0.0.0:0')).rejects.toMatchObject({
      code: 'ERR_STARLANE_INSECURE',
    });
    await makeNode({ ...SECRET, insecure: true }).listenAndServe('tcp://0.0.0.0:0');
    expect((await makeNode(SECRET).listenAndServe('0.0.0.0:0')).address).toMatch(/^tls:/);
  });
});

describe('a connection to a node with a secret', () => {
  async function serve(options: NodeOptions = {}): Promise<{ node: Node; port: number }> {
    const node = makeNode({ ...SECRET, ...options });
    const { address } = await node.listenAndServe('127.0.0.1:0');
    return { node, port: Number(address.split(':').pop()) };
  }

  it.each([
    ['speaks HTTP', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 'the peer speaks HTTP'],
    ['sends garbage', Buffer.alloc(4096, 0xa5), 'the peer does not speak tls'],
  ])('and %s is dropped, with a warning', async (_what, bytes, words) => {
    const { node, port } = await serve();
    const warned = once(node, 'warning');
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    socket.resume().write(bytes);
    const closed = once(socket, 'close');
    expect(await warned).toMatchObject([{ code: 'ERR_STARLANE_TLS', message: expect.stringContaining(words) }]);
    await closed;
    expect(node.stats().links).toMatchObject({ failed: 1, unsettled: 0, refused: { tls: 1 } });
  });

  it('and means another protocol is dropped, with a warning', async () => {
    const { node, port } = await serve();
    const warned = once(node, 'warning');
    const socket = connectTls({ port, host: '127.0.0.1', ALPNProtocols: ['h2'], rejectUnauthorized: false });
    const [error] = await once(socket, 'error');
    expect(error).toMatchObject({ code: expect.stringContaining('NO_APPLICATION_PROTOCOL') });
    expect(await warned).toMatchObject([
      { code: 'ERR_STARLANE_TLS', message: expect.stringContaining('name different protocols') },
    ]);
  });

  it('that is silent is dropped in time, and so is one that stops after tls', async () => {
    const { node, port } = await serve({ handshakeTimeoutMs: 50 });
    for (const make of [
      () => connect(port, '127.0.0.1'),
      () => connectTls({ port, host: '127.0.0.1', ALPNProtocols: ['starlane/1'], rejectUnauthorized: false }),
    ]) {
      const warned = once(node, 'warning');
      const socket = make().on('error', () => {});
      const closed = once(socket.resume(), 'close');
      expect(await warned).toMatchObject([{ code: 'ERR_STARLANE_HANDSHAKE_TIMEOUT' }]);
      await closed;
    }
    expect(node.stats().links).toMatchObject({ failed: 2, unsettled: 0, refused: { timeout: 2 } });
  });

  it('and leaves without a word is a probe, and no fault', async () => {
    const { node, port } = await serve();
    const arrived: number[] = [];
    for (let count = 0; count < 3; count++) {
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      await once(socket, 'connect');
      socket.end();
      await once(socket.resume(), 'close');
      arrived.push(count);
    }
    const joiner = makeNode(SECRET);
    await joiner.join(`127.0.0.1:${port}`);
    expect(node.stats()).toMatchObject({ warnings: 0, links: { failed: 0, up: 1 } });
  });

  it('is pending through tls and HELLO, however many listeners there are', async () => {
    const { node, port } = await serve({ maxPendingHandshakes: 2 });
    const plain = await node.listenAndServe('tcp://127.0.0.1:0');
    const idle = [
      connectTls({ port, host: '127.0.0.1', ALPNProtocols: ['starlane/1'], rejectUnauthorized: false }),
      connect(Number(plain.address.split(':').pop()), '127.0.0.1'),
    ];
    await Promise.all([once(idle[0], 'secureConnect'), once(idle[1], 'connect')]);
    await turnsUntil('both are pending', () => node.stats().links.unsettled === 2);
    for (const each of [port, Number(plain.address.split(':').pop())]) {
      const warned = once(node, 'warning');
      const third = connect(each, '127.0.0.1').on('error', () => {});
      const closed = once(third.resume(), 'close');
      expect(await warned).toMatchObject([{ code: 'ERR_STARLANE_LINK_LIMIT' }]);
      await closed;
    }
    expect(node.stats().links.refused.limit).toBe(2);
    for (const socket of idle) socket.on('error', () => {}).destroy();
    await turnsUntil('both are gone', () => node.stats().links.unsettled === 0);
    // The places are free again, all of them.
    const joiners = [makeNode(SECRET), makeNode(SECRET)];
    await Promise.all(joiners.map((joiner) => joiner.join(`127.0.0.1:${port}`)));
  });
});

describe('a tls server that is no Starlane node', () => {
  it.each([
    ['means another protocol', ['h2'], 'name different protocols'],
    ['says nothing of protocols', undefined, 'does not name the protocol of Starlane'],
  ])('and %s is refused, and not tried again', async (_what, ALPNProtocols, words) => {
    const { cert, key } = await memberTls();
    const server = createTlsServer({ cert, key, ...(ALPNProtocols === undefined ? {} : { ALPNProtocols }) });
    server.on('secureConnection', (socket) => socket.on('error', () => {}).resume());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    const joiner = makeNode(SECRET);
    await expect(joiner.join(`127.0.0.1:${port}`)).rejects.toMatchObject({
      code: 'ERR_STARLANE_TLS',
      message: expect.stringContaining(words),
    });
    expect(joiner.stats().links).toMatchObject({ joins: 0, refused: { tls: 1 } });
    server.close();
  });
});

describe('a listener that is no Starlane node', () => {
  it('is reported by what it speaks', async () => {
    const http = createServer((socket) => {
      socket.on('error', () => {});
      socket.resume().end('HTTP/1.1 400 Bad Request\r\n\r\n');
    });
    await once(http.listen(0, '127.0.0.1'), 'listening');
    const { port } = http.address() as AddressInfo;
    await expect(makeNode(SECRET).join(`127.0.0.1:${port}`)).rejects.toMatchObject({ code: 'ERR_STARLANE_TLS' });
    const node = makeNode();
    const aborter = new AbortController();
    const join = node.join(`127.0.0.1:${port}`, { signal: aborter.signal });
    const [warning] = await once(node, 'warning');
    expect(warning).toMatchObject({ code: 'ERR_STARLANE_PROTOCOL', message: expect.stringContaining('speaks HTTP') });
    aborter.abort(new Error('enough'));
    await expect(join).rejects.toThrow('enough');
    http.close();
  });
});
