// One link to a peer, regardless of how many each side makes.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createIdentity } from '../../lib/identity/identity.js';
import { createNode, type Link, type Node, type NodeOptions } from '../../lib/index.js';
import { GoodbyeCode } from '../../lib/wire/messages.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { identityBeside, RawPeer } from '../support/raw-peer.js';
import { readToEnd, socketPath } from '../support/testnet.js';
import { turnsUntil } from '../support/turns.js';

const nodes: Node[] = [];

function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 200, rejoinMinMs: 1, rejoinMaxMs: 5, ...options });
  nodes.push(node);
  return node;
}

async function listen(node: Node): Promise<string> {
  return (await node.listenAndServe(`unix:${socketPath()}`)).address;
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await nothingLeft();
});

describe('two nodes that join each other at the same time', () => {
  it('end up with one link that both count, whichever has the lower id', async () => {
    for (let round = 0; round < 10; round++) {
      const [a, b] = [makeNode(), makeNode()];
      const [atA, atB] = await Promise.all([listen(a), listen(b)]);
      const [fromA, fromB] = await Promise.all([a.join(atB), b.join(atA)]);
      expect([fromA.peerId, fromB.peerId]).toEqual([b.id, a.id]);
      await turnsUntil('both are settled', () => a.stats().links.unsettled + b.stats().links.unsettled === 0);
      expect([a.links(), b.links()]).toMatchObject([[{ peerId: b.id }], [{ peerId: a.id }]]);
      expect(a.links()[0].direction).not.toBe(b.links()[0].direction);
      b.bind('echo', (socket) => socket.pipe(socket));
      const socket = a.dial('echo');
      socket.end('hello');
      expect((await readToEnd(socket)).toString()).toBe('hello');
    }
  });
});

describe('joining a peer that is linked already', () => {
  it('is resolved with the standing link, from either side, and disturbs no stream', async () => {
    const [a, b] = [makeNode(), makeNode()];
    const [atA, atB, alsoAtB] = await Promise.all([listen(a), listen(b), listen(b)]);
    const unlinks: unknown[] = [];
    for (const node of [a, b]) node.on('unlink', (link) => unlinks.push(link));
    const first = await a.join(atB);
    b.bind('echo', (socket) => socket.pipe(socket));
    const socket = a.dial('echo');
    await once(socket, 'connect');

    expect(await a.join(atB)).toBe(first);
    expect(await a.join(alsoAtB)).toBe(first);
    const farEnd = await b.join(atA);
    expect(farEnd.peerId).toBe(a.id);
    socket.end('undisturbed');
    expect((await readToEnd(socket)).toString()).toBe('undisturbed');
    expect(unlinks).toEqual([]);
    expect([a.links().length, b.links().length]).toEqual([1, 1]);
  });

  it('goes for both when the standing link is lost', async () => {
    const [a, b] = [makeNode(), makeNode()];
    const [one, two] = await Promise.all([listen(b), listen(b)]);
    const first = await a.join(one);
    await a.join(two);
    const again = once(a, 'link');
    first.destroy(new Error('cut'));
    await again;
    await turnsUntil('both are settled', () => a.stats().links.unsettled + b.stats().links.unsettled === 0);
    expect(a.links()).toHaveLength(1);
  });
});

describe('a peer that makes a second link', () => {
  /** A node with a peer of a lower or higher id. */
  async function linked(side: 'lower' | 'higher'): Promise<{ node: Node; first: RawPeer }> {
    const node = makeNode();
    const first = new RawPeer(true, identityBeside(node.id, side));
    const link = node.attach(first.duplex, { initiator: false });
    await first.handshake();
    await link;
    return { node, first };
  }

  it('is refused as a duplicate when the first link answers a ping', async () => {
    const { node, first } = await linked('higher');
    const second = new RawPeer(true, first.identity);
    const link = node.attach(second.duplex, { initiator: false });
    second.say(second.hello());
    expect(await link).toMatchObject({ peerId: first.identity.nodeId });
    await second.over();
    expect(second.goodbye).toBe(GoodbyeCode.DUPLICATE);
    expect(first.ended).toBeUndefined();
    expect(node.links()).toHaveLength(1);
  });

  it('gets it when the first one takes no more streams', async () => {
    const { node, first } = await linked('higher');
    const unlinked = once(node, 'unlink');
    first.session.goAway();
    expect(await unlinked).toMatchObject([{}, { code: 'ERR_STARLANE_CLOSED' }]);
    const second = new RawPeer(true, first.identity);
    const link = node.attach(second.duplex, { initiator: false });
    await second.handshake();
    expect((await link).isUp).toBe(true);
  });

  it('gets it when it has restarted since', async () => {
    const { node, first } = await linked('higher');
    const unlinked = once(node, 'unlink');
    const second = new RawPeer(true, { ...first.identity, bootId: createIdentity().bootId });
    const link = node.attach(second.duplex, { initiator: false });
    await second.handshake();
    await link;
    expect((await unlinked)[1].message).toMatch('restarted');
    await first.over();
    expect(node.links()).toHaveLength(1);
  });

  it('decides itself when it has the lower id', async () => {
    const { node, first } = await linked('lower');
    const second = new RawPeer(true, first.identity);
    const link = node.attach(second.duplex, { initiator: false });
    await second.handshake();
    await link;
    await first.over();
    expect(node.links()).toHaveLength(1);
  });
});

describe('a node with all the links it may have', () => {
  it('refuses one more, with the reason', async () => {
    const full = makeNode({ maxLinks: 2 });
    const address = await listen(full);
    await makeNode().join(address);
    await makeNode().join(address);
    const third = makeNode();
    const warned = once(third, 'warning');
    const aborter = new AbortController();
    const join = expect(third.join(address, { signal: aborter.signal })).rejects.toThrow();
    expect(await warned).toMatchObject([{ code: 'ERR_STARLANE_LINK_LIMIT' }]);
    aborter.abort();
    await join;
    expect(full.links()).toHaveLength(2);
  });
});

describe('a link', () => {
  it('is closed by its user in order, and not joined again', async () => {
    // A lonely peer would soon make a link by itself.
    const [a, b] = [makeNode({ role: 'server' }), makeNode({ role: 'server' })];
    const link: Link = await a.join(await listen(b));
    b.bind('slow', (socket) => {
      socket.once('data', () => socket.end('late answer'));
    });
    const socket = a.dial('slow');
    await once(socket, 'connect');
    const unlinked = [once(a, 'unlink'), once(b, 'unlink')];
    link.close();
    link.close();
    const [[, mine], [, theirs]] = await Promise.all(unlinked);
    expect(mine).toBeUndefined();
    expect(theirs).toMatchObject({ code: 'ERR_STARLANE_CLOSED' });
    // Nothing new is opened over it, but what was open may finish.
    const [error] = await once(a.dial('slow', { timeoutMs: 10 }), 'error');
    expect(error).toMatchObject({ code: 'ENOTFOUND' });
    socket.write('go on');
    expect((await readToEnd(socket)).toString()).toBe('late answer');
    await turnsUntil('it is gone', () => a.stats().links.unsettled + b.stats().links.unsettled === 0);
    expect([a.stats().links.joins, a.links(), b.links()]).toEqual([0, [], []]);
  });

  it('resets what has not finished within the close timeout', async () => {
    const [a, b] = [makeNode({ closeTimeoutMs: 20 }), makeNode()];
    const link = await a.join(await listen(b));
    b.bind('idle', (far) => far.on('error', () => {}));
    const socket = a.dial('idle');
    await once(socket, 'connect');
    const failed = once(socket, 'error');
    link.close();
    expect(await failed).toMatchObject([{ code: 'ECONNRESET' }]);
  });

  it('counts the bytes and streams that go over it', async () => {
    const [a, b] = [makeNode(), makeNode()];
    const link = await a.join(await listen(b));
    b.bind('idle');
    const socket = a.dial('idle');
    await once(socket, 'connect');
    expect(link).toMatchObject({ peerId: b.id, direction: 'outbound', streams: 1, isUp: true });
    expect(link.bytesIn).toBeGreaterThan(0);
    expect(link.bytesOut).toBeGreaterThan(0);
    expect(Math.abs(link.since - Date.now())).toBeLessThan(20_000);
    expect(await link.ping()).toBeGreaterThan(0);
    expect(link.rttMs).toBeGreaterThan(0);
    expect(b.links()).toMatchObject([{ peerId: a.id, direction: 'inbound', streams: 1 }]);
    socket.destroy();
  });

  it('is lost when the peer falls silent', async () => {
    const node = makeNode({ keepAliveMs: 10, keepAliveTimeoutMs: 40 });
    const peer = new RawPeer(true);
    const link = node.attach(peer.duplex, { initiator: false });
    await peer.handshake();
    await link;
    const unlinked = once(node, 'unlink');
    peer.session.output.stop();
    expect(await unlinked).toMatchObject([{}, { code: 'ERR_STARLANE_KEEPALIVE' }]);
  });
});
