// Certificates of the user's own PKI: the names in them, and their renewal while links are up.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type NodeOptions, type TlsFiles } from '../../../lib/index.js';
import { certificateFor } from '../../support/certificates.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { readToEnd } from '../../support/testnet.js';

const nodes: Node[] = [];

function makeNode(options: NodeOptions): Node {
  const node = createNode({ closeTimeoutMs: 200, rejoinMinMs: 1, rejoinMaxMs: 5, ...options });
  nodes.push(node);
  return node;
}

/** The certificate of that name, of one who trusts these. */
async function files(name: string, ...trusted: string[]): Promise<TlsFiles> {
  const [own, ...ca] = await Promise.all([name, ...trusted].map(certificate));
  return { cert: own.cert, key: own.key, ca: ca.map(({ cert }) => cert) };
}

function certificate(name: string): Promise<{ cert: string; key: string }> {
  return certificateFor(name, [{ type: 7, ip: '127.0.0.1' }]);
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await nothingLeft();
});

describe('the name in a certificate', () => {
  it('is that of the link at the other end, and of the sockets over it', async () => {
    const server = makeNode({ tls: await files('server.example', 'client.example') });
    const client = makeNode({ tls: await files('client.example', 'server.example') });
    const linked = once(server, 'link');
    const link = await client.join((await server.listenAndServe('127.0.0.1:0')).address);
    expect(link.peerName).toBe('server.example');
    expect((await linked)[0].peerName).toBe('client.example');
    expect(client.links()).toMatchObject([{ peerId: server.id, peerName: 'server.example' }]);
    const bound = server.bind('who');
    const near = client.dial('who');
    const [[far]] = await Promise.all([once(bound, 'connection'), once(near, 'connect')]);
    expect(near.peer).toEqual({ id: server.id, service: 'who', via: [], name: 'server.example' });
    expect(far.peer).toEqual({ id: client.id, service: 'who', via: [], name: 'client.example' });
    near.destroy();
  });
});

describe('other certificates', () => {
  it('are used by later links, and no existing link is dropped', async () => {
    const both = ['old.example', 'new.example'];
    const server = makeNode({ tls: await files('old.example', ...both) });
    const client = makeNode({ tls: await files('old.example', ...both) });
    const { address } = await server.listenAndServe('127.0.0.1:0');
    const link = await client.join(address);
    server.bind('echo', (socket) => socket.pipe(socket));
    const socket = client.dial('echo');
    socket.write('before, ');
    await once(socket, 'connect');
    const unlinks: unknown[] = [];
    for (const node of [server, client]) node.on('unlink', (lost) => unlinks.push(lost));

    await server.setTls(await files('new.example', ...both));
    // One who takes nothing but the new ones, in both directions.
    const modern = makeNode({ tls: await files('new.example', 'new.example') });
    expect((await modern.join(address)).peerName).toBe('new.example');
    const { address: atModern } = await modern.listenAndServe('127.0.0.1:0');
    await expect(client.join(atModern)).rejects.toMatchObject({ code: 'ERR_STARLANE_TLS' });
    await client.setTls(await files('new.example', ...both));
    expect((await client.join(atModern)).peerName).toBe('new.example');

    socket.end('and after');
    expect((await readToEnd(socket)).toString()).toBe('before, and after');
    expect([link.isUp, link.peerName, unlinks]).toEqual([true, 'old.example', []]);
  });

  it('are those of nodes that are made of this one, too', async () => {
    const node = makeNode({ tls: await files('old.example', 'new.example') });
    const server = makeNode({ tls: await files('new.example', 'new.example') });
    await node.setTls(await files('new.example', 'new.example'));
    const derived = node.client();
    nodes.push(derived);
    await derived.join((await server.listenAndServe('127.0.0.1:0')).address);
  });

  it.each<[string, () => Promise<TlsFiles>]>([
    ['are none', async () => ({ cert: 'x', key: 'y' })],
    ['do not fit their key', async () => ({ ...(await files('new.example')), key: (await files('old.example')).key })],
    ['are not given', async () => undefined as unknown as TlsFiles],
    ['lack the key', async () => ({ cert: (await files('new.example')).cert }) as TlsFiles],
  ])('that %s are refused, and change nothing', async (_what, made) => {
    const tls = await files('old.example', 'old.example');
    const [server, client] = [makeNode({ tls }), makeNode({ tls })];
    const { address } = await server.listenAndServe('127.0.0.1:0');
    await expect(server.setTls(await made())).rejects.toMatchObject({ code: 'ERR_STARLANE_OPTION' });
    expect((await client.join(address)).peerName).toBe('old.example');
  });

  it('are refused by a node that was made without', async () => {
    const tls = await files('new.example', 'new.example');
    for (const options of [{}, { secret: 'a secret of more than 16 bytes' }]) {
      await expect(makeNode(options).setTls(tls)).rejects.toMatchObject({ code: 'ERR_STARLANE_OPTION' });
    }
  });

  it('that do not fit their key are refused when a node is made', async () => {
    const tls = { ...(await files('new.example')), key: (await files('old.example')).key };
    expect(() => createNode({ tls })).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_OPTION' }));
  });
});
