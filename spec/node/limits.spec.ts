// What a peer can take of a node, as its options say: each limit is reached, by a peer that goes one step too far, and the
// code with which that ends.

import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createNode, type Link, type Node, type NodeOptions, type Socket } from '../../lib/index.js';
import type { MuxSession } from '../../lib/mux/session.js';
import type { MuxStream } from '../../lib/mux/stream/stream.js';
import { Flag } from '../../lib/wire/header.js';
import { encodeMessage } from '../../lib/wire/messages.js';
import { encodeOpen } from '../../lib/wire/open.js';
import { ReplyCode, tryReadReply } from '../../lib/wire/open-reply.js';
import { within } from '../support/deadline.js';
import { nothingLeft, watchHandles } from '../support/open-handles.js';
import { RawPeer } from '../support/raw-peer.js';
import { RelayNet } from '../support/relay-net.js';
import { turnsUntil } from '../support/turns.js';

const KIB = 1024;
/** A type of a later version: skipped. */
const UNKNOWN_TYPE = 200;

const nodes: Node[] = [];
let node: Node;
let peer: RawPeer;

function makeNode(options: NodeOptions): Node {
  const made = createNode({ closeTimeoutMs: 50, ...options });
  nodes.push(made);
  return made;
}

async function meet(options: NodeOptions): Promise<void> {
  node = makeNode(options);
  peer = new RawPeer(true);
  const link = node.attach(peer.duplex, { initiator: false });
  await peer.handshake();
  await link;
}

function open(service = 'echo'): MuxStream {
  const bytes = encodeOpen({
    hopLimit: 16,
    dst: node.id,
    dstPort: 0,
    src: peer.identity.nodeId,
    srcPort: 1,
    circuitId: new Uint8Array(16),
    service,
  });
  return peer.session.open(peer, bytes);
}

async function codeOn(stream: MuxStream): Promise<number> {
  await peer.until(() => tryReadReply(peer.received(stream)) !== undefined);
  return tryReadReply(peer.received(stream))?.reply.code as number;
}

/** The code with which the link ends. */
async function codeOfEnd(): Promise<string | undefined> {
  const [, reason] = (await within('the end of the link', once(node, 'unlink'))) as [Link, NodeJS.ErrnoException];
  return reason.code;
}

/** A frame that the session of the peer would not send. */
function sendHeader(stream: MuxStream, length: number): void {
  const output = Reflect.get(peer.session, 'output') as { dataHeader(...args: number[]): void; scheduleFlush(): void };
  output.dataHeader(0, stream.id, length);
  output.scheduleFlush();
}

beforeEach(() => watchHandles());
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((one) => one.close()));
  await nothingLeft();
});

describe('a peer that goes too far', () => {
  afterEach(() => peer.session.destroy());

  it('with streams is refused beyond maxStreams', async () => {
    // One of them is the control stream.
    await meet({ maxStreams: 3 });
    node.bind('echo', (socket) => socket.on('error', () => {}));
    const streams = [open(), open(), open()];
    await peer.until(() => peer.fate(streams[2]) === 'reset');
    for (const stream of streams.slice(0, 2)) expect(await codeOn(stream)).toBe(ReplyCode.ACCEPTED);
    expect(node.links()).toHaveLength(1);
  });

  it('with streams that send no OPEN is refused beyond acceptBacklog', async () => {
    await meet({ acceptBacklog: 2, handshakeTimeoutMs: 60_000 });
    const silent = [peer.session.open(peer), peer.session.open(peer), peer.session.open(peer)];
    await peer.until(() => peer.fate(silent[2]) === 'reset');
    expect(silent.slice(0, 2).map((stream) => peer.fate(stream))).toEqual(['open', 'open']);
  });

  it('with a data frame longer than 1 MiB loses the link with ERR_STARLANE_PROTOCOL', async () => {
    await meet({});
    node.bind('echo');
    const stream = open();
    expect(await codeOn(stream)).toBe(ReplyCode.ACCEPTED);
    stream.write(Buffer.alloc(64 * KIB));
    const end = codeOfEnd();
    sendHeader(stream, 1024 * KIB + 1);
    expect(await end).toBe('ERR_STARLANE_PROTOCOL');
  });

  it('with a frame for a stream that is not there is no exception to that', async () => {
    await meet({});
    const end = codeOfEnd();
    sendHeader({ id: 99 } as MuxStream, 1024 * KIB + 1);
    expect(await end).toBe('ERR_STARLANE_PROTOCOL');
  });

  it('with more than the window of a stream loses the link with ERR_STARLANE_WINDOW_OVERRUN', async () => {
    await meet({ maxWindowBytes: 256 * KIB });
    node.bind('echo');
    const stream = open();
    expect(await codeOn(stream)).toBe(ReplyCode.ACCEPTED);
    const end = codeOfEnd();
    sendHeader(stream, 256 * KIB + 1);
    expect(await end).toBe('ERR_STARLANE_WINDOW_OVERRUN');
  });

  it('with what readers have not read loses a stream with ERR_STARLANE_RECEIVE_BUDGET', async () => {
    await meet({ receiveBudgetBytes: 256 * KIB });
    const sockets: Socket[] = [];
    node.bind('echo', (socket) => sockets.push(socket));
    const streams = [open(), open()];
    await turnsUntil('both are there', () => sockets.length === 2);
    const failed = Promise.race(sockets.map((socket) => once(socket, 'error')));
    for (const stream of streams) stream.write(Buffer.alloc(200 * KIB));
    const [error] = await within('one of them is reset', failed);
    expect(error).toMatchObject({ code: 'ECONNRESET', cause: { code: 'ERR_STARLANE_RECEIVE_BUDGET' } });
    expect(node.links()).toHaveLength(1);
  });

  it('with a control message longer than the protocol permits loses the link with ERR_STARLANE_MESSAGE', async () => {
    await meet({});
    peer.say(encodeMessage(UNKNOWN_TYPE, [Buffer.alloc(64 * KIB - 1)]));
    await peer.session.ping();
    const end = codeOfEnd();
    peer.say(lengthOnly(64 * KIB + 1, Buffer.alloc(1)));
    expect(await end).toBe('ERR_STARLANE_MESSAGE');
  });

  it('with pings whose answers it does not read loses the link with ERR_STARLANE_CONTROL_FLOOD', async () => {
    await meet({});
    const end = codeOfEnd();
    stopReading(peer.session);
    const pings = Buffer.alloc(12 * 100_000);
    for (let at = 0; at < pings.length; at += 12) pings.set([0, 2, 0, Flag.SYN], at);
    let isOver = false;
    let sent = 0;
    void end.then(() => {
      isOver = true;
    });
    await turnsUntil('the link ends', () => {
      if (!isOver) writeRaw(peer.session, pings);
      if (!isOver) sent++;
      return isOver;
    });
    // What is on its way to the peer comes on top of what waits.
    expect(sent * pings.length).toBeLessThan(20 * 1024 * KIB);
    expect(await end).toBe('ERR_STARLANE_CONTROL_FLOOD');
  });

  it('with services is not listened to beyond maxServicesPerPeer, which is a warning', async () => {
    await meet({ maxServicesPerPeer: 2 });
    const warned = once(node, 'warning');
    peer.announce('one').announce('two').announce('three');
    const [error] = await within('a warning', warned);
    expect(error).toMatchObject({ code: 'ERR_STARLANE_SERVICE_LIMIT' });
    expect(node.services().map(({ service }) => service)).not.toContain('three');
  });

  it('with services is not listened to beyond maxInstances of all nodes', async () => {
    await meet({ maxInstances: 2 });
    peer.announce('one').announce('two').announce('three');
    await node.waitFor('two');
    await peer.session.ping();
    expect(node.services().map(({ service }) => service)).toEqual(['one', 'two']);
  });
});

describe('beyond maxNodes', () => {
  it('further nodes are not seen, and links stay', async () => {
    // Itself is one of them.
    const hub = makeNode({ maxNodes: 3 });
    const others = Array.from({ length: 3 }, () => makeNode({}));
    for (const [index, other] of others.entries()) {
      other.bind(`service-${index}`);
      const [near, far] = duplexPair();
      // Both have told all when that is done.
      await Promise.all([hub.attach(near), other.attach(far)]);
    }
    await hub.waitFor('service-1');
    expect(hub.services().map(({ service }) => service)).toEqual(['service-0', 'service-1']);
    expect(hub.links()).toHaveLength(3);
  });
});

describe('a neighbour that passes circuits on', () => {
  let net: RelayNet;
  afterEach(() => net.close());

  it.each<[keyof NodeOptions, number, string]>([
    ['relayOpensPerSecond', 1, 'more than 1 opens a second'],
    ['maxCircuitsPerNeighbour', 2, '2 circuits of one neighbour'],
    ['maxCircuitsPerSource', 2, '2 circuits of one source'],
  ])('is refused beyond %s, which the dialler hears', async (option, value, reason) => {
    net = await RelayNet.line(1, { nodes: { 1: { [option]: value } } });
    net.last.bind(':7', (socket) => socket.on('error', () => {}));
    const dial = (): Socket => net.first.dial(`@${net.last.id}:7`);
    const standing = [dial(), dial()];
    await Promise.all(standing.map((socket) => once(socket, 'connect')));
    const [error] = await within('a failure', once(dial(), 'error'));
    expect(error).toMatchObject({ code: 'EHOSTUNREACH', cause: { code: 'ERR_STARLANE_RELAY_LIMIT' } });
    expect(error.cause.message).toContain(reason);
    for (const socket of standing) socket.destroy();
  });

  it('is refused beyond relayPoolBytes, and the circuit that holds most is reset', async () => {
    net = await RelayNet.line(1, { nodes: { 1: { relayPoolBytes: 1024 * KIB } } });
    const [near, far] = [net.first, net.last];
    far.bind(':7', (socket) => socket.on('error', () => {}));
    const sockets = Array.from({ length: 12 }, () => near.dial(`@${far.id}:7`));
    const codes: string[] = [];
    for (const socket of sockets) {
      socket.on('error', ({ cause }: Error) => codes.push((cause as NodeJS.ErrnoException | undefined)?.code ?? ''));
      socket.write(Buffer.alloc(400 * KIB));
    }
    await turnsUntil('some are reset', () => codes.includes('ERR_STARLANE_RELAY_LIMIT'));
    expect(net.relay(1).heldBytes).toBeLessThanOrEqual(1024 * KIB);
    for (const socket of sockets) socket.destroy();
  });
});

/** A message of that length, of which so much comes. */
function lengthOnly(length: number, body: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(length);
  body[0] = UNKNOWN_TYPE;
  return Buffer.concat([head, body]);
}

function duplexOf(session: MuxSession): import('node:stream').Duplex {
  return Reflect.get(Reflect.get(session, 'transport'), 'duplex');
}

function stopReading(session: MuxSession): void {
  duplexOf(session).removeAllListeners('data').pause();
}

function writeRaw(session: MuxSession, bytes: Buffer): void {
  duplexOf(session).write(bytes);
}
