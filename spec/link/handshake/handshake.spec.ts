import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { createIdentity } from '../../../lib/identity/identity.js';
import { createNode, type Node, type NodeOptions } from '../../../lib/index.js';
import { checkHello } from '../../../lib/link/handshake/handshake.js';
import { goodbyeError } from '../../../lib/link/handshake/refusals.js';
import {
  type Auth,
  encodeAuth,
  encodeGoodbye,
  encodeSynced,
  GoodbyeCode,
  type Hello,
  MessageType,
} from '../../../lib/wire/messages.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { identityBeside, RawPeer } from '../../support/raw-peer.js';
import { socketPath } from '../../support/testnet.js';
import { turn, turnsUntil } from '../../support/turns.js';

const HANDSHAKE_TIMEOUT_MS = 100;

const nodes: Node[] = [];

function makeNode(options: NodeOptions = {}): Node {
  const node = createNode({ closeTimeoutMs: 200, ...options });
  nodes.push(node);
  return node;
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await nothingLeft();
});

describe('a HELLO', () => {
  const self = { ...createIdentity(), role: 'peer' as const, envDigests: [] };
  const peer = createIdentity();
  const hello: Hello = {
    version: 1,
    minVersion: 1,
    ...peer,
    role: 'peer',
    flags: 0,
    capabilities: 0,
    envDigests: [],
    listenAddresses: [],
    nonce: Buffer.alloc(16),
  };

  it('is taken when versions overlap and the id follows from the key', () => {
    expect(checkHello(hello, self)).toBeUndefined();
    expect(checkHello({ ...hello, version: 9 }, self)).toBeUndefined();
  });

  it.each([
    [
      'versions do not overlap: newer',
      { version: 9, minVersion: 2 },
      GoodbyeCode.WRONG_VERSION,
      'ERR_STARLANE_VERSION',
      'the peer speaks 2 to 9, this node 1 to 1',
      'the peer speaks 1 to 1, this node 2 to 9',
    ],
    [
      'versions do not overlap: older',
      { version: 0, minVersion: 0 },
      GoodbyeCode.WRONG_VERSION,
      'ERR_STARLANE_VERSION',
      'the peer speaks 0 to 0, this node 1 to 1',
      'the peer speaks 1 to 1, this node 0 to 0',
    ],
    [
      'the id is that of another key',
      { nodeId: createIdentity().nodeId },
      GoodbyeCode.HANDSHAKE_REFUSED,
      'ERR_STARLANE_HANDSHAKE',
      'the node id of the peer does not follow from its public key',
      'the node id of this node does not follow from its public key',
    ],
    [
      'it is our own',
      { nodeId: self.nodeId, publicKey: self.publicKey },
      GoodbyeCode.SELF_LINK,
      'ERR_STARLANE_SELF_LINK',
      'the link leads back to this node',
      '',
    ],
  ])('is refused when %s, and each end reads why from its side', (_why, changes, code, errorCode, here, peerReason) => {
    const refused = checkHello({ ...hello, ...changes }, self);
    expect(refused).toMatchObject({ code, error: { code: errorCode }, peerReason });
    expect(refused?.error.message).toContain(here);
  });

  it('is refused when another node is expected, and each end reads why from its side', () => {
    const expected = createIdentity().nodeId;
    const refused = checkHello(hello, self, expected);
    expect(refused?.error.message).toContain(`${expected} is not at this address`);
    expect(refused?.peerReason).toBe(`the peer expects ${expected} at the address of this node`);
  });

  it('is answered by a goodbye that becomes an error of the same kind', () => {
    expect(goodbyeError({ code: GoodbyeCode.SELF_LINK, reason: '' })).toMatchObject({ code: 'ERR_STARLANE_SELF_LINK' });
    expect(goodbyeError({ code: GoodbyeCode.LIMIT, reason: 'full' })).toMatchObject({
      code: 'ERR_STARLANE_LINK_LIMIT',
      message: expect.stringContaining('full'),
    });
    expect(goodbyeError({ code: 200, reason: '' })).toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE' });
  });

  it('does not repeat the text of the code that an older peer sends', () => {
    const text = 'tls between the two nodes failed';
    expect(goodbyeError({ code: GoodbyeCode.TLS, reason: `${text}: why` }).message).toBe(
      `${text}: the peer refused the link: why`,
    );
  });
});

describe.each(['client', 'server'] as const)('a peer that is the yamux %s', (role) => {
  /** A node, and a peer that it is attached to. */
  function meet(side: 'lower' | 'higher' = 'lower'): { node: Node; peer: RawPeer; link: Promise<unknown> } {
    const node = makeNode({ handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS });
    const peer = new RawPeer(role === 'client', identityBeside(node.id, side));
    const link = node.attach(peer.duplex, { initiator: role !== 'client' });
    return { node, peer, link };
  }

  /** Says what is to be said once the control stream is there. */
  async function say(peer: RawPeer, ...messages: Buffer[]): Promise<void> {
    if (role === 'server') await peer.until(() => peer.hasReceived(MessageType.HELLO));
    peer.say(...messages);
  }

  it.each(['lower', 'higher'] as const)('gets a link when it shakes hands, with the %s id', async (side) => {
    const { node, peer, link } = meet(side);
    await peer.handshake();
    expect(await link).toMatchObject({
      peerId: peer.identity.nodeId,
      direction: role === 'client' ? 'inbound' : 'outbound',
      address: 'attached',
      streams: 0,
    });
    expect(node.links()).toHaveLength(1);
  });

  it('may take its time to send its services, as long as they keep coming', async () => {
    const { node, peer, link } = meet('higher');
    const settled = jest.fn();
    link.then(settled);
    await say(peer, peer.hello());
    await peer.until(() => peer.hasReceived(MessageType.SYNCED));
    const end = performance.now() + 3 * HANDSHAKE_TIMEOUT_MS;
    for (let count = 0; performance.now() < end; count++) {
      const told = once(node, 'service');
      peer.announce(`service-${count}`);
      await told;
    }
    expect(settled).not.toHaveBeenCalled();
    peer.say(encodeSynced());
    await link;
  });

  it('gets the reason when it speaks another version', async () => {
    const { peer, link } = meet();
    const outcome = expect(link).rejects.toMatchObject({ code: 'ERR_STARLANE_VERSION' });
    await say(peer, peer.hello({ version: 5, minVersion: 4 }));
    await outcome;
    await peer.over();
    expect(peer.goodbye).toBe(GoodbyeCode.WRONG_VERSION);
  });

  it('gets the reason when it claims the id of another node', async () => {
    const { peer, link } = meet();
    const outcome = expect(link).rejects.toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE' });
    await say(peer, peer.hello({ nodeId: createIdentity().nodeId }));
    await outcome;
    await peer.over();
    expect(peer.goodbye).toBe(GoodbyeCode.HANDSHAKE_REFUSED);
  });

  /** The handshake up to where the peer's AUTH is due. */
  async function upToAuth(peer: RawPeer): Promise<void> {
    peer.provesItself = false;
    await say(peer, peer.hello());
    await peer.until(() => peer.hasReceived(role === 'client' ? MessageType.HELLO : MessageType.AUTH));
  }

  it.each<[string, (peer: RawPeer) => Auth]>([
    ['has the public key of another, and not the private one', (peer) => peer.auth({}, createIdentity().sign)],
    ['sends back what would prove the node', (peer) => peer.auth({ role: role === 'client' ? 1 : 0 })],
    [
      'has proved itself in another handshake',
      (peer) => peer.auth({ [role === 'client' ? 'serverHello' : 'clientHello']: Buffer.alloc(100) }),
    ],
  ])('is refused when it %s', async (_what, made) => {
    const { node, peer, link } = meet();
    const outcome = expect(link).rejects.toMatchObject({ code: 'ERR_STARLANE_IDENTITY' });
    await upToAuth(peer);
    peer.say(encodeAuth(made(peer)));
    await outcome;
    await peer.over();
    expect(peer.goodbye).toBe(GoodbyeCode.IDENTITY);
    expect(peer.hasReceived(MessageType.AUTH)).toBe(role === 'server');
    expect(node.links()).toEqual([]);
  });

  it('is known only by its proof: a GOODBYE before that does not count for other links', async () => {
    const { node, peer, link } = meet();
    const other = new RawPeer(true, peer.identity);
    await Promise.all([node.attach(other.duplex, { initiator: false }), other.handshake()]);
    const outcome = expect(link).rejects.toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE' });
    await upToAuth(peer);
    peer.say(encodeGoodbye({ code: GoodbyeCode.DUPLICATE, reason: 'there is another' }));
    await outcome;
  });

  it('does not end the link of the one whose key it names, whatever its boot id', async () => {
    const { node, peer, link } = meet('higher');
    const victim = new RawPeer(true, peer.identity);
    await Promise.all([node.attach(victim.duplex, { initiator: false }), victim.handshake()]);
    const outcome = expect(link).rejects.toMatchObject({ code: 'ERR_STARLANE_IDENTITY' });
    await upToAuth(peer);
    peer.say(encodeAuth(peer.auth({}, createIdentity().sign)));
    await outcome;
    expect(victim.ended).toBeUndefined();
    expect(node.links()).toMatchObject([{ peerId: victim.identity.nodeId }]);
  });

  it('is dropped when it stops before AUTH', async () => {
    const { peer, link } = meet();
    const outcome = expect(link).rejects.toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE_TIMEOUT' });
    peer.provesItself = false;
    await say(peer, peer.hello());
    await outcome;
    await peer.over();
  });

  it.each([
    ['says AUTH twice', (peer: RawPeer) => [encodeAuth(peer.auth()), encodeAuth(peer.auth())]],
    ['goes on without AUTH', () => [encodeSynced()]],
  ])('is refused when it %s', async (_what, made) => {
    const { peer, link } = meet();
    const outcome = expect(link).rejects.toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE' });
    await upToAuth(peer);
    peer.say(...made(peer));
    await outcome;
    await peer.over();
    expect(peer.goodbye).toBe(GoodbyeCode.HANDSHAKE_REFUSED);
  });

  it('is refused when it sends AUTH before HELLO', async () => {
    const { peer, link } = meet();
    peer.provesItself = false;
    const outcome = expect(link).rejects.toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE' });
    await say(peer, encodeAuth(peer.auth()));
    await outcome;
    await peer.over();
    expect(peer.goodbye).toBe(GoodbyeCode.HANDSHAKE_REFUSED);
  });

  it('is refused when its HELLO is longer than messages before the proof may be', async () => {
    const { peer, link } = meet();
    const outcome = expect(link).rejects.toMatchObject({ code: 'ERR_STARLANE_MESSAGE' });
    await say(peer, Buffer.from([0, 0, 0x20, 1]));
    await outcome;
    await peer.over();
    expect(peer.goodbye).toBe(GoodbyeCode.MALFORMED);
  });

  it('fails the link by its own goodbye, with the reason', async () => {
    const { peer, link } = meet();
    const outcome = expect(link).rejects.toMatchObject({
      code: 'ERR_STARLANE_LINK_LIMIT',
      message: expect.stringContaining('we are full'),
    });
    await say(peer, encodeGoodbye({ code: GoodbyeCode.LIMIT, reason: 'we are full' }));
    await outcome;
  });

  it('is dropped when it is silent', async () => {
    const { peer, link } = meet();
    await expect(link).rejects.toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE_TIMEOUT' });
    await peer.over();
  });

  it('is dropped when it stops after HELLO', async () => {
    const { peer, link } = meet();
    const outcome = expect(link).rejects.toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE_TIMEOUT' });
    await say(peer, peer.hello());
    await outcome;
    await peer.over();
  });

  it('is refused when it sends HELLO twice', async () => {
    const { peer, link } = meet();
    const outcome = expect(link).rejects.toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE' });
    await say(peer, peer.hello(), peer.hello());
    await outcome;
    await peer.over();
    expect(peer.goodbye).toBe(GoodbyeCode.MALFORMED);
  });

  it('is refused when it speaks ahead of its time', async () => {
    const { peer, link } = meet();
    const outcome = expect(link).rejects.toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE' });
    await say(peer, encodeSynced());
    await outcome;
    await peer.over();
    expect(peer.goodbye).toBe(GoodbyeCode.HANDSHAKE_REFUSED);
  });

  it('is refused when it sends bytes that are no message', async () => {
    const { peer, link } = meet();
    const outcome = expect(link).rejects.toMatchObject({ code: 'ERR_STARLANE_MESSAGE' });
    await say(peer, Buffer.from([0xff, 0xff, 0xff, 0xff, 1]));
    await outcome;
    await peer.over();
    expect(peer.goodbye).toBe(GoodbyeCode.MALFORMED);
  });

  it('is refused when it opens streams before the handshake is done', async () => {
    const { peer, link } = meet();
    const outcome = expect(link).rejects.toMatchObject({ code: 'ERR_STARLANE_HANDSHAKE' });
    await say(peer);
    await turn();
    peer.session.open(peer, Buffer.from('early'));
    await outcome;
    await peer.over();
  });

  it('ends the link when it ends the control stream', async () => {
    const { node, peer, link } = meet();
    await peer.handshake();
    await link;
    const unlinked = once(node, 'unlink');
    peer.control?.end();
    expect(await unlinked).toMatchObject([{}, { code: 'ERR_STARLANE_LINK_LOST' }]);
    await peer.over();
  });
});

describe('a node', () => {
  it('notices that a link leads back to itself', async () => {
    const node = makeNode();
    const { address } = await node.listenAndServe('tcp://127.0.0.1:0');
    await expect(node.join(address)).rejects.toMatchObject({ code: 'ERR_STARLANE_SELF_LINK' });
    const [near, far] = duplexPair();
    const both = await Promise.allSettled([node.attach(near), node.attach(far)]);
    for (const end of both) expect(end).toMatchObject({ reason: { code: 'ERR_STARLANE_SELF_LINK' } });
    expect(node.links()).toEqual([]);
  });

  it('gives up its own address among its seeds', async () => {
    const path = socketPath();
    const node = makeNode({ seeds: [`unix:${path}`], rejoinMinMs: 1, rejoinMaxMs: 1 });
    await node.listenAndServe(`unix:${path}`);
    await turnsUntil('the seed counts no more', () => node.stats().links.joins === 0);
  });

  it.each([
    ['speaks HTTP', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['sends garbage', Buffer.alloc(4096, 0xa5)],
  ])('drops one who connects and %s, with a warning', async (_what, bytes) => {
    const node = makeNode();
    const { address } = await node.listenAndServe('tcp://127.0.0.1:0');
    const warned = once(node, 'warning');
    const stranger = connect(Number(address.split(':').pop()), '127.0.0.1');
    stranger.on('error', () => {}).resume();
    stranger.write(bytes);
    const [warning] = await warned;
    expect(warning).toMatchObject({ code: 'ERR_STARLANE_PROTOCOL', message: expect.stringContaining('127.0.0.1') });
    await once(stranger, 'close');
    expect(node.stats().links).toMatchObject({ failed: 1, up: 0, unsettled: 0 });
  });

  it('drops a connection that is silent', async () => {
    const node = makeNode({ handshakeTimeoutMs: 50 });
    const { address } = await node.listenAndServe('tcp://127.0.0.1:0');
    const warned = once(node, 'warning');
    const stranger = connect(Number(address.split(':').pop()), '127.0.0.1');
    stranger.on('error', () => {}).resume();
    expect(await warned).toMatchObject([{ code: 'ERR_STARLANE_HANDSHAKE_TIMEOUT' }]);
    await once(stranger, 'close');
  });

  it('reports what it joins that is no Starlane node, and tries on', async () => {
    const http = createServer((socket) =>
      socket
        .on('error', () => {})
        .resume()
        .end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    );
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    const node = makeNode({ rejoinMinMs: 1, rejoinMaxMs: 1 });
    const aborter = new AbortController();
    const { port } = http.address() as AddressInfo;
    const join = expect(node.join(`tcp://127.0.0.1:${port}`, { signal: aborter.signal })).rejects.toThrow('enough');
    for (let attempt = 0; attempt < 2; attempt++) {
      const [warning] = await once(node, 'warning');
      expect(warning).toMatchObject({ code: 'ERR_STARLANE_PROTOCOL' });
    }
    aborter.abort(new Error('enough'));
    await join;
    http.close();
  });

  it('rejects connections while too many handshakes are pending', async () => {
    const node = makeNode({ maxPendingHandshakes: 2 });
    const { address } = await node.listenAndServe('tcp://127.0.0.1:0');
    const port = Number(address.split(':').pop());
    const idle: Socket[] = [];
    const warned = once(node, 'warning');
    for (let count = 0; count < 3; count++) {
      const socket = connect(port, '127.0.0.1')
        .on('error', () => {})
        .resume();
      idle.push(socket);
      await once(socket, 'connect');
    }
    const [warning] = await warned;
    expect(warning).toMatchObject({ code: 'ERR_STARLANE_LINK_LIMIT' });
    expect(node.stats().links.unsettled).toBe(2);
    for (const socket of idle) socket.destroy();
    const member = makeNode();
    await member.join(address);
  });
});
