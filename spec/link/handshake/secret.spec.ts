// A network with a secret, as its users see it.

import { scryptSync } from 'node:crypto';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { inspect } from 'node:util';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { networkKeyOf } from '../../../lib/identity/network-key.js';
import { createNode, type Node, type NodeOptions } from '../../../lib/index.js';
import { runProgram } from '../../support/built-lib.js';
import { within } from '../../support/deadline.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { readToEnd, socketPath } from '../../support/testnet.js';

const SECRET = 'a secret of more than 16 bytes';

const nodes: Node[] = [];

function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 200, rejoinMinMs: 1, rejoinMaxMs: 5, ...options });
  nodes.push(node);
  return node;
}

async function echo(from: Node, said: string): Promise<string> {
  const socket = from.dial('echo');
  socket.end(said);
  return (await readToEnd(socket)).toString();
}

beforeAll(async () => {
  // What is loaded once for all specs is not what they leave behind.
  const node = createNode({ secret: SECRET });
  await node.listenAndServe('127.0.0.1:0');
  await node.close();
});
beforeEach(() => watchHandles());
afterEach(async () => {
  delete process.env['STARLANE_SECRET'];
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await nothingLeft();
});

describe('the key of a network', () => {
  it('follows from the secret as the protocol defines it', () => {
    const key = scryptSync(SECRET, 'starlane network 1', 32, { N: 16_384, r: 8, p: 1 });
    expect(networkKeyOf(Buffer.from(SECRET)).equals(key)).toBe(true);
  });

  it('is made once for a secret', () => {
    expect(networkKeyOf(Buffer.from(SECRET))).toBe(networkKeyOf(new TextEncoder().encode(SECRET)));
    expect(networkKeyOf(Buffer.from(SECRET))).not.toEqual(networkKeyOf(Buffer.from(`${SECRET}.`)));
  });
});

describe('nodes with the same secret', () => {
  it.each<[string, string, RegExp]>([
    ['an address without a scheme, by tls', '127.0.0.1:0', /^tls:\/\/127\.0\.0\.1:\d+$/],
    ['tcp on loopback', 'tcp://127.0.0.1:0', /^tcp:/],
    ['a unix socket', `unix:${socketPath()}`, /^unix:/],
  ])('are linked at %s', async (_what, where, expected) => {
    const [server, client] = [makeNode({ secret: SECRET }), makeNode({ secret: Buffer.from(SECRET) })];
    const { address } = await server.listenAndServe(where);
    expect(address).toMatch(expected);
    server.bind('echo', (socket) => {
      expect(socket.peer?.id).toBe(client.id);
      expect(socket.verified).toBe(true);
      socket.pipe(socket);
    });
    const link = await client.join(address.replace('tls://', ''));
    expect(link).toMatchObject({ peerId: server.id, peerName: undefined });
    expect(await echo(client, 'hello')).toBe('hello');
  });

  it('take it from the environment, and from the option first', async () => {
    process.env['STARLANE_SECRET'] = SECRET;
    const server = makeNode();
    const { address } = await server.listenAndServe('127.0.0.1:0');
    await makeNode({ secret: SECRET }).join(address);
    const derived = makeNode().client();
    nodes.push(derived);
    await derived.join(address);
    await expect(makeNode({ secret: `${SECRET}.` }).join(address)).rejects.toMatchObject({
      code: 'ERR_STARLANE_SECRET',
    });
    process.env['STARLANE_SECRET'] = '';
    expect(() => createNode()).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_OPTION' }));
  });

  it('have seeds at addresses without a scheme', async () => {
    const server = makeNode({ secret: SECRET });
    const { address } = await server.listenAndServe('127.0.0.1:0');
    const client = makeNode({ secret: SECRET, seeds: [address.replace('tls://', '')] });
    await once(client, 'link');
    expect(client.links()).toMatchObject([{ peerId: server.id, address }]);
  });

  it('change it one by one, and reach each other meanwhile, also through each other', async () => {
    const [old, both, fresh] = [SECRET, [`${SECRET} of today`, SECRET], `${SECRET} of today`];
    for (const [one, other] of [
      [old, both],
      [both, fresh],
    ]) {
      for (const [first, second, third] of [
        [one, other, one],
        [other, one, other],
        [one, other, other],
        [other, other, one],
      ]) {
        const [dialler, relay, server] = [first, second, third].map((secret) => makeNode({ secret, role: 'server' }));
        const { address } = await relay.listenAndServe('127.0.0.1:0');
        server.bind('echo', (socket) => socket.pipe(socket));
        await Promise.all([dialler.join(address), server.join(address)]);
        const socket = dialler.dial('echo');
        await within('the circuit', once(socket, 'connect'));
        expect([socket.secure, socket.peer?.via]).toEqual([true, [relay.id]]);
        socket.end('hello');
        expect(await within('the echo', text(socket))).toBe('hello');
        await Promise.all([dialler, relay, server].map((node) => node.close()));
      }
    }
  });

  it('that have none in common are no members, however many they have', async () => {
    const server = makeNode({ secret: ['secret one of the network', 'secret two of the network'] });
    const { address } = await server.listenAndServe('127.0.0.1:0');
    const other = makeNode({ secret: ['secret three of the network', 'secret four of the network'] });
    await expect(other.join(address)).rejects.toMatchObject({ code: 'ERR_STARLANE_SECRET' });
    for (const secret of [[], Array(5).fill(SECRET), ['', SECRET], [undefined, SECRET], [[SECRET]]]) {
      expect(() => createNode({ secret: secret as string[] })).toThrow(
        expect.objectContaining({ code: 'ERR_STARLANE_OPTION' }),
      );
    }
  });

  it('get one warning when it is weak', async () => {
    const warnings: unknown[] = [];
    const node = makeNode({ secret: '0123456789abcde' });
    node.on('warning', (error) => warnings.push(error));
    await node.listenAndServe('127.0.0.1:0');
    expect(warnings).toMatchObject([
      { code: 'ERR_STARLANE_WEAK_SECRET', message: expect.stringContaining('15 bytes') },
    ]);
    const strong = makeNode({ secret: '0123456789abcdef' });
    strong.on('warning', (error) => warnings.push(error));
    await strong.listenAndServe('127.0.0.1:0');
    expect(warnings).toHaveLength(1);
  });

  it('do not show it, nor what follows from it, however they are printed', async () => {
    const [server, client] = [makeNode({ secret: SECRET }), makeNode({ secret: SECRET })];
    const link = await client.join((await server.listenAndServe('127.0.0.1:0')).address);
    server.bind('echo', (socket) => socket.pipe(socket));
    const socket = client.dial('echo');
    await once(socket, 'connect');
    const key = networkKeyOf(Buffer.from(SECRET)) as Buffer;
    const hidden = [
      SECRET,
      Buffer.from(SECRET).toString('hex'),
      Buffer.from(SECRET).toString('base64'),
      key.toString('hex'),
      key.toString('hex', 0, 8).replace(/..(?=.)/g, '$& '),
      key.toString('base64'),
      [...key.subarray(0, 8)].join(','),
    ];
    const texts = [client, link, socket].map((shown) => inspect(shown, { depth: 7, customInspect: false }));
    texts.push(
      ...[client.stats(), client.links(), client, link, socket].map((shown) => inspect(shown, { depth: null })),
    );
    for (const text of texts) for (const secret of hidden) expect(text.includes(secret)).toBe(false);
    expect(JSON.stringify([client.stats(), client.links(), key])).not.toContain([...key.subarray(0, 8)].join(','));
    socket.destroy();
  });

  it('print no warning of Node, and end by themselves', async () => {
    const server = makeNode({ secret: SECRET });
    const { address } = await server.listenAndServe('127.0.0.1:0');
    const child = runProgram(`
      const node = starlane.createNode({ secret: '${SECRET}' });
      const link = await node.join('${address}');
      say({ event: 'up', peer: link.peerId });`);
    expect(await within('the end of the process', child.exited)).toBe(0);
    expect(child.lines).toEqual([{ event: 'up', peer: server.id }]);
    expect(child.errors).toBe('');
  });
});

describe('the tls of a node with a secret', () => {
  async function session(maxVersion?: 'TLSv1.2'): Promise<TLSSocket> {
    const { address } = await makeNode({ secret: SECRET }).listenAndServe('127.0.0.1:0');
    const socket = connectTls({
      port: Number(address.split(':').pop()),
      host: '127.0.0.1',
      ALPNProtocols: ['starlane/1'],
      rejectUnauthorized: false,
      ...(maxVersion === undefined ? {} : { maxVersion }),
    });
    return socket.resume();
  }

  it('is 1.3 with forward secrecy', async () => {
    const socket = await session();
    await once(socket, 'secureConnect');
    expect(socket.getProtocol()).toBe('TLSv1.3');
    expect(socket.getEphemeralKeyInfo()).toMatchObject({ type: expect.stringMatching(/DH/) });
    socket.destroy();
  });

  it('is no older one', async () => {
    const socket = await session('TLSv1.2');
    const [error] = await once(socket, 'error');
    expect((error as { code: string }).code).toMatch(/PROTOCOL_VERSION/);
  });
});
