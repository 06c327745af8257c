// The same scenarios on every kind of link, with either node as the server.

import { createHash, randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { finished } from 'node:stream/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Node, Socket } from '../../lib/index.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { forgets, LINK_KINDS, readToEnd, type Testnet, testnet } from '../support/testnet.js';

const MIB = 1024 * 1024;
const CASES = LINK_KINDS.flatMap((kind) => [
  { kind, dials: 'joiner' as const },
  { kind, dials: 'listener' as const },
]);

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

describe.each(CASES)('over a link by $kind, when the $dials dials', ({ kind, dials }) => {
  let net: Testnet;
  let client: Node;
  let server: Node;

  beforeAll(async () => {
    // What is made once for all specs is not a leak of one of them.
    await (await testnet(kind)).close();
  });

  beforeEach(async () => {
    watchHandles();
    net = await testnet(kind, { rejoinMinMs: 1, rejoinMaxMs: 5 });
    [client, server] = dials === 'joiner' ? [net.joiner, net.listener] : [net.listener, net.joiner];
  });

  afterEach(async () => {
    await net.close();
    expect([client.stats(), server.stats()]).toMatchObject([
      { holds: 0, links: { up: 0, unsettled: 0 }, dials: { pending: 0 } },
      { holds: 0, links: { up: 0, unsettled: 0 }, dials: { pending: 0 } },
    ]);
    await nothingLeft();
  });

  it('echoes what is written', async () => {
    server.bind('echo', (socket) => socket.pipe(socket));
    const socket = client.dial('echo');
    socket.end('hello');
    expect((await readToEnd(socket)).toString()).toBe('hello');
  });

  it('shows both ends the identity of the other', async () => {
    const bound = server.bind('echo:7');
    const near = client.dial('echo');
    const [[far]] = (await Promise.all([once(bound, 'connection'), once(near, 'connect')])) as [[Socket], unknown];
    // In the certificate that both have, where there is one.
    const named = kind === 'tls' ? { name: 'member' } : {};
    expect(near.peer).toEqual({ id: server.id, service: 'echo', via: [], ...named });
    expect(far.peer).toEqual({ id: client.id, service: 'echo', via: [], ...named });
    expect([near.verified, far.verified]).toEqual([true, true]);
    expect(near.remotePort).toBe(7);
    expect(far.localPort).toBe(7);
    expect(far.remotePort).toBe(near.localPort);
    near.destroy();
    await finished(far.resume(), { error: false }).catch(() => {});
  });

  it('lets the client continue to read after it has ended its half', async () => {
    const requests: string[] = [];
    server.bind('ask', { allowHalfOpen: true }, async (socket) => {
      requests.push((await readToEnd(socket)).toString());
      socket.end('answer');
    });
    const socket = client.dial('ask', { allowHalfOpen: true });
    socket.end('question');
    expect((await readToEnd(socket)).toString()).toBe('answer');
    expect(requests).toEqual(['question']);
  });

  it('lets the client continue to write after the server has ended its half', async () => {
    const bound = server.bind('answer', { allowHalfOpen: true });
    const connection = once(bound, 'connection');
    const near = client.dial('answer', { allowHalfOpen: true });
    const [far] = (await connection) as [Socket];
    far.end('first');
    expect((await readToEnd(near)).toString()).toBe('first');
    near.end('second');
    expect((await readToEnd(far)).toString()).toBe('second');
  });

  it('moves 8 MiB both ways at once without a wrong byte', async () => {
    const sent = [Buffer.alloc(8 * MIB), Buffer.alloc(8 * MIB)].map((bytes) => randomFillSync(bytes));
    const bound = server.bind('bulk', { allowHalfOpen: true });
    const connection = once(bound, 'connection');
    const near = client.dial('bulk', { allowHalfOpen: true });
    near.end(sent[0]);
    const [far] = (await connection) as [Socket];
    far.end(sent[1]);
    const received = await Promise.all([readToEnd(far), readToEnd(near)]);
    expect(received.map(sha256)).toEqual(sent.map(sha256));
  });

  it('shows a reset of one end as ECONNRESET at the other', async () => {
    const bound = server.bind('reset');
    const connection = once(bound, 'connection');
    const near = client.dial('reset');
    const [far] = (await connection) as [Socket];
    far.resetAndDestroy();
    const [error] = await once(near, 'error');
    expect(error).toMatchObject({ code: 'ECONNRESET', syscall: 'read' });
  });

  it('waits for an unknown name, then fails with ENOTFOUND', async () => {
    const socket = client.dial('nowhere', { timeoutMs: 20 });
    const [error] = await once(socket, 'error');
    expect(error).toMatchObject({ code: 'ENOTFOUND', syscall: 'connect', address: 'nowhere' });
  });

  it('refuses a port that nothing is bound to with ECONNREFUSED', async () => {
    const [error] = await once(client.dial(`@${server.id}:9`), 'error');
    expect(error).toMatchObject({ code: 'ECONNREFUSED', syscall: 'connect', address: `@${server.id}`, port: 9 });
  });

  it('sees services come and go', async () => {
    const bound = server.bind('shop', { weight: 3, meta: { version: 2 } });
    expect(await client.waitFor('shop')).toMatchObject({ nodeId: server.id, weight: 3, meta: { version: 2 }, hops: 1 });
    bound.close();
    await forgets(client, 'shop');
    expect(client.services()).toEqual([]);
  });

  it('ends every socket with ECONNRESET when the link is cut, and forgets the services behind it', async () => {
    const bound = server.bind('lost');
    const far: Socket[] = [];
    bound.on('connection', (socket) => far.push(socket));
    const near = Array.from({ length: 50 }, () => client.dial('lost'));
    await Promise.all(near.map((socket) => once(socket, 'connect')));
    const errors = [...near, ...far].map((socket) => once(socket, 'error'));
    const unlinked = once(client, 'unlink');
    net.cut();
    for (const [error] of await Promise.all(errors)) expect(error).toMatchObject({ code: 'ECONNRESET' });
    const [, reason] = await unlinked;
    expect(reason).toBeInstanceOf(Error);
    expect(client.services()).toEqual([]);
    expect(far).toHaveLength(50);
  });

  // A pair in memory has no address to join again.
  if (kind !== 'memory') {
    it('joins again after the link was cut', async () => {
      server.bind('echo', (socket) => socket.pipe(socket));
      await client.waitFor('echo');
      const lost = once(client, 'unlink');
      net.cut();
      await lost;
      const socket = client.dial('echo');
      socket.end('again');
      expect((await readToEnd(socket)).toString()).toBe('again');
    });
  }

  it('sends GOODBYE on close, so that the peer does not take it for a fault', async () => {
    const unlinked = once(client, 'unlink');
    await server.close();
    const [, reason] = await unlinked;
    expect(reason).toMatchObject({ code: 'ERR_STARLANE_CLOSED' });
  });
});

afterAll(() => nothingLeft());
