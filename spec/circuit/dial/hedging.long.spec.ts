// Dials to an instance that stands still: a second one is asked, and the first to answer gets the socket.

import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type DirectHop, Hedging } from '../../../lib/circuit/dial/hedging.js';
import { createNode, type Node, type Socket } from '../../../lib/index.js';
import { ServiceInstance } from '../../../lib/mesh/directory/service.js';
import type { MuxStream } from '../../../lib/mux/stream/stream.js';
import { tryReadOpen } from '../../../lib/wire/open.js';
import { encodeReply, ReplyCode } from '../../../lib/wire/open-reply.js';
import { nothingLeft, watchHandles } from '../../support/open-handles.js';
import { RawPeer } from '../../support/raw-peer.js';
import { nodeIdOf } from '../../support/relay-fixture.js';

describe('The hedging of dials', () => {
  const [A, B] = ['A', 'B'].map(nodeIdOf);
  const instances = [A, B].map((id) => new ServiceInstance('echo', id, 0, 1, undefined, undefined));
  let hops: Map<string, DirectHop>;
  let hedging: Hedging;

  beforeEach(() => {
    hops = new Map();
    hedging = new Hedging((id) => hops.get(id));
  });

  it('waits for half a second, or some round trips, and longer for a node that has acknowledged the stream', () => {
    hops.set(A, { rttMs: 1, lateMs: 0, lastHeardMs: 0 });
    hops.set(B, { rttMs: 200, lateMs: 100, lastHeardMs: 0 });
    expect([hedging.waitMs(A, false), hedging.waitMs(B, false)]).toEqual([500, 1100]);
    expect([hedging.waitMs(A, true), hedging.waitMs(B, true)]).toEqual([1500, 1500]);
    expect(hedging.waitMs(nodeIdOf('C'), false)).toBe(Number.POSITIVE_INFINITY);
  });

  it('asks a second instance for half of all dials at most, and some more at the start', () => {
    let taken = 0;
    for (let dials = 0; dials < 10_000; dials++) {
      hedging.onDial();
      if (hedging.tryTake()) taken++;
    }
    expect(taken).toBeGreaterThan(5_000);
    expect(taken).toBeLessThanOrEqual(5_010);
    for (let dials = 0; dials < 10_000; dials++) hedging.onDial();
    for (taken = 0; hedging.tryTake(); ) taken++;
    expect(taken).toBe(50);
  });

  it('prefers other nodes to one that was silent since an overdue open', () => {
    hops.set(A, { rttMs: 20, lateMs: 0, lastHeardMs: 115 });
    hops.set(B, { rttMs: 20, lateMs: 0, lastHeardMs: 900 });
    expect(hedging.preferred(instances)).toBe(instances);
    hedging.onOverdue(B, 100);
    expect(hedging.preferred(instances)).toBe(instances);
    hedging.onOverdue(A, 100);
    expect(hedging.preferred(instances)).toEqual([instances[1]]);
    expect(hedging.preferred([instances[0]])).toEqual([instances[0]]);
    hops.set(A, { rttMs: 20, lateMs: 0, lastHeardMs: 1000 });
    expect(hedging.preferred(instances)).toBe(instances);
  });

  it('takes them all when all are silent', () => {
    for (const id of [A, B]) {
      hops.set(id, { rttMs: 20, lateMs: 0, lastHeardMs: 10 });
      hedging.onOverdue(id, 100);
    }
    expect(hedging.preferred(instances)).toBe(instances);
  });
});

describe('A dial to an instance that does not answer', () => {
  let node: Node;
  let peers: RawPeer[];

  async function meet(count: number): Promise<void> {
    node = createNode({ closeTimeoutMs: 50 });
    for (let index = 0; index < count; index++) {
      const peer = new RawPeer(true);
      // As a process that stands still does not.
      peer.acknowledges = false;
      peers.push(peer);
      const link = node.attach(peer.duplex, { initiator: false });
      await peer.handshake();
      await link;
      const told = once(node, 'service');
      peer.announce('echo');
      await told;
    }
  }

  /** The instances in the order of the peers. */
  function dial(): Socket {
    return node.dial('echo', {
      selector: (instances) =>
        peers.flatMap(({ identity }) => instances.filter(({ nodeId }) => nodeId === identity.nodeId))[0],
    });
  }

  async function openOn(peer: RawPeer, index = 0): Promise<MuxStream> {
    await peer.until(
      () => peer.streams.length > index && tryReadOpen(peer.received(peer.streams[index])) !== undefined,
    );
    return peer.streams[index];
  }

  function answer(peer: RawPeer, stream: MuxStream, code: number = ReplyCode.ACCEPTED): void {
    stream.accept();
    stream.write(encodeReply({ code, port: 7, at: peer.identity.nodeId, reason: '' }));
    if (code !== ReplyCode.ACCEPTED) stream.end();
  }

  function sent(peer: RawPeer, stream: MuxStream): string {
    const bytes = peer.received(stream);
    return bytes.subarray(tryReadOpen(bytes)?.bytesRead).toString();
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

  it('asks a second one, which gets everything that is written', async () => {
    await meet(2);
    const [silent, other] = peers;
    const socket = dial();
    const first = await openOn(silent);
    const second = await openOn(other);
    socket.write('only ');
    answer(other, second);
    await once(socket, 'connect');
    socket.write('once');
    await other.until(() => sent(other, second) === 'only once');
    expect(socket.peer?.id).toBe(other.identity.nodeId);
    await silent.until(() => silent.fate(first) === 'reset');
    expect(sent(silent, first)).toBe('');
    socket.destroy();
  });

  it('takes the answer of the first one, if that comes first', async () => {
    await meet(2);
    const [slow, other] = peers;
    const socket = dial();
    const first = await openOn(slow);
    const second = await openOn(other);
    socket.write('only once');
    const reply = encodeReply({ code: ReplyCode.ACCEPTED, port: 7, at: slow.identity.nodeId, reason: '' });
    first.accept();
    first.write(reply.subarray(0, 3));
    first.write(Buffer.concat([reply.subarray(3), Buffer.from('hello')]));
    expect(String((await once(socket, 'data'))[0])).toBe('hello');
    await slow.until(() => sent(slow, first) === 'only once');
    await other.until(() => other.fate(second) === 'reset');
    expect(sent(other, second)).toBe('');
    expect(socket.peer?.id).toBe(slow.identity.nodeId);
    socket.destroy();
  });

  it('asks a second one later when the first has taken the stream', async () => {
    await meet(2);
    peers[0].acknowledges = true;
    const socket = dial();
    const first = await openOn(peers[0]);
    answer(peers[1], await openOn(peers[1]));
    await once(socket, 'connect');
    expect(socket.peer?.id).toBe(peers[1].identity.nodeId);
    await peers[0].until(() => peers[0].fate(first) === 'reset');
    // It is not one that stands still.
    const next = dial();
    answer(peers[0], await openOn(peers[0], 1));
    await once(next, 'connect');
    for (const one of [socket, next]) one.destroy();
  });

  it('goes on with the other when one of the two refuses, and with a third', async () => {
    await meet(3);
    for (const [index, refusing] of [0, 1].entries()) {
      const socket = dial();
      const streams = [await openOn(peers[0], index), await openOn(peers[1], index)];
      answer(peers[refusing], streams[refusing], ReplyCode.REFUSED);
      if (refusing === 1) {
        answer(peers[2], await openOn(peers[2]), ReplyCode.REFUSED);
        answer(peers[0], streams[0]);
      } else answer(peers[1], streams[1]);
      await once(socket, 'connect');
      expect(socket.peer?.id).toBe(peers[1 - refusing].identity.nodeId);
      socket.destroy();
    }
  });

  it('fails with the refusal of the last one', async () => {
    await meet(2);
    const socket = dial();
    const streams = [await openOn(peers[0]), await openOn(peers[1])];
    answer(peers[1], streams[1], ReplyCode.REFUSED);
    await peers[1].until(() => peers[1].fate(streams[1]) !== 'open');
    answer(peers[0], streams[0], ReplyCode.DENIED);
    expect((await once(socket, 'error'))[0]).toMatchObject({ code: 'EACCES' });
  });

  it('asks no other when something was written, and later dials ask the others first', async () => {
    await meet(2);
    const [silent, other] = peers;
    const written = dial();
    written.write('pay 100');
    const hedged = dial();
    const second = await openOn(other);
    answer(other, second);
    await once(hedged, 'connect');
    expect(silent.streams).toHaveLength(2);
    const steered = dial();
    steered.write('at once');
    const third = await openOn(other, 1);
    answer(other, third);
    await once(steered, 'connect');
    expect([silent.streams.length, other.streams.length]).toEqual([2, 2]);
    // It is back.
    answer(silent, await openOn(silent, 0));
    await once(written, 'connect');
    const again = dial();
    await openOn(silent, 2);
    for (const socket of [written, hedged, steered, again]) socket.destroy();
  });

  it('ends with its socket, at both', async () => {
    await meet(2);
    const socket = dial();
    const streams = [await openOn(peers[0]), await openOn(peers[1])];
    socket.destroy();
    for (const index of [0, 1]) await peers[index].until(() => peers[index].fate(streams[index]) === 'reset');
  });
});
