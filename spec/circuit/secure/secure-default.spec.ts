// When circuits are encrypted by default, and what the two ends and `allow` decide.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { EphemeralKey } from '../../../lib/circuit/secure/key-agreement.js';
import { dialStatement, dialTranscript } from '../../../lib/circuit/secure/transcript.js';
import { createIdentity } from '../../../lib/identity/identity.js';
import type { BindOptions, DialOptions, Node, NodeOptions, Socket } from '../../../lib/index.js';
import { kOpenSockets } from '../../../lib/mux/hidden.js';
import type { MuxStream } from '../../../lib/mux/stream/stream.js';
import { encodeProof } from '../../../lib/wire/circuit-proof.js';
import { encodeOpen } from '../../../lib/wire/open.js';
import { tryReadReply } from '../../../lib/wire/open-reply.js';
import { within } from '../../support/deadline.js';
import { corrupt } from '../../support/evil-relay.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { RawPeer } from '../../support/raw-peer.js';
import { RelayNet } from '../../support/relay-net.js';
import { readToEnd } from '../../support/testnet.js';
import { thrownCode } from '../../support/thrown.js';
import { turn, turnsUntil } from '../../support/turns.js';

const SECRET = { secret: 'the secret of a network' };

let net: RelayNet;

async function line(
  relays: number,
  node: NodeOptions = SECRET,
  nodes: Record<number, NodeOptions> = {},
): Promise<void> {
  net = await RelayNet.line(relays, { node, nodes });
}

/** Both ends of a circuit to `echo`. */
async function connect(options: DialOptions = {}, bound: BindOptions = {}): Promise<[near: Socket, far: Socket]> {
  const server = net.last.bind('echo:7', bound, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const near = net.first.dial(`@${net.last.id}:7`, options);
  near.on('error', () => {});
  await within('a connection', once(near, 'connect'));
  const [far] = await within('a connection', accepted);
  return [near, far];
}

async function failure(socket: Socket): Promise<NodeJS.ErrnoException> {
  const [error] = await within('a failure', once(socket, 'error'));
  return error as NodeJS.ErrnoException;
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await net.close();
  for (const node of net.nodes) expect(node.stats()).toMatchObject({ dials: { pending: 0 }, holds: 0 });
  await nothingLeft();
});

describe('With a secret', () => {
  it.each([1, 2])('a circuit through %d relays is secure', async (relays) => {
    await line(relays);
    const [near, far] = await connect();
    for (const socket of [near, far]) expect(socket).toMatchObject({ secure: true, verified: true });
    near.end('hello');
    expect((await readToEnd(near)).toString()).toBe('hello');
  });

  it('so is a circuit dialled by node.net', async () => {
    await line(1);
    net.last.bind('echo:7', (socket) => socket.pipe(socket));
    const socket = net.first.net.connect(7, `@${net.last.id}`);
    await once(socket, 'connect');
    expect((socket as unknown as Socket).secure).toBe(true);
    socket.destroy();
  });

  it('a circuit over a link is not, since the link is secure; both ends still know each other', async () => {
    await line(0);
    const [near, far] = await connect();
    for (const socket of [near, far]) expect(socket).toMatchObject({ secure: false, verified: true });
    near.destroy();
  });

  it('a circuit over a link is secure on request', async () => {
    await line(0);
    const [near, far] = await connect({ secure: true });
    for (const socket of [near, far]) expect(socket).toMatchObject({ secure: true, verified: true });
    near.destroy();
  });

  it('a circuit through a relay is not when the dial says so, and proves nothing', async () => {
    await line(1);
    const [near, far] = await connect({ secure: false });
    for (const socket of [near, far]) expect(socket).toMatchObject({ secure: false, verified: false });
    near.destroy();
  });

  it('a relay cannot have a circuit in clear instead', async () => {
    await line(1);
    corrupt(net.relay(1), { open: (open) => ({ ...open, proof: undefined }) });
    const heard: Buffer[] = [];
    net.last.bind('echo:7', (socket) => {
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => heard.push(chunk));
    });
    const socket = net.first.dial(`@${net.last.id}:7`);
    socket.write('not in clear');
    expect(await failure(socket)).toMatchObject({ code: 'EHOSTUNREACH', cause: { code: 'ERR_STARLANE_SECURE' } });
    expect(heard).toEqual([]);
  });
});

describe('Without a secret', () => {
  it.each([0, 1])('a circuit over %d relays is secure only on request', async (relays) => {
    await line(relays, {});
    const [near] = await connect();
    expect(near.secure).toBe(false);
    near.destroy();
    const asked = net.first.dial(`@${net.last.id}:7`, { secure: true });
    await once(asked, 'connect');
    expect(asked).toMatchObject({ secure: true, verified: true });
    asked.destroy();
  });

  it('a value other than true or false throws', async () => {
    await line(0, {});
    expect(thrownCode(() => net.first.dial('echo', { secure: 'yes' as never }))).toBe('ERR_STARLANE_OPTION');
  });
});

describe('A secure circuit and allow', () => {
  it('is asked about with a peer that is verified, and reaches its server if it may', async () => {
    const asked: unknown[] = [];
    await line(1);
    const [near] = await connect(
      {},
      {
        allow: (request) => {
          asked.push(request);
          return Promise.resolve(true);
        },
      },
    );
    expect(asked).toMatchObject([{ peer: { id: net.first.id, verified: true, via: [net.nodes[1].id] }, port: 7 }]);
    near.end('hello');
    expect((await readToEnd(near)).toString()).toBe('hello');
  });

  it('is not asked about when its proof does not hold', async () => {
    await line(1);
    const asked: unknown[] = [];
    net.last.bind('echo:7', {
      allow: (request) => {
        asked.push(request);
        return true;
      },
    });
    corrupt(net.relay(1), { open: (open) => ({ ...open, srcPort: 1 }) });
    const error = await failure(net.first.dial(`@${net.last.id}:7`));
    expect(error).toMatchObject({ code: 'EHOSTUNREACH', cause: { code: 'ERR_STARLANE_SECURE' } });
    expect(asked).toEqual([]);
  });

  it('fits rules on ids, as no circuit in clear through a relay does', async () => {
    await line(1);
    net.last.bind('echo:7', { allow: [{ id: net.first.id }] }, (socket) => socket.pipe(socket));
    const secure = net.first.dial(`@${net.last.id}:7`);
    secure.end('hello');
    expect((await readToEnd(secure)).toString()).toBe('hello');
    const clear = net.first.dial(`@${net.last.id}:7`, { secure: false });
    expect(await failure(clear)).toMatchObject({ code: 'EACCES' });
  });

  it('is refused with the reason, and leaves nothing behind', async () => {
    await line(1);
    net.last.bind('echo:7', { allow: () => Promise.resolve(false) });
    const error = await failure(net.first.dial(`@${net.last.id}:7`));
    expect(error).toMatchObject({ code: 'EACCES' });
    expect(net.last.stats().accepts).toMatchObject({ denied: 1, accepted: 0 });
  });
});

describe('A server', () => {
  it('that has as many sockets as it may refuses a secure one', async () => {
    await line(1);
    const [near] = await connect({}, { maxConnections: 1 });
    const error = await failure(net.first.dial(`@${net.last.id}:7`));
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
    near.destroy();
  });

  it('that is closed while a dialler confirms still gets that one', async () => {
    await line(1);
    const server = net.last.bind('echo:7');
    const near = net.first.dial(`@${net.last.id}:7`, () => server.close());
    const [far] = (await within('a connection', once(server, 'connection'))) as [Socket];
    far.end('late');
    expect((await readToEnd(near)).toString()).toBe('late');
  });

  it('does not see a dialler that is gone before it has confirmed', async () => {
    await line(1);
    const sockets: Socket[] = [];
    const server = net.last.bind('echo:7', (socket) => sockets.push(socket));
    corrupt(net.relay(1), { data: (chunk, towards) => (towards === 'server' ? [] : [chunk]) });
    const near = net.first.dial(`@${net.last.id}:7`);
    await once(near, 'connect');
    near.resetAndDestroy();
    await turnsUntil('the server has forgotten it', () => server[kOpenSockets] === 0);
    expect(sockets).toEqual([]);
    expect(net.last.stats()).toMatchObject({ accepts: { accepted: 0, insecure: 0 }, warnings: 0 });
  });
});

describe('Circuits that are not confirmed', () => {
  let peer: RawPeer;
  let node: Node;

  /** A secure OPEN of the peer, which it never confirms. */
  function open(number: number): MuxStream {
    const { publicKey, nodeId, sign } = peer.identity;
    const circuitId = Buffer.alloc(16, number);
    const terms = { src: nodeId, srcPort: 9, dst: node.id, dstPort: 7, circuitId, service: '' };
    const keys = { publicKey, ephemeral: new EphemeralKey().publicKey };
    const proof = encodeProof({ ...keys, signature: sign(dialStatement(dialTranscript(terms, keys))) });
    return peer.session.open(peer, encodeOpen({ ...terms, hopLimit: 9, proof }));
  }

  async function codeOn(stream: MuxStream): Promise<number | undefined> {
    await peer.until(() => tryReadReply(peer.received(stream)) !== undefined);
    return tryReadReply(peer.received(stream))?.reply.code;
  }

  async function meet(options: NodeOptions): Promise<void> {
    net = await RelayNet.line(0, { node: options });
    node = net.last;
    peer = new RawPeer(true, createIdentity());
    const link = node.attach(peer.duplex, { initiator: false });
    await peer.handshake();
    await link;
    node.bind(':7');
  }

  afterEach(() => peer.session.close());

  it('are limited by the backlog of the link; further ones are refused', async () => {
    await meet({ acceptBacklog: 3 });
    const codes: unknown[] = [];
    for (let number = 1; number <= 4; number++) codes.push(await codeOn(open(number)));
    expect(codes).toEqual([0, 0, 0, 5]);
  });

  it('make room for others when they time out or are reset', async () => {
    await meet({ acceptBacklog: 1, handshakeTimeoutMs: 50 });
    const first = open(1);
    expect(await codeOn(first)).toBe(0);
    expect(await codeOn(open(2))).toBe(5);
    await peer.until(() => peer.fate(first) === 'reset');
    const third = open(3);
    expect(await codeOn(third)).toBe(0);
    third.reset();
    await turn();
    expect(await codeOn(open(4))).toBe(0);
    // That one was reset is no fault of its keys.
    expect(node.stats().accepts).toMatchObject({ accepted: 0, insecure: 1 });
  });

  it('fail alone when they bring an invalid key', async () => {
    await meet({});
    const { publicKey, nodeId, sign } = peer.identity;
    const terms = { src: nodeId, srcPort: 9, dst: node.id, dstPort: 7, circuitId: Buffer.alloc(16), service: '' };
    const keys = { publicKey, ephemeral: Buffer.alloc(32) };
    const proof = encodeProof({ ...keys, signature: sign(dialStatement(dialTranscript(terms, keys))) });
    const stream = peer.session.open(peer, encodeOpen({ ...terms, hopLimit: 9, proof }));
    expect(await codeOn(stream)).toBe(9);
    expect(await codeOn(open(2))).toBe(0);
  });
});
