import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { CircuitIds } from '../../../lib/circuit/dial/dial-target.js';
import { createNode, hash, type Node, type NodeOptions, type Socket } from '../../../lib/index.js';
import type { MuxStream } from '../../../lib/mux/stream/stream.js';
import { type Open, tryReadOpen } from '../../../lib/wire/open.js';
import { encodeReply, ReplyCode } from '../../../lib/wire/open-reply.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { RawPeer } from '../../support/raw-peer.js';
import { readToEnd } from '../../support/testnet.js';
import { turn, turnsUntil } from '../../support/turns.js';

let node: Node;
let peers: RawPeer[];

async function addPeer(...services: string[]): Promise<RawPeer> {
  const peer = new RawPeer(true);
  peers.push(peer);
  const link = node.attach(peer.duplex, { initiator: false });
  await peer.handshake();
  await link;
  for (const service of services) peer.announce(service);
  for (const service of services) await node.waitFor(service);
  return peer;
}

async function meet(options: NodeOptions = {}): Promise<RawPeer> {
  node = createNode({ closeTimeoutMs: 50, ...options });
  return addPeer('echo');
}

/** The OPEN on the peer's stream number `index`, and how many bytes it has. */
async function openOn(peer: RawPeer, index = 0): Promise<{ stream: MuxStream; open: Open; bytesRead: number }> {
  await peer.until(() => peer.streams.length > index && tryReadOpen(peer.received(peer.streams[index])) !== undefined);
  const stream = peer.streams[index];
  return { stream, ...(tryReadOpen(peer.received(stream)) as { open: Open; bytesRead: number }) };
}

function reply(peer: RawPeer, code: number = ReplyCode.ACCEPTED, reason = ''): Buffer {
  return encodeReply({ code, port: code === ReplyCode.ACCEPTED ? 7 : 0, at: peer.identity.nodeId, reason });
}

async function failure(socket: Socket): Promise<NodeJS.ErrnoException> {
  const [error] = await once(socket, 'error');
  return error as NodeJS.ErrnoException;
}

beforeEach(() => {
  watchHandles();
  peers = [];
});
afterEach(async () => {
  for (const peer of peers) peer.session.close();
  await node.close();
  expect(node.stats()).toMatchObject({ dials: { pending: 0 }, holds: 0 });
  await nothingLeft();
});

describe('a dial', () => {
  it('sends OPEN with both addresses, and the first data in the same turn', async () => {
    const peer = await meet();
    const socket = node.dial('echo:80');
    socket.write('early');
    const { stream, open, bytesRead } = await openOn(peer);
    expect(open).toMatchObject({
      dst: peer.identity.nodeId,
      dstPort: 80,
      src: node.id,
      service: 'echo',
      visited: [],
      hopLimit: 16,
    });
    expect(peer.received(stream).subarray(bytesRead).toString()).toBe('early');
    stream.write(reply(peer));
    await once(socket, 'connect');
    expect(socket).toMatchObject({ remotePort: 7, localPort: open.srcPort, remoteAddress: `@${peer.identity.nodeId}` });
    socket.destroy();
  });

  it('reads the reply wherever it was cut, and what follows it', async () => {
    const peer = await meet();
    const whole = Buffer.concat([reply(peer), Buffer.from('hello')]);
    for (let cut = 1; cut < whole.length; cut++) {
      const socket = node.dial('echo');
      const { stream } = await openOn(peer, cut - 1);
      stream.write(whole.subarray(0, cut));
      await turn();
      stream.write(whole.subarray(cut));
      stream.end();
      expect((await readToEnd(socket)).toString()).toBe('hello');
    }
  });

  it('gives each circuit its own id and near port', async () => {
    const peer = await meet();
    const sockets = [node.dial('echo'), node.dial('echo')];
    const [one, two] = [await openOn(peer, 0), await openOn(peer, 1)];
    expect(one.open.circuitId).not.toEqual(two.open.circuitId);
    expect(one.open.srcPort).not.toBe(two.open.srcPort);
    for (const socket of sockets) socket.destroy();
  });

  it('waits for a service that appears in time', async () => {
    const peer = await meet();
    const sockets = [node.dial('late'), node.dial('late:5')];
    expect(node.stats().dials.pending).toBe(2);
    peer.announce('late', 6, 1);
    const first = await openOn(peer, 0);
    expect(first.open).toMatchObject({ service: 'late', dstPort: 6 });
    peer.announce('late', 5, 1);
    const second = await openOn(peer, 1);
    expect(second.open).toMatchObject({ service: 'late', dstPort: 5 });
    for (const socket of sockets) socket.destroy();
  });

  it('fails with ENOTFOUND when it does not appear', async () => {
    await meet({ dialTimeoutMs: 20 });
    expect(await failure(node.dial('late:5'))).toMatchObject({
      code: 'ENOTFOUND',
      syscall: 'connect',
      address: 'late',
      port: 5,
      message: 'connect ENOTFOUND late:5',
    });
  });

  it('fails with ETIMEDOUT when the peer does not answer', async () => {
    const peer = await meet();
    expect(await failure(node.dial('echo', { timeoutMs: 20 }))).toMatchObject({ code: 'ETIMEDOUT', address: 'echo' });
    const { stream } = await openOn(peer);
    await peer.until(() => peer.fate(stream) === 'reset');
  });

  it('fails with EHOSTUNREACH for a node without a way to it', async () => {
    await meet();
    expect(await failure(node.dial('@AAAAAAAAAAA:80'))).toMatchObject({
      code: 'EHOSTUNREACH',
      message: 'connect EHOSTUNREACH @AAAAAAAAAAA:80',
    });
  });

  it.each([
    [ReplyCode.REFUSED, 'ECONNREFUSED'],
    [ReplyCode.LIMIT, 'ECONNREFUSED'],
    [ReplyCode.MALFORMED, 'ECONNREFUSED'],
    [ReplyCode.NO_ROUTE, 'EHOSTUNREACH'],
    [ReplyCode.HOP_LIMIT, 'EHOSTUNREACH'],
    [ReplyCode.LOOP, 'EHOSTUNREACH'],
    [ReplyCode.DENIED, 'EACCES'],
    [ReplyCode.TIMEOUT, 'ETIMEDOUT'],
    [99, 'ECONNREFUSED'],
  ])('that is answered with code %i fails with %s and the reason', async (code, expected) => {
    const peer = await meet();
    const failed = failure(node.dial('echo'));
    const { stream } = await openOn(peer);
    stream.write(reply(peer, code, 'because'));
    const error = await failed;
    expect(error).toMatchObject({ code: expected, syscall: 'connect', address: 'echo' });
    expect((error.cause as Error).message).toContain('because');
    stream.end();
  });

  it('fails when the answer is no reply', async () => {
    const peer = await meet();
    const failed = failure(node.dial('echo'));
    const { stream } = await openOn(peer);
    stream.write(Buffer.from([0xff, 0xff, 0xff]));
    expect(await failed).toMatchObject({ code: 'ECONNRESET', cause: { code: 'ERR_STARLANE_MESSAGE' } });
    await peer.until(() => peer.fate(stream) === 'reset');
  });

  it('fails when the stream ends before the reply', async () => {
    const peer = await meet();
    const failed = failure(node.dial('echo'));
    const { stream } = await openOn(peer);
    stream.end();
    expect(await failed).toMatchObject({ code: 'ECONNRESET' });
  });

  it('treats a reset before the reply as a refusal, and the loss of the link as a reset', async () => {
    const peer = await meet();
    const refused = failure(node.dial('echo'));
    (await openOn(peer)).stream.reset();
    expect(await refused).toMatchObject({ code: 'ECONNREFUSED', cause: { code: 'ERR_STARLANE_STREAM_RESET' } });
    const lost = failure(node.dial('echo'));
    await openOn(peer, 1);
    peer.session.destroy();
    expect(await lost).toMatchObject({ code: 'ECONNRESET' });
  });

  it('ends with its signal, at any time', async () => {
    const peer = await meet();
    expect(await failure(node.dial('echo', { signal: AbortSignal.abort() }))).toMatchObject({ name: 'AbortError' });
    const aborter = new AbortController();
    const [waiting, opening] = ['late', 'echo'].map((name) => failure(node.dial(name, { signal: aborter.signal })));
    const { stream } = await openOn(peer);
    aborter.abort();
    expect(await waiting).toMatchObject({ name: 'AbortError' });
    expect(await opening).toMatchObject({ name: 'AbortError' });
    await peer.until(() => peer.fate(stream) === 'reset');
    expect(node.stats().dials).toMatchObject({ started: 3, failed: 3, pending: 0 });
  });

  it('ends with its socket', async () => {
    const peer = await meet();
    const waiting = node.dial('late');
    waiting.destroy();
    const opening = node.dial('echo');
    const { stream } = await openOn(peer);
    opening.destroy();
    await peer.until(() => peer.fate(stream) === 'reset');
    expect(node.stats().dials.pending).toBe(0);
  });

  it('fails with ECANCELED when the node is closed', async () => {
    await meet();
    const failed = ['late', 'echo'].map((name) => failure(node.dial(name)));
    const closed = node.close();
    failed.push(failure(node.dial('echo')));
    for (const error of await Promise.all(failed)) expect(error).toMatchObject({ code: 'ECANCELED' });
    for (const peer of peers) peer.session.close();
    await closed;
  });

  it.each([
    [{ timeoutMs: 0 }, 'timeoutMs'],
    [{ timeoutMs: Number.NaN }, 'timeoutMs'],
    [{ selector: 'best' }, 'selector'],
    [{ signal: {} }, 'signal'],
  ])('refuses the options %p', async (options, name) => {
    await meet();
    expect(() => node.dial('echo', options as object)).toThrow(
      expect.objectContaining({ code: 'ERR_STARLANE_OPTION', message: expect.stringContaining(name) }),
    );
  });

  it.each(['', ':', 'echo:', 'echo:0', ':0', 'echo:-1', '@short:80', 'two words'])(
    'refuses the address %p',
    async (address) => {
      await meet();
      expect(() => node.dial(address)).toThrow(expect.objectContaining({ code: 'ERR_STARLANE_ADDRESS' }));
    },
  );
});

describe('of several instances', () => {
  /** Accepts on one peer whatever comes, and refuses on the others. */
  async function answer(peer: RawPeer, index: number, code: number): Promise<void> {
    const { stream } = await openOn(peer, index);
    stream.write(reply(peer, code));
    if (code !== ReplyCode.ACCEPTED) stream.end();
  }

  it('the next is tried when one refuses, and gets everything that was written', async () => {
    const refusing = await meet();
    const accepting = await addPeer('echo');
    const order = [refusing, accepting].map(({ identity }) => identity.nodeId);
    const socket = node.dial('echo', {
      selector: (instances) => order.flatMap((id) => instances.filter(({ nodeId }) => nodeId === id))[0],
    });
    socket.write('first,');
    socket.end('second');
    await answer(refusing, 0, ReplyCode.REFUSED);
    const { stream, bytesRead } = await openOn(accepting);
    stream.write(reply(accepting));
    await once(socket, 'connect');
    await accepting.until(() => accepting.fate(stream) === 'ended');
    expect(accepting.received(stream).subarray(bytesRead).toString()).toBe('first,second');
    stream.end();
    expect(socket.peer?.id).toBe(accepting.identity.nodeId);
  });

  it('each is tried once, and the last refusal is the error', async () => {
    const one = await meet();
    const two = await addPeer('echo');
    const failed = failure(node.dial('echo'));
    await Promise.all([answer(one, 0, ReplyCode.REFUSED), answer(two, 0, ReplyCode.REFUSED)]);
    expect(await failed).toMatchObject({ code: 'ECONNREFUSED' });
    expect([one.streams.length, two.streams.length]).toEqual([1, 1]);
  });

  it('the next is tried after a reset only if no server can have read anything', async () => {
    const one = await meet();
    const two = await addPeer('echo');
    const first = (peer: RawPeer) => ({
      selector: (instances: readonly { nodeId: string }[]) =>
        (instances.find(({ nodeId }) => nodeId === peer.identity.nodeId) ?? instances[0]) as never,
    });
    const quiet = node.dial('echo', first(one));
    (await openOn(one)).stream.reset();
    await answer(two, 0, ReplyCode.ACCEPTED);
    await once(quiet, 'connect');
    quiet.destroy();

    const written = node.dial('echo', first(one));
    written.write('pay 100');
    (await openOn(one, 1)).stream.reset();
    expect(await failure(written)).toMatchObject({ code: 'ECONNREFUSED' });
    const garbled = node.dial('echo', first(one));
    garbled.write('pay 100');
    (await openOn(one, 2)).stream.write(Buffer.from([0xff, 0xff, 0xff]));
    expect(await failure(garbled)).toMatchObject({ code: 'ECONNRESET' });
    expect(two.streams).toHaveLength(1);
  });

  it('a key leads to the same one', async () => {
    await meet();
    await addPeer('echo');
    await addPeer('echo');
    const sockets = Array.from({ length: 8 }, () => node.dial('echo', { selector: hash('key') }));
    await turnsUntil('all have arrived', () => peers.reduce((sum, peer) => sum + peer.streams.length, 0) === 8);
    expect(peers.map((peer) => peer.streams.length).sort()).toEqual([0, 0, 8]);
    for (const socket of sockets) socket.destroy();
  });

  it('a selector may want none, and wait for others', async () => {
    await meet();
    const socket = node.dial('echo', { selector: (instances) => instances.find(({ weight }) => weight === 9) });
    await turn();
    const wanted = new RawPeer(true);
    peers.push(wanted);
    const link = node.attach(wanted.duplex, { initiator: false });
    await wanted.handshake();
    await link;
    wanted.announce('echo', 0, 9);
    (await openOn(wanted)).stream.write(reply(wanted));
    await once(socket, 'connect');
    socket.destroy();
  });

  it('a selector that throws, or invents one, fails its dial alone', async () => {
    await meet();
    const boom = node.dial('echo', {
      selector: () => {
        throw new Error('boom');
      },
    });
    expect((await failure(boom)).message).toBe('boom');
    const invented = node.dial('echo', { selector: (instances) => ({ ...instances[0] }) });
    expect(await failure(invented)).toMatchObject({ code: 'ERR_STARLANE_ARGUMENT' });
  });
});

describe('a node that dials itself', () => {
  beforeEach(async () => {
    node = createNode({ closeTimeoutMs: 50 });
  });

  it.each(['name', 'name and port', 'port', 'id and port'])('reaches its own server by %s', async (how) => {
    const server = node.bind('echo', (socket) => socket.pipe(socket));
    const port = server.address()?.port as number;
    const address = {
      name: 'echo',
      'name and port': 'echo:80',
      port: `:${port}`,
      'id and port': `@${node.id}:${port}`,
    };
    const socket = node.dial(address[how as keyof typeof address]);
    socket.end('hello');
    expect((await readToEnd(socket)).toString()).toBe('hello');
    expect(socket.peer).toMatchObject({ id: node.id, via: [] });
    server.close();
  });

  it('is refused what is not bound, as by any other node', async () => {
    expect(await failure(node.dial(':5'))).toMatchObject({ code: 'ECONNREFUSED', port: 5 });
  });

  it('does not when loopback is off', async () => {
    await node.close();
    node = createNode({ closeTimeoutMs: 50, loopback: false });
    node.bind('echo');
    for (const address of ['echo', ':5', `@${node.id}:5`]) {
      expect(await failure(node.dial(address))).toMatchObject({
        code: 'EHOSTUNREACH',
        cause: { code: 'ERR_STARLANE_OPTION' },
      });
    }
    const peer = await addPeer('echo');
    const socket = node.dial('echo');
    await openOn(peer);
    socket.destroy();
  });

  it('makes the loopback again after it was closed', async () => {
    const server = node.bind('echo', (socket) => socket.pipe(socket));
    for (let round = 0; round < 2; round++) {
      const socket = node.dial('echo');
      socket.end('hello');
      expect((await readToEnd(socket)).toString()).toBe('hello');
    }
    expect(node.stats().links).toMatchObject({ up: 0, opened: 0 });
    server.close();
  });
});

describe('circuit ids', () => {
  it('are all different, and the next one cannot be guessed', () => {
    const ids = new CircuitIds();
    const seen = Array.from({ length: 1_000 }, () => Buffer.from(ids.next()).toString('hex'));
    expect(new Set(seen).size).toBe(1_000);
    for (let at = 0; at < 32; at += 8)
      expect(new Set(seen.map((id) => id.slice(at, at + 8))).size).toBeGreaterThan(990);
  });
});
