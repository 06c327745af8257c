import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Node, type Socket } from '../../../lib/index.js';
import type { MuxStream } from '../../../lib/mux/stream/stream.js';
import { envDigests } from '../../../lib/wire/messages.js';
import type { OpenRequest } from '../../../lib/wire/open.js';
import { ReplyCode, tryReadReply } from '../../../lib/wire/open-reply.js';
import { catchErrorsOfTicks } from '../../support/caught-errors.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { echoOpen, RawPeer } from '../../support/raw-peer.js';
import { turn, turnsUntil } from '../../support/turns.js';

let node: Node;
let peer: RawPeer;

async function meet(options: Parameters<typeof createNode>[0] = {}, envs: string[] = []): Promise<void> {
  node = createNode({ closeTimeoutMs: 100, ...options });
  peer = new RawPeer(true);
  const link = node.attach(peer.duplex, { initiator: false });
  await peer.handshake({ envDigests: envDigests(envs) });
  await link;
}

function open(changes: Partial<OpenRequest> = {}): Buffer {
  return echoOpen(node.id, peer.identity.nodeId, changes);
}

/** The code of the reply on a stream, once it is there. */
async function replyOn(stream: MuxStream): Promise<number> {
  await peer.until(() => tryReadReply(peer.received(stream)) !== undefined);
  return tryReadReply(peer.received(stream))?.reply.code as number;
}

beforeEach(() => watchHandles());
afterEach(async () => {
  peer.session.close();
  await node.close();
  await nothingLeft();
});

describe('a circuit that comes in', () => {
  const caught = catchErrorsOfTicks();

  it('stays when a listener of its server throws, wherever OPEN was cut', async () => {
    await meet({ handshakeTimeoutMs: 50 });
    node.bind('echo', () => {
      throw new Error('of a listener');
    });
    const bytes = open();
    const stream = peer.session.open(peer, bytes.subarray(0, 10));
    await turn();
    stream.write(bytes.subarray(10));
    expect(await replyOn(stream)).toBe(ReplyCode.ACCEPTED);
    const later = peer.session.open(peer, bytes.subarray(0, 10));
    // Its deadline is behind that of the first one.
    await turnsUntil('the one that never comes is given up', () => peer.fate(later) === 'reset');
    expect(peer.fate(stream)).toBe('open');
    expect(caught).toHaveLength(1);
    stream.reset();
  });

  it('reaches its server with the data that came along, and is answered in the same turn', async () => {
    await meet();
    const far: Socket[] = [];
    node.bind('echo', (socket) => {
      far.push(socket);
      socket.on('data', (chunk: Buffer) => socket.write(chunk));
    });
    const stream = peer.session.open(peer, Buffer.concat([open({ dstPort: 80 }), Buffer.from('hello')]));
    expect(await replyOn(stream)).toBe(ReplyCode.ACCEPTED);
    const { reply, bytesRead } = tryReadReply(peer.received(stream)) as { reply: object; bytesRead: number };
    expect(reply).toMatchObject({ port: 80, at: node.id });
    await peer.until(() => peer.received(stream).length >= bytesRead + 5);
    expect(peer.received(stream).subarray(bytesRead).toString()).toBe('hello');
    expect(far[0]).toMatchObject({ localPort: 80, remotePort: 4711, remoteAddress: `@${peer.identity.nodeId}` });
    stream.reset();
    const [error] = await once(far[0], 'error');
    expect(error).toMatchObject({ code: 'ECONNRESET' });
  });

  it('is understood wherever OPEN was cut', async () => {
    await meet();
    node.bind('echo', (socket) => socket.pipe(socket));
    const whole = Buffer.concat([open(), Buffer.from('hello')]);
    for (let cut = 1; cut < whole.length; cut++) {
      const stream = peer.session.open(peer, whole.subarray(0, cut));
      await turn();
      stream.write(whole.subarray(cut));
      stream.end();
      await peer.until(() => peer.fate(stream) === 'ended');
      const bytesRead = tryReadReply(peer.received(stream))?.bytesRead;
      expect(peer.received(stream).subarray(bytesRead).toString()).toBe('hello');
    }
    expect(node.stats().accepts).toMatchObject({ accepted: whole.length - 1, refused: 0 });
  });

  it('is understood byte by byte, and beside others', async () => {
    await meet();
    node.bind('echo', (socket) => socket.pipe(socket));
    const slow = [peer.session.open(peer), peer.session.open(peer)];
    for (const byte of open()) {
      for (const stream of slow) stream.write(Buffer.from([byte]));
      await turn();
    }
    for (const stream of slow) expect(await replyOn(stream)).toBe(ReplyCode.ACCEPTED);
    for (const stream of slow) stream.end();
    await peer.until(() => slow.every((stream) => peer.fate(stream) === 'ended'));
  });

  it.each([
    ['for a name that is not bound', { service: 'nobody' }, ReplyCode.REFUSED],
    ['for a port that is not bound', { service: '', dstPort: 9 }, ReplyCode.REFUSED],
    ['for no name and no port', { service: '', dstPort: 0 }, ReplyCode.REFUSED],
    ['for another node', { dst: 'AAAAAAAAAAA' }, ReplyCode.NO_ROUTE],
    ['that says it comes from another node', { src: 'AAAAAAAAAAA' }, ReplyCode.DENIED],
  ])('is refused %s', async (_what, changes, code) => {
    await meet();
    node.bind('echo');
    const stream = peer.session.open(peer, Buffer.concat([open(changes), Buffer.from('unheard')]));
    expect(await replyOn(stream)).toBe(code);
    await peer.until(() => peer.fate(stream) === 'ended');
    stream.end();
    expect(node.stats().accepts.accepted).toBe(0);
  });

  it('is refused when its server has all the sockets it may have', async () => {
    await meet();
    const server = node.bind('echo', { maxConnections: 0 });
    const dropped = once(server, 'drop');
    const stream = peer.session.open(peer, open());
    expect(await replyOn(stream)).toBe(ReplyCode.LIMIT);
    await dropped;
    stream.end();
  });

  it('is refused by name, but not by port, when no env is shared', async () => {
    await meet({}, ['elsewhere']);
    const server = node.bind('echo', (socket) => socket.end());
    const byName = peer.session.open(peer, open());
    expect(await replyOn(byName)).toBe(ReplyCode.REFUSED);
    byName.end();
    const byPort = peer.session.open(peer, open({ service: '', dstPort: server.address()?.port }));
    expect(await replyOn(byPort)).toBe(ReplyCode.ACCEPTED);
    byPort.end();
  });

  it.each([
    ['is no OPEN', Buffer.from('GET / HTTP/1.1\r\n')],
    ['is of another version', Buffer.concat([Buffer.from([0, 60, 9]), Buffer.alloc(59)])],
    ['promises more than may be', Buffer.from([0xff, 0xff, 1])],
  ])('is refused when what it begins with %s, and costs the link nothing', async (_what, bytes) => {
    await meet();
    const stream = peer.session.open(peer, bytes);
    expect(await replyOn(stream)).toBe(ReplyCode.MALFORMED);
    stream.end();
    node.bind('echo', (socket) => socket.end());
    const good = peer.session.open(peer, open());
    expect(await replyOn(good)).toBe(ReplyCode.ACCEPTED);
    good.end();
  });

  it('is reset when it ends before OPEN is complete', async () => {
    await meet();
    for (const bytes of [undefined, open().subarray(0, 20)]) {
      const stream = peer.session.open(peer, bytes);
      await turn();
      stream.end();
      await peer.until(() => peer.fate(stream) === 'reset');
    }
  });

  it('is reset when OPEN does not come in time, with a byte of it or without', async () => {
    await meet({ handshakeTimeoutMs: 40 });
    const silent = peer.session.open(peer);
    await turn();
    const alsoSilent = peer.session.open(peer);
    const slow = peer.session.open(peer, open().subarray(0, 20));
    await peer.until(() => [silent, alsoSilent, slow].every((stream) => peer.fate(stream) === 'reset'));
    expect(node.stats().accepts.refused).toBe(3);
  });

  it('leaves nothing behind when the link goes while OPEN is on its way', async () => {
    await meet();
    peer.session.open(peer);
    peer.session.open(peer, open().subarray(0, 20));
    await turnsUntil('the node has them', () => node.links()[0].streams === 2);
    peer.session.destroy();
    await once(node, 'unlink');
  });
});

describe('a circuit that comes in through relays', () => {
  const SRC = 'AAAAAAAAAAA';
  const RELAY = 'BBBBBBBBBBA';

  /** As the peer passes it on: it is the last relay on the way. */
  function passOn(changes: Partial<OpenRequest> = {}, data = ''): MuxStream {
    const { nodeId } = peer.identity;
    const relayed = { src: SRC, visited: [RELAY, nodeId], relays: 2, remainingMs: 1000, env: envDigests([])[0] };
    const stream = peer.session.open(peer, Buffer.concat([open({ ...relayed, ...changes }), Buffer.from(data)]));
    stream.useRelayWindow();
    return stream;
  }

  it('reaches its server, which sees the dialler and the way it has come', async () => {
    await meet();
    const connection = once(node.bind('echo'), 'connection') as Promise<[Socket]>;
    const stream = passOn({}, 'hello');
    expect(await replyOn(stream)).toBe(ReplyCode.ACCEPTED);
    expect(tryReadReply(peer.received(stream))?.reply).toMatchObject({ at: node.id, visited: [] });
    const [socket] = await connection;
    expect(socket.peer).toEqual({ id: SRC, service: 'echo', via: [peer.identity.nodeId, RELAY] });
    expect(socket).toMatchObject({ remoteAddress: `@${SRC}`, remotePort: 4711 });
    expect(String(await once(socket, 'data'))).toBe('hello');
    socket.destroy();
    stream.end();
  });

  it('does not name nodes that were only tried on the way', async () => {
    await meet();
    const connection = once(node.bind('echo'), 'connection') as Promise<[Socket]>;
    const stream = passOn({ visited: [RELAY, peer.identity.nodeId], relays: 1 });
    const [socket] = await connection;
    expect(socket.peer?.via).toEqual([peer.identity.nodeId]);
    socket.destroy();
    stream.end();
  });

  it.each([
    ['by name, from who shares no env', { env: envDigests(['elsewhere'])[0] }, ReplyCode.REFUSED],
    ['by name, from who says nothing of envs', { env: undefined }, ReplyCode.REFUSED],
    ['by name, when nothing is bound', { service: 'nobody' }, ReplyCode.REFUSED],
    ['that comes from another than the peer', { visited: [RELAY], relays: 1 }, ReplyCode.DENIED],
    ['that has passed nobody', { visited: [], relays: 0 }, ReplyCode.DENIED],
  ])('is refused %s', async (_what, changes, code) => {
    await meet();
    node.bind('echo');
    const stream = passOn(changes);
    expect(await replyOn(stream)).toBe(code);
    stream.end();
    expect(node.stats().accepts).toEqual({
      accepted: 0,
      refused: 1,
      denied: 0,
      insecure: 0,
      repeated: 0,
      quantumSafe: 0,
    });
  });

  it('is refused when it has been here before', async () => {
    await meet();
    node.bind('echo');
    for (const changes of [{ visited: [node.id, peer.identity.nodeId] }, { src: node.id }]) {
      const stream = passOn(changes);
      expect(await replyOn(stream)).toBe(ReplyCode.LOOP);
      stream.end();
    }
  });

  it('is accepted by port from any env', async () => {
    await meet({}, ['elsewhere']);
    const server = node.bind('echo', (socket) => socket.end());
    const stream = passOn({ service: '', dstPort: server.address()?.port, env: undefined });
    expect(await replyOn(stream)).toBe(ReplyCode.ACCEPTED);
    stream.end();
  });

  it('is accepted by name from a node that shares an env, though the last relay does not', async () => {
    await meet({}, ['elsewhere']);
    node.bind('echo', (socket) => socket.end());
    const stream = passOn();
    expect(await replyOn(stream)).toBe(ReplyCode.ACCEPTED);
    stream.end();
  });

  it('begins with 64 KiB of credit in each direction', async () => {
    await meet();
    const connection = once(node.bind('echo'), 'connection') as Promise<[Socket]>;
    const stream = passOn();
    const [socket] = await connection;
    socket.pause();
    socket.write(Buffer.alloc(200_000));
    stream.write(Buffer.alloc(200_000));
    await peer.until(() => peer.received(stream).length > 60_000);
    await turnsUntil('no more can be sent', () => stream.queuedBytes <= 200_000 - 65_000);
    expect(stream.queuedBytes).toBeGreaterThan(200_000 - 65_536);
    socket.destroy();
    stream.reset();
  });
});
